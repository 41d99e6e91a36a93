"""The writing end of the typed level: a unit's records and changes to a sheet."""

import re
from typing import Final

from transport.hde.typed import codes
from transport.hde.typed.batch import Batch, Record
from transport.hde.typed.contents import ContentWriter
from transport.hde.typed.literals import TRACE_FRAME, UUID_FRAME, read_hex
from transport.hde.typed.memory import TEXT_BYTES_MAX, Memory
from transport.hde.typed.patches import write_numbers
from transport.hde.typed.sheet import SheetWriter
from transport.hde.typed.things import Entity, Frame

_DECIMAL_ID: Final = re.compile(rb"(.*?)(0|[1-9][0-9]{0,16})", re.DOTALL)


class TypedEncoder:
    """One epoch of the typed level, writing end.

    Args:
        budget_bytes: What it may remember; the reading end needs the same.

    Attributes:
        memory: What it remembers.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.memory = Memory(budget_bytes)

    def encode(self, batch: Batch) -> tuple[bytes, bytes, int]:
        """Encode a unit.

        Returns:
            What goes through the window, what beside it, and how many entities were forgotten.
        """
        sheet = SheetWriter()
        _write_records(sheet, self.memory, batch)
        columns = _Rows(sheet, self.memory, batch).write()
        content, beside = sheet.finish(columns, self.memory.predictor)
        return content, beside, self.memory.end_unit()


def _write_records(sheet: SheetWriter, memory: Memory, batch: Batch) -> None:
    plain = sheet.records.numbers
    plain.append(len(batch.ranges))
    names, row = batch.changes.entity_id, 0
    for part in batch.ranges:
        expected = memory.next_offset(part.partition)
        plain += (part.partition, part.from_offset - expected, part.to_offset - part.from_offset)
        plain.append(len(part.records))
        memory.keep_offset(part.partition, part.to_offset)
        last_delta = -1
        for record in part.records:
            plain += (
                record.offset_delta - last_delta - 1,
                record.record_time_ms - memory.record_time_ms,
            )
            last_delta, memory.record_time_ms = record.offset_delta, record.record_time_ms
            _write_record(sheet, memory, record, names[row] if record.row_count > 0 else None)
            row += max(record.row_count, 0)


def _write_record(
    sheet: SheetWriter, memory: Memory, record: Record, first_id: bytes | None
) -> None:
    plain = sheet.records.numbers
    if record.value is None:
        plain.append(codes.NO_VALUE)
    elif record.row_count < 0:
        plain.append(codes.OPAQUE)
        sheet.records.names.append(record.value)
    elif record.is_strange:
        plain.append(codes.RECORD)
        _write_name(sheet, memory, record.writer)
    else:
        kind = codes.ONE_CHANGE if record.producer is None else codes.BATCH
        plain += (kind, record.row_count)
        _write_name(sheet, memory, record.writer)
        if record.producer is not None:
            _write_name(sheet, memory, record.producer)
    if record.key is None:
        plain.append(codes.NO_KEY)
    elif record.key == first_id:
        plain.append(codes.KEY_IS_ENTITY)
    else:
        plain.append(codes.OTHER_KEY)
        sheet.records.names.append(record.key)
    plain.append(len(record.headers))
    for name, value in record.headers:
        _write_name(sheet, memory, name)
        _write_name(sheet, memory, value)


def _write_name(sheet: SheetWriter, memory: Memory, name: bytes) -> None:
    """Write a name by its number, 0 if it comes with it, -1 if it is not kept."""
    number = memory.names.number(name)
    if number is not None:
        sheet.records.numbers.append(number + 1)
        return
    sheet.records.names.append(name)
    sheet.records.numbers.append(0 if len(name) <= TEXT_BYTES_MAX else -1)
    if len(name) <= TEXT_BYTES_MAX:
        memory.names.add(name, name)


class _Rows:
    """Writes the changes of one unit."""

    def __init__(self, sheet: SheetWriter, memory: Memory, batch: Batch) -> None:
        self._sheet = sheet
        self._memory = memory
        self._changes = batch.changes
        self._cuts = batch.cuts
        self._record_times_ms = [
            record.record_time_ms for record in batch.records for _ in range(record.row_count)
        ]
        self._id_before = b""
        self._clock_ms = 0
        self._frames: list[int] = []
        self._entities: list[int] = []
        self._ids: list[int] = []
        self._stamps_ms: list[int] = []
        self._stamp_counts: list[int] = []
        self._bases: list[int] = []

    def write(self) -> list[list[int]]:
        """Write all; returns the columns of `ROW_COLUMNS`."""
        entities = [self._entity(name) for name in self._changes.entity_id]
        patches = write_numbers(self._sheet, self._memory, self._changes, entities)
        contents = ContentWriter(self._sheet, self._memory, patches)
        for row, entity in enumerate(entities):
            self._row(row, entity, contents)
        return [
            self._frames,
            self._entities,
            self._ids,
            self._stamps_ms,
            self._stamp_counts,
            self._bases,
            contents.signatures,
        ]

    def _entity(self, name: bytes) -> Entity:
        entity = self._memory.entities.get(name)
        if entity is None:
            self._sheet.entities.names.append(name)
            self._entities.append(codes.NEW)
            return self._memory.add_entity(name)
        self._entities.append(entity.number)
        return entity

    def _row(self, row: int, entity: Entity, contents: ContentWriter) -> None:
        changes = self._changes
        stamp = changes.hybrid_timestamp[row]
        if stamp is None:
            self._clock_ms = self._record_times_ms[row]
        else:
            self._clock_ms = stamp >> 16
            self._stamps_ms.append(self._clock_ms)
            self._stamp_counts.append(stamp & 0xFFFF)
        base = changes.base_version[row]
        if base is not None:
            self._bases.append(base - entity.stamp)
        id_before, id_mode = self._write_id(changes.change_id[row])
        document = changes.document[row]
        trace_mode = self._write_trace(changes.trace_id[row])
        content = codes.NO_CONTENT
        if changes.shapes[row].kinds:
            content = contents.patch(entity, changes, self._clock_ms)
        elif document is not None:
            parts = self._cuts.get(row)
            content = contents.document(entity, document, self._clock_ms, parts)
        # A plain tuple finds its frame: one is made only when it is new.
        self._write_frame(
            (
                changes.entity_type[row],
                changes.key_space[row],
                changes.operation[row],
                changes.origin_region[row],
                id_before,
                id_mode,
                trace_mode,
                base is not None,
                stamp is not None,
                content,
            )
        )
        if stamp is not None:
            entity.stamp = stamp

    def _write_id(self, text: bytes) -> tuple[bytes, int]:
        before = self._id_before
        digits = text[len(before) :]
        if not (
            text.startswith(before)
            and digits.isdigit()
            and len(digits) <= 17  # noqa: PLR2004 - well within a long
            and (digits[0] != 48 or digits == b"0")  # noqa: PLR2004 - the digit 0
        ):
            match = _DECIMAL_ID.fullmatch(text)
            if match is None:
                return self._write_other_id(text)
            before, digits = match.groups()
            self._id_before = before
        self._ids.append(int(digits))
        return before, codes.ID_NUMBER

    def _write_other_id(self, text: bytes) -> tuple[bytes, int]:
        if not text:
            return b"", codes.NO_ID
        found = read_hex(text)
        if found is not None and found[0] == UUID_FRAME:
            self._sheet.loose.append(found[1])
            return b"", codes.ID_UUID
        self._sheet.texts.append(text)
        return b"", codes.ID_TEXT

    def _write_trace(self, text: bytes | None) -> int:
        if text is None:
            return codes.NO_TRACE
        found = read_hex(text)
        if found is not None and found[0] == TRACE_FRAME:
            self._sheet.loose.append(found[1])
            return codes.TRACE_HEX
        self._sheet.texts.append(text)
        return codes.TRACE_TEXT

    def _write_frame(
        self, fields: tuple[bytes, bytes, int, bytes, bytes, int, int, bool, bool, int]
    ) -> None:
        number = self._memory.frames.number(fields)
        if number is not None:
            self._frames.append(number)
            return
        self._frames.append(codes.NEW)
        frame = Frame(*fields)
        names = (frame.entity_type, frame.key_space, frame.origin_region, frame.id_before)
        modes = (frame.operation, frame.id_mode, frame.trace_mode)
        self._sheet.frames.names.extend(names)
        self._sheet.frames.numbers.extend((*modes, frame.has_base, frame.has_stamp, frame.content))
        self._memory.frames.add(frame, frame)
