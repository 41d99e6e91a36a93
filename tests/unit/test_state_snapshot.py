"""Snapshots: taken in pieces, joined in any mixture, complete before they count."""

import pytest

from schemas.ids import Version
from schemas.registry import decode_event
from streams.state.entity import Entity
from streams.state.partition import BUCKET_COUNT, PartitionState
from streams.state.snapshot import (
    CHUNK_BYTES,
    MANIFEST_KEY,
    SnapshotReader,
    bucket_key,
    chunk_numbers,
    encode_chunks,
    encode_manifest,
    take_dirty,
)
from tests.support.events import APPENDED_MS, delete, event, patch, put

NAMES = [f"vm-{i}" for i in range(300)]


def filled() -> PartitionState:
    """Return a state with puts, patches on puts, patches alone, and tombstones."""
    state = PartitionState(0, 1)
    for offset, name in enumerate(NAMES):
        state.fold("ams", offset, APPENDED_MS, event(put(name, '{"a":1,"é":[null]}')))
    for offset, name in enumerate(NAMES[:100]):
        deltas = patch(
            name,
            {"path": "/a", "operation": "set", "value": 2.5},
            {"path": "/b", "operation": "set", "value": {"json": '{"c":true}'}},
            {"path": "/x", "operation": "remove", "value": None},
            origin_region="iad",
            entity_type="patched",
        )
        state.fold("iad", offset, APPENDED_MS + 1, event(deltas))
    state.fold("ams", 300, APPENDED_MS + 2, event(delete("vm-1")))
    state.fold("ams", 301, APPENDED_MS + 2, event(put("rack", "{}", entity_type="rack")))
    lonely = patch("lonely", {"path": "/a", "operation": "set", "value": True})
    state.fold("ams", 302, APPENDED_MS + 2, event(lonely))
    return state


def records_of(state: PartitionState, replica_offset: int = 77) -> list[tuple[bytes, bytes | None]]:
    manifest = encode_manifest(state, "ams", replica_offset)
    records: list[tuple[bytes, bytes | None]] = [
        (bucket_key(bucket, number), chunk)
        for bucket, entities in take_dirty(state).items()
        for number, chunk in enumerate(encode_chunks(entities))
    ]
    return [*records, (MANIFEST_KEY, manifest)]


def restored(records: list[tuple[bytes, bytes | None]]) -> tuple[PartitionState, SnapshotReader]:
    state = PartitionState(0, 1)
    reader = SnapshotReader(state)
    for key, value in records:
        reader.feed(key, value)
    reader.finish()
    return state, reader


def shown(state: PartitionState) -> dict[str, tuple[str, Version | None, object]]:
    return {
        name: (entity.entity_type, entity.newest, entity.materialise())
        for name, entity in state.entities.items()
    }


def test_a_restored_state_is_the_same() -> None:
    state = filled()

    again, reader = restored(records_of(state))

    assert shown(again) == shown(state)
    assert again.vector == state.vector
    assert again.fingerprint == state.fingerprint
    assert again.visible_count == state.visible_count
    assert reader.replica_offset == 77


def test_a_restored_state_is_clean() -> None:
    again, _ = restored(records_of(filled()))

    assert again.dirty == set()


def test_a_snapshot_without_manifest_was_never_completed() -> None:
    again, reader = restored(records_of(filled())[:-1])

    assert again.entities == {}
    assert again.vector == {}
    assert reader.replica_offset == 0


def test_the_number_of_entities_is_told() -> None:
    state = PartitionState(0, 1)
    reader = SnapshotReader(state)
    for key, value in records_of(filled()):
        reader.feed(key, value)

    assert reader.finish() == len(NAMES) + 2


def test_only_buckets_that_changed_are_taken_and_all_of_each() -> None:
    state = filled()
    assert set(take_dirty(state)) == {entity.bucket for entity in state.entities.values()}
    state.fold("ams", 400, APPENDED_MS + 9, event(delete("vm-7")))
    bucket = state.entities["vm-7"].bucket

    taken = take_dirty(state)

    assert list(taken) == [bucket]
    assert taken[bucket] == [e for e in state.entities.values() if e.bucket == bucket]
    assert take_dirty(state) == {}


def test_buckets_newer_than_the_manifest_and_a_replay_from_it_give_the_same_state() -> None:
    state = filled()
    old_manifest = records_of(state)[-1]
    changes = [event(delete("vm-5")), event(put("new")), event(put("vm-5", '{"again":1}'))]
    for offset, value in enumerate(changes, 303):
        state.fold("ams", offset, APPENDED_MS + offset, value)
    state.dirty = set(range(BUCKET_COUNT))

    again, _ = restored([*records_of(state)[:-1], old_manifest])
    assert again.vector["ams"] == 303
    for offset, value in enumerate(changes, 303):
        assert not again.fold("ams", offset, APPENDED_MS + offset, value).is_duplicate

    assert shown(again) == shown(state)
    assert again.fingerprint == state.fingerprint


def test_old_chunks_joined_beside_new_ones_do_no_harm() -> None:
    state = filled()
    old = records_of(state)
    for offset, name in enumerate(NAMES, 303):
        state.fold("ams", offset, APPENDED_MS + 10, event(put(name, f'{{"n":{offset}}}')))
    stale = [(key.rpartition(b"/")[0] + b"/9", value) for key, value in old[:-1]]

    again, _ = restored([*stale, *records_of(state), *stale])

    assert shown(again) == shown(state)
    assert again.fingerprint == state.fingerprint


def test_a_deleted_chunk_is_gone_and_the_reader_knows_which_stand() -> None:
    records = records_of(filled())
    bucket = int(records[0][0].split(b"/")[1])

    _, before = restored(records)
    again, after = restored([*records, (records[0][0], None)])

    assert before.standing[bucket] == {0}
    assert after.standing[bucket] == set()
    assert all(entity.bucket != bucket for entity in again.entities.values())


def test_the_manifest_says_where_a_replay_begins() -> None:
    _, manifest = decode_event(encode_manifest(filled(), "iad", 9))

    assert manifest == {
        "bucket_count": BUCKET_COUNT,
        "state_offset": 100,
        "replica_offset": 9,
        "origins": [{"region": "ams", "offset": 303}, {"region": "iad", "offset": 100}],
    }


def test_a_large_bucket_becomes_several_chunks_of_whole_entities() -> None:
    document = '{"a":"' + "x" * 100_000 + '"}'
    entities = [Entity(f"e{i}", 0) for i in range(7)]
    for entity in entities:
        entity.apply(put(entity.entity_id, document), Version(1, "ams", 0, 0))

    chunks = encode_chunks(entities)

    found = [decode_event(chunk)[1]["entities"] for chunk in chunks]
    assert [len(chunk) for chunk in found] == [3, 3, 1]
    assert [e["entity_id"] for chunk in found for e in chunk] == [f"e{i}" for i in range(7)]
    assert max(map(len, chunks)) < 2 * CHUNK_BYTES


def test_an_empty_bucket_has_no_chunk() -> None:
    assert encode_chunks([]) == []


@pytest.mark.parametrize(
    ("standing", "count", "numbers"),
    [
        (set(), 1, [0]),
        (set(), 3, [0, 1, 2]),
        ({0}, 1, [0]),
        ({4, 2}, 1, [2]),
        ({0, 1}, 2, [2, 3]),
        ({2, 3}, 3, [0, 1, 4]),
        ({0}, 0, []),
    ],
)
def test_no_chunk_is_written_over_while_another_could_still_be_missing(
    standing: set[int], count: int, numbers: list[int]
) -> None:
    assert chunk_numbers(standing, count) == numbers
