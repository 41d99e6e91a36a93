"""What stands in topics and on links decodes to what was written, or to a named error."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.log import LogRecord, RecordRange
from schemas.changes import StateChange, check_change
from schemas.errors import EventError, MalformedMessageError
from schemas.registry import decode_event, encode_event, event_header
from streams.replication import decode_batch, encode_batch
from streams.state.partition import PartitionState
from tests.support.events import APPENDED_MS, batch, event
from tests.support.strategies import changes

headers = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), st.binary()))


@st.composite
def ranges(draw: st.DrawFn) -> RecordRange:
    start = draw(st.integers(0, 1 << 40))
    offsets = draw(st.lists(st.integers(start, start + 100), unique=True, max_size=5))
    records = [
        LogRecord(
            offset,
            draw(st.integers(-1, 1 << 45)),
            draw(st.none() | st.binary(max_size=5)),
            draw(st.none() | st.binary(max_size=50)),
            tuple(draw(headers)),
        )
        for offset in sorted(offsets)
    ]
    return RecordRange(draw(st.integers(0, 1_023)), start, start + 101, records)


def decoded(data: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        return decode_event(data)
    except EventError:
        return None


@given(st.lists(ranges(), max_size=4))
def test_a_batch_comes_back_as_it_went(sent: list[RecordRange]) -> None:
    assert decode_batch(encode_batch(sent, 1 << 20)) == sent


@given(st.binary(max_size=200))
def test_random_bytes_are_no_batch_or_some_batch(raw: bytes) -> None:
    try:
        found = decode_batch(raw)
    except MalformedMessageError:
        return
    assert all(isinstance(part, RecordRange) for part in found)


@given(changes("ams"))
def test_a_change_comes_back_as_it_went(one: StateChange) -> None:
    name, found = decode_event(event(one))

    assert name == "StateChange"
    assert {key: repr(found[key]) for key in one} == {k: repr(v) for k, v in one.items()}


@given(
    st.sampled_from(("StateChange", "StateBatch", "SnapshotBucket", "SnapshotManifest")),
    st.binary(max_size=200),
)
def test_random_bytes_behind_a_good_header_raise_nothing_but_event_errors(
    name: str, body: bytes
) -> None:
    found = decoded(event_header(name) + body)

    assert found is None or found[0] == name


@given(st.binary(max_size=50))
def test_random_bytes_raise_nothing_but_event_errors(data: bytes) -> None:
    assert decoded(data) is None


@given(st.lists(changes("ams"), max_size=3), st.data())
def test_whatever_stands_in_a_log_is_folded_or_comes_back_with_its_reason(
    good: list[StateChange], data: st.DataObject
) -> None:
    value = bytearray(batch(*good))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(10, len(value) - 1))] = data.draw(st.integers(0, 255))
    state = PartitionState(0, 1)

    folded = state.fold("ams", 4, APPENDED_MS, bytes(value))

    assert state.vector == {"ams": 5}
    assert all(isinstance(one.error, EventError) for one in folded.rejected)
    for entity in state.entities.values():
        entity.materialise()


@given(changes("ams"))
def test_a_change_that_producers_may_write_is_one_that_folds_take(one: StateChange) -> None:
    assert check_change(one, APPENDED_MS) >= 0


@given(st.text(), st.text(), st.integers(-(1 << 63), (1 << 63) - 1), st.text())
def test_any_change_that_decodes_is_checked_without_a_crash(
    entity: str, document: str, stamp: int, path: str
) -> None:
    plain = {
        "change_id": "",
        "entity_id": entity,
        "entity_type": "",
        "operation": "patch",
        "document": document,
        "deltas": [{"path": path, "operation": "set", "value": {"json": document}}],
        "hybrid_timestamp": stamp,
        "origin_region": "",
    }
    for operation in ("put", "patch", "delete"):
        try:
            _, one = decode_event(encode_event("StateChange", plain | {"operation": operation}))
        except (EventError, UnicodeEncodeError):
            continue  # a lone surrogate: no Avro writer takes it
        state = PartitionState(0, 1)
        folded = state.fold("", 0, APPENDED_MS, encode_event("StateChange", one))
        assert len(folded.rejected) + len(folded.stamps) == 1
