"""Any order, any repetition, any mixture of snapshots: the same writes give the same state."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import StateChange, check_change
from schemas.ids import Version
from streams.state.entity import Entity
from streams.state.partition import PartitionState
from streams.state.snapshot import (
    MANIFEST_KEY,
    SnapshotReader,
    bucket_key,
    encode_chunks,
    encode_manifest,
    take_dirty,
)
from tests.support.events import APPENDED_MS, batch
from tests.support.strategies import REGIONS, changes

Log = list[list[StateChange]]  # records of one origin
logs = st.fixed_dictionaries(
    {r: st.lists(st.lists(changes(r), min_size=1, max_size=2), max_size=3) for r in REGIONS}
)
orders = st.randoms(use_true_random=False)


@st.composite
def writes(draw: st.DrawFn) -> list[tuple[Version, StateChange]]:
    """Draw writes of one entity with versions as a fold would give them."""
    drawn = draw(st.lists(st.sampled_from(REGIONS).flatmap(lambda r: changes(r, "e")), max_size=8))
    return [
        (Version(check_change(one, APPENDED_MS), one["origin_region"], offset, 0), one)
        for offset, one in enumerate(drawn)
    ]


def registers(entity: Entity) -> object:
    fields = {path: (f.version, f.is_removed, repr(f.value)) for path, f in entity.fields.items()}
    return entity.version, entity.document, fields, entity.newest, entity.entity_type


def applied(done: list[tuple[Version, StateChange]]) -> tuple[Entity, int]:
    entity, total = Entity("e", 0), 0
    for version, change in done:
        total += entity.apply(change, version) or 0
    return entity, total


def deliver(state: PartitionState, written: dict[str, Log], order: Random) -> None:
    """Fold all origins' records, each origin in order, mixed and some twice."""
    at = dict.fromkeys(written, 0)
    while left := [region for region in written if at[region] < len(written[region])]:
        region = order.choice(left)
        offset = order.randint(0, at[region])
        state.fold(region, offset, APPENDED_MS, batch(*written[region][offset]))
        at[region] += offset == at[region]


def seen(state: PartitionState) -> object:
    return {name: (registers(e), e.materialise()) for name, e in state.entities.items()}


@given(writes(), orders)
def test_writes_of_an_entity_in_any_order_and_number_give_the_same_registers(
    done: list[tuple[Version, StateChange]], order: Random
) -> None:
    entity, total = applied(done)
    again = done + [order.choice(done) for _ in range(3) if done]
    order.shuffle(again)

    other, other_total = applied(again)

    assert registers(other) == registers(entity)
    assert repr(other.materialise()) == repr(entity.materialise())
    assert other_total == total == entity.hash + sum(f.hash for f in entity.fields.values())


@given(logs, orders, orders)
def test_regions_that_saw_the_same_writes_hold_the_same(
    written: dict[str, Log], one: Random, other: Random
) -> None:
    ours, theirs = PartitionState(0, 1), PartitionState(0, 1)
    deliver(ours, written, one)
    deliver(theirs, written, other)

    assert ours.vector == theirs.vector
    assert ours.fingerprint == theirs.fingerprint
    assert ours.visible_count == theirs.visible_count
    assert seen(ours) == seen(theirs)


def snapshot(state: PartitionState) -> list[tuple[bytes, bytes]]:
    return [
        (bucket_key(bucket, number), chunk)
        for bucket, entities in take_dirty(state).items()
        for number, chunk in enumerate(encode_chunks(entities))
    ]


def restored(records: list[tuple[bytes, bytes]]) -> PartitionState:
    state = PartitionState(0, 1)
    reader = SnapshotReader(state)
    for key, value in records:
        reader.feed(key, value)
    reader.finish()
    return state


@given(logs, orders)
def test_a_snapshot_holds_everything(written: dict[str, Log], order: Random) -> None:
    state = PartitionState(0, 1)
    deliver(state, written, order)

    again = restored([*snapshot(state), (MANIFEST_KEY, encode_manifest(state, "ams", 0))])

    assert again.vector == state.vector
    assert again.fingerprint == state.fingerprint
    assert again.visible_count == state.visible_count
    assert seen(again) == seen(state)


@given(logs, logs, orders)
def test_chunks_newer_or_older_than_the_manifest_and_a_replay_hold_everything(
    early: dict[str, Log], late: dict[str, Log], order: Random
) -> None:
    state, records = PartitionState(0, 1), []
    deliver(state, early, order)
    manifest = (MANIFEST_KEY, encode_manifest(state, "ams", 0))
    records = [*snapshot(state), manifest]
    everything = {region: early[region] + late[region] for region in REGIONS}
    deliver(state, everything, order)
    newer = snapshot(state)
    records += newer[: order.randint(0, len(newer))]

    again = restored(records)
    deliver(again, everything, order)

    assert again.vector == state.vector
    assert again.fingerprint == state.fingerprint
    assert seen(again) == seen(state)
