"""A unit's `LinkBatch` with its events taken apart, and back to the same bytes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import fastavro

from schemas.registry import DECODE_ERRORS, HEADER_BYTES, schema
from transport.hde.typed.avro import longs, prefixed
from transport.hde.typed.deltas import NO_DELTAS
from transport.hde.typed.events import (
    Changes,
    read_event,
    read_head,
    to_columns,
    wire_schema,
    write_changes,
    write_event,
)
from transport.hde.typed.memory import NAME_BYTES_MAX
from transport.hde.typed.records import Parts, RecordCutter
from transport.hde.typed.templates import Templates

ROWS_MAX: Final = 16_384  # of one unit: what memory may grow by before it is trimmed
RAW_BYTES_MAX: Final = 1 << 24
OPERATIONS_MAX: Final = 64
NUMBER_MAX: Final = 1 << 61  # so that differences fit a long
_NAMES: Final = ("change_id", "entity_id", "entity_type", "key_space", "origin_region")


@dataclass(slots=True)
class Record:
    """One record; `row_count` of its event's changes are among the rows, -1 if it is no event.

    A stranger's record that was cut has one row, whose document is the value without its header.
    """

    offset_delta: int
    record_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[bytes, bytes]]
    row_count: int = -1
    writer: bytes = b""
    producer: bytes | None = None
    is_strange: bool = False


@dataclass(slots=True)
class Range:
    """Records of a part of one partition."""

    partition: int
    from_offset: int
    to_offset: int
    records: list[Record]


@dataclass(slots=True)
class Batch:
    """A unit: its ranges, the changes of all events in them, in order, and rows that were cut."""

    ranges: list[Range]
    changes: Changes
    cuts: dict[int, Parts] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """All records in order."""
        return [record for part in self.ranges for record in part.records]


@cache
def _link_schema() -> Any:
    return wire_schema(schema("LinkBatch"))


def read_batch(
    raw: bytes, templates: Templates, cutter: RecordCutter | None = None
) -> Batch | None:
    """Take a unit apart.

    Args:
        raw: The unit.
        templates: What was learnt from the units before.
        cutter: Cuts strangers' records.

    Returns:
        None if it would not be put together to the same bytes.
    """
    if len(raw) > RAW_BYTES_MAX:
        return None
    source = io.BytesIO(raw)
    try:
        link: Any = fastavro.schemaless_reader(source, _link_schema())
    except DECODE_ERRORS:
        return None
    ranges = [
        Range(
            part["partition"],
            part["from_offset"],
            part["to_offset"],
            [_record(record) for record in part["records"]],
        )
        for part in link["ranges"]
    ]
    batch = Batch(ranges, Changes())
    _read_events(batch, templates, cutter)
    if len(batch.changes.change_id) > ROWS_MAX or not _is_in_range(batch):
        return None
    values = [record.value for record in batch.records]
    return batch if _write_link(batch, values) == raw else None


def _is_in_range(batch: Batch) -> bool:
    numbers = [n for part in batch.ranges for n in (part.from_offset, part.to_offset)]
    numbers += [record.offset_delta for record in batch.records]
    numbers += [record.record_time_ms for record in batch.records]
    return all(-NUMBER_MAX < number < NUMBER_MAX for number in numbers)


def _record(record: dict[str, Any]) -> Record:
    headers = [(header["name"], header["value"]) for header in record["headers"]]
    return Record(
        record["offset_delta"], record["record_time_ms"], record["key"], record["value"], headers
    )


def _read_events(batch: Batch, templates: Templates, cutter: RecordCutter | None) -> None:
    """Take apart the values that are events; those that do not come back stay as they are."""
    for record in batch.records:
        changes = None if record.value is None else _read_event(record, record.value, templates)
        if changes is not None:
            record.row_count = len(changes.change_id)
            batch.changes.extend(changes)
        elif record.value is not None and cutter is not None:
            _cut_record(batch, record, record.value, cutter)


def _cut_record(batch: Batch, record: Record, value: bytes, cutter: RecordCutter) -> None:
    parts = cutter.cut(value)
    if parts is None or len(record.key or b"") > NAME_BYTES_MAX:
        return
    record.writer, record.row_count, record.is_strange = value[:HEADER_BYTES], 1, True
    batch.cuts[len(batch.changes.change_id)] = parts
    # Records without a key are one history for each schema.
    entity_id = record.writer if record.key is None else record.key
    batch.changes.extend(
        Changes(
            change_id=[b""],
            entity_id=[entity_id],
            entity_type=[b""],
            key_space=[b""],
            operation=[0],
            document=[value[HEADER_BYTES:]],
            base_version=[None],
            hybrid_timestamp=[None],
            origin_region=[b""],
            trace_id=[None],
            shapes=[NO_DELTAS],
        )
    )


def _read_event(record: Record, value: bytes, templates: Templates) -> Changes | None:
    head = read_head(value)
    if head is not None:
        changes = templates.read(value, head.start, head.row_count)
        if changes is not None:
            record.writer, record.producer = head.writer, head.producer
            return changes
    event = read_event(value)
    if event is None:
        return None
    record.writer, record.producer, rows = event
    changes = to_columns(rows)
    again = write_event(record.writer, record.producer, write_changes(changes))
    if again != value or not _is_usual(record, rows):
        return None
    templates.learn(changes)
    return changes


def _is_usual(record: Record, rows: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the names are as short as both ends keep, and contents not mixed."""
    if len(record.producer or b"") > NAME_BYTES_MAX:
        return False
    return all(
        all(len(row[name]) <= NAME_BYTES_MAX for name in _NAMES)
        and 0 <= row["operation"] < OPERATIONS_MAX
        and abs(row["hybrid_timestamp"] or 0) < NUMBER_MAX
        and abs(row["base_version"] or 0) < NUMBER_MAX
        and not (row["deltas"] and row["document"] is not None)
        and all(
            len(delta["path"]) <= NAME_BYTES_MAX and 0 <= delta["operation"] < OPERATIONS_MAX
            for delta in row["deltas"]
        )
        for row in rows
    )


def write_batch(batch: Batch) -> bytes:
    """Undo `read_batch`."""
    written = write_changes(batch.changes)
    values, start = [], 0
    for record in batch.records:
        if record.row_count < 0:
            values.append(record.value)
            continue
        end = start + record.row_count
        if record.is_strange:
            values.append(record.writer + (batch.changes.document[start] or b""))
            start = end
            continue
        values.append(write_event(record.writer, record.producer, written[start:end]))
        start = end
    return _write_link(batch, values)


def _write_link(batch: Batch, values: Sequence[bytes | None]) -> bytes:
    parts: list[bytes] = []
    rest = iter(values)
    parts += _array_start(len(batch.ranges))
    for part in batch.ranges:
        parts += longs([part.partition, part.from_offset, part.to_offset])
        parts += _array_start(len(part.records))
        for record in part.records:
            parts += longs([record.offset_delta, record.record_time_ms])
            parts += _optional(record.key)
            parts += _optional(next(rest))
            parts += _array_start(len(record.headers))
            for name, value in record.headers:
                parts += prefixed([name, value])
            parts += [b"\0"] if record.headers else []
        parts += [b"\0"] if part.records else []
    parts += [b"\0"] if batch.ranges else []
    return b"".join(parts)


def _array_start(count: int) -> list[bytes]:
    return longs([count])


def _optional(text: bytes | None) -> list[bytes]:
    return [b"\0"] if text is None else [b"\2", *prefixed([text])]
