"""The fold: each record once, in order, and nothing skipped in silence."""

import pytest

from schemas.changes import StateChange
from schemas.clocks import pack_stamp
from schemas.errors import EventError
from schemas.partitioning import partition_of
from schemas.registry import encode_bare, encode_event
from streams.state.partition import Folded, PartitionState
from tests.support.events import APPENDED_MS, batch, delete, event, patch, put


def state(partition: int = 0, partition_count: int = 1) -> PartitionState:
    return PartitionState(partition, partition_count)


def fold(into: PartitionState, value: bytes | None, offset: int = 0, origin: str = "ams") -> Folded:
    return into.fold(origin, offset, APPENDED_MS, value)


def documents(of: PartitionState) -> dict[str, object]:
    return {name: entity.materialise() for name, entity in of.entities.items()}


def test_a_change_is_folded_and_moves_the_vector_behind_its_record() -> None:
    into = state()

    folded = fold(into, event(put("e", '{"a":1}')), offset=41)

    assert documents(into) == {"e": {"a": 1}}
    assert into.vector == {"ams": 42}
    assert (folded.is_duplicate, folded.rejected) == (False, [])
    assert folded.stamps == [pack_stamp(APPENDED_MS)]
    assert [entity.entity_id for entity in folded.touched] == ["e"]


def test_a_batch_is_folded_in_order() -> None:
    into = state()

    folded = fold(into, batch(put("e", '{"a":1}'), put("f"), put("e", '{"a":2}')))

    assert documents(into) == {"e": {"a": 2}, "f": {}}
    assert [entity.entity_id for entity in folded.touched] == ["e", "f", "e"]


def test_an_empty_batch_only_moves_the_vector() -> None:
    into = state()

    assert fold(into, batch(), offset=3) == Folded(
        is_duplicate=False, stamps=[], touched=[], rejected=[], wanted=[]
    )
    assert into.vector == {"ams": 4}


def test_a_record_below_the_vector_changes_nothing() -> None:
    into = state()
    fold(into, event(put("e", '{"a":1}')), offset=5)
    before = (dict(into.vector), into.fingerprint)

    for offset in (0, 4, 5):
        folded = fold(into, event(put("e", '{"a":2}')), offset)
        assert folded == Folded(is_duplicate=True, stamps=[], touched=[], rejected=[], wanted=[])
    assert (dict(into.vector), into.fingerprint) == before


def test_offsets_may_have_gaps() -> None:
    into = state()
    fold(into, event(put("e")), offset=1)

    assert not fold(into, event(put("f")), offset=100).is_duplicate
    assert into.vector == {"ams": 101}


def test_each_origin_has_its_own_place_in_the_vector() -> None:
    into = state()
    fold(into, event(put("e")), offset=7)

    assert not fold(into, event(put("f", origin_region="iad")), 2, "iad").is_duplicate
    assert into.vector == {"ams": 8, "iad": 3}


def test_the_append_time_decides_where_a_change_has_no_stamp() -> None:
    into = state()
    into.fold("ams", 0, APPENDED_MS + 1, event(put("e", '{"by":"later"}')))
    into.fold("iad", 0, APPENDED_MS, event(put("e", '{"by":"earlier"}', origin_region="iad")))

    assert documents(into) == {"e": {"by": "later"}}


def test_a_hidden_change_is_handled_and_touches_nothing() -> None:
    into = state()
    fold(into, event(put("e", hybrid_timestamp=9)))

    folded = fold(into, event(put("e", hybrid_timestamp=8)), offset=1)

    assert (folded.stamps, folded.touched, folded.rejected) == ([8], [], [])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "WrongEventType"),
        (b"", "MalformedEvent"),
        (b"{}", "MalformedEvent"),
        (b"\xc3\x01" + bytes(8), "UnknownSchema"),
        (event(put("e"))[:-1], "MalformedEvent"),
        (event(put("e")) + b"\0", "MalformedEvent"),
        (encode_bare("Goodbye", {"text": "x"}), "MalformedEvent"),
        (encode_event("SnapshotBucket", {"entities": []}), "WrongEventType"),
    ],
)
def test_a_record_that_is_no_change_moves_the_vector_and_comes_back_with_its_reason(
    value: bytes | None, reason: str
) -> None:
    into = state()

    folded = fold(into, value, offset=5)

    (rejected,) = folded.rejected
    assert (rejected.change_index, rejected.error.reason) == (-1, reason)
    assert isinstance(rejected.error, EventError)
    assert into.vector == {"ams": 6}
    assert into.entities == {}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (put(""), "MalformedEvent"),
        (put("e", "[]"), "MalformedEvent"),
        (put("e", origin_region="iad"), "WrongRegion"),
        (put("e", hybrid_timestamp=pack_stamp(APPENDED_MS + 501)), "ClockAhead"),
    ],
)
def test_a_bad_change_is_refused_alone_and_the_rest_of_its_batch_counts(
    bad: StateChange, reason: str
) -> None:
    into = state()

    folded = fold(into, batch(put("before"), bad, put("after")))

    assert [(one.change_index, one.error.reason) for one in folded.rejected] == [(1, reason)]
    assert sorted(into.entities) == ["after", "before"]
    assert len(folded.stamps) == 2


def test_an_entity_of_another_partition_is_refused_and_the_message_says_which() -> None:
    right = partition_of("vm-17", 4)
    into = state((right + 1) % 4, 4)

    (rejected,) = fold(into, event(put("vm-17"))).rejected

    assert rejected.error.reason == "WrongPartition"
    assert f"belongs to partition {right}, not {(right + 1) % 4}" in str(rejected.error)
    assert fold(state(right, 4), event(put("vm-17"))).rejected == []


def test_the_fingerprint_does_not_depend_on_the_order_of_arrival() -> None:
    records = [
        ("ams", 0, event(put("e", '{"a":1}', hybrid_timestamp=5))),
        ("ams", 1, event(delete("f", hybrid_timestamp=6))),
        ("iad", 0, event(put("e", "{}", hybrid_timestamp=5, origin_region="iad"))),
    ]
    one, other = state(), state()
    for origin, offset, value in records:
        one.fold(origin, offset, 0, value)
    for origin, offset, value in (records[2], records[0], records[1]):
        other.fold(origin, offset, 0, value)

    assert one.fingerprint == other.fingerprint != 0
    assert one.vector == other.vector
    assert documents(one) == documents(other) == {"e": {}, "f": None}


def test_visible_entities_are_counted() -> None:
    into, counts = state(), []
    field = {"path": "/a", "operation": "set", "value": 1}
    changes = (put("e"), put("f"), put("e"), delete("e"), delete("never"), put("e"))
    for offset, one in enumerate((*changes, patch("g", field))):  # type: ignore[arg-type]
        fold(into, event(one), offset)
        counts.append(into.visible_count)

    assert counts == [1, 2, 2, 1, 1, 2, 3]


def test_what_changed_is_marked_for_the_next_snapshot() -> None:
    into = state()
    fold(into, event(put("e", hybrid_timestamp=9)))
    assert into.dirty == {into.entities["e"].bucket}

    into.dirty.clear()
    fold(into, event(put("e", hybrid_timestamp=8)), offset=1)
    assert into.dirty == set()


def test_somebody_else_may_reject_a_record_once() -> None:
    into = state()

    assert [into.reject("ams", 5), into.reject("ams", 5), into.reject("ams", 4)] == [
        True,
        False,
        False,
    ]
    assert into.vector == {"ams": 6}
