"""The reading end of the typed level: a sheet to the same unit."""

from collections.abc import Iterator
from itertools import compress
from typing import Final

from schemas.errors import BadUnitError
from transport.hde.typed import codes
from transport.hde.typed.batch import RAW_BYTES_MAX, ROWS_MAX, Batch, Range, Record, write_batch
from transport.hde.typed.events import Changes
from transport.hde.typed.literals import TRACE_FRAME, UUID_FRAME, write_hex
from transport.hde.typed.memory import NAME_BYTES_MAX, TEXT_BYTES_MAX, Memory
from transport.hde.typed.revival import ContentReader
from transport.hde.typed.sheet import ROW_COLUMNS, SheetReader
from transport.hde.typed.things import Entity, Frame

_ID_BYTES: Final = 16
_SIGNED: Final = (codes.DOCUMENT, codes.PATCH, codes.RECORD_LEAVES)


class TypedDecoder:
    """One epoch of the typed level, reading end.

    Args:
        budget_bytes: What it may remember, as the writing end.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.memory = Memory(budget_bytes)

    def decode(self, content: bytes, beside: bytes, raw_bytes: int) -> bytes:
        """Return a unit.

        Args:
            content: What came through the window.
            beside: What came beside it.
            raw_bytes: How large the unit may be.

        Raises:
            BadUnitError: This is no sheet, or makes a larger unit.
        """
        if raw_bytes > RAW_BYTES_MAX:
            raise BadUnitError(f"a typed unit of {raw_bytes:,} bytes")
        sheet = SheetReader(content, beside)
        records = _Records(sheet, self.memory)
        ranges = records.read(raw_bytes)
        all_records = [record for part in ranges for record in part.records]
        times_ms = [r.record_time_ms for r in all_records for _ in range(r.row_count)]
        changes = _Rows(sheet, self.memory, times_ms).read(raw_bytes)
        records.give_keys(all_records, changes)
        self.memory.end_unit()
        return write_batch(Batch(ranges, changes))


class _Records:
    """Reads the records of one unit."""

    def __init__(self, sheet: SheetReader, memory: Memory) -> None:
        self._sheet = sheet
        self._memory = memory
        self._key_is_entity: list[bool] = []

    def read(self, raw_bytes: int) -> list[Range]:
        """Read all; a record has more bytes than one, so there are fewer than `raw_bytes`."""
        sheet, memory = self._sheet, self._memory
        ranges: list[Range] = []
        left = raw_bytes
        for _ in range(sheet.count(left)):
            partition, ahead, length = sheet.numbers(3)
            start = memory.next_offset(partition) + ahead
            memory.keep_offset(partition, start + length)
            part = Range(partition, start, start + length, [])
            record_count = sheet.count(left)
            left -= record_count
            delta = -1
            for _ in range(record_count):
                step, later_ms = sheet.numbers(2)
                delta += 1 + step
                memory.record_time_ms += later_ms
                part.records.append(self._record(delta, left))
            ranges.append(part)
        return ranges

    def _record(self, delta: int, left: int) -> Record:
        sheet = self._sheet
        record = Record(delta, self._memory.record_time_ms, None, None, [])
        kind = sheet.number()
        if kind == codes.OPAQUE:
            record.value = sheet.name()
        elif kind in (codes.ONE_CHANGE, codes.BATCH):
            record.row_count = sheet.count(ROWS_MAX)
            record.writer = self._name()
            record.producer = self._name() if kind == codes.BATCH else None
        elif kind == codes.RECORD:
            record.row_count, record.is_strange = 1, True
            record.writer = self._name()
        elif kind != codes.NO_VALUE:
            raise BadUnitError(f"a value of kind {kind}")
        if kind == codes.ONE_CHANGE and record.row_count != 1:
            raise BadUnitError(f"{record.row_count} changes where one belongs")
        key = sheet.number()
        self._key_is_entity.append(key == codes.KEY_IS_ENTITY)
        if key == codes.OTHER_KEY:
            record.key = sheet.name()
        record.headers = [(self._name(), self._name()) for _ in range(sheet.count(left))]
        return record

    def _name(self) -> bytes:
        number = self._sheet.number()
        if number > 0:
            return self._memory.names.item(number - 1)
        name = self._sheet.name()
        if number == 0:
            if len(name) > TEXT_BYTES_MAX:
                raise BadUnitError(f"a name of {len(name):,} bytes to remember")
            self._memory.names.add(name, name)
        return name

    def give_keys(self, records: list[Record], changes: Changes) -> None:
        """Give those records their keys that have the id of their first entity."""
        row = 0
        for record, is_entity in zip(records, self._key_is_entity, strict=True):
            if is_entity:
                if record.row_count < 1:
                    raise BadUnitError("a record without an entity has its name as key")
                record.key = changes.entity_id[row]
            row += max(record.row_count, 0)


class _Rows:
    """Reads the changes of one unit."""

    def __init__(self, sheet: SheetReader, memory: Memory, times_ms: list[int]) -> None:
        if len(times_ms) > ROWS_MAX:
            raise BadUnitError(f"{len(times_ms):,} changes, {ROWS_MAX:,} are allowed")
        self._sheet = sheet
        self._memory = memory
        self._times_ms = times_ms

    def read(self, raw_bytes: int) -> Changes:
        """Read all; together they have at most `raw_bytes`."""
        sheet, count = self._sheet, len(self._times_ms)
        kinds = sheet.kinds(len(ROW_COLUMNS))
        # Frames tell how long the other columns are.
        frame_numbers, entity_numbers = sheet.columns(kinds[:2], [count, count])
        entities = [self._entity(number) for number in entity_numbers]
        frames = [self._frame(number) for number in frame_numbers]
        stamp_count = sum(frame.has_stamp for frame in frames)
        has_content = [frame.content in _SIGNED for frame in frames]
        counts = (
            sum(frame.id_mode == codes.ID_NUMBER for frame in frames),
            stamp_count,
            stamp_count,
            sum(frame.has_base for frame in frames),
            sum(has_content),
        )
        *columns, signature_numbers = sheet.columns(kinds[2:], counts)
        ids, stamps_ms, stamp_counts, bases = map(iter, columns)
        signed = list(zip(signature_numbers, compress(entities, has_content), strict=True))
        contents = ContentReader(sheet, self._memory, signed, raw_bytes)
        changes = Changes()
        stamps = (ms << 16 | low for ms, low in zip(stamps_ms, stamp_counts, strict=True))
        for time_ms, frame, entity in zip(self._times_ms, frames, entities, strict=True):
            self._identify(changes, frame, entity, ids)
            stamp = next(stamps) if frame.has_stamp else None
            changes.hybrid_timestamp.append(stamp)
            changes.base_version.append(next(bases) + entity.stamp if frame.has_base else None)
            changes.trace_id.append(self._trace(frame))
            contents.read(changes, frame.content, entity, time_ms if stamp is None else stamp >> 16)
            entity.stamp = entity.stamp if stamp is None else stamp
        contents.finish()
        return changes

    def _identify(self, changes: Changes, frame: Frame, entity: Entity, ids: Iterator[int]) -> None:
        changes.entity_id.append(entity.name)
        changes.entity_type.append(frame.entity_type)
        changes.key_space.append(frame.key_space)
        changes.operation.append(frame.operation)
        changes.origin_region.append(frame.origin_region)
        if frame.id_mode == codes.ID_NUMBER:
            changes.change_id.append(b"%b%d" % (frame.id_before, next(ids)))
        elif frame.id_mode == codes.ID_UUID:
            changes.change_id.append(write_hex(UUID_FRAME, self._sheet.loose(_ID_BYTES)))
        elif frame.id_mode == codes.NO_ID:
            changes.change_id.append(b"")
        else:
            changes.change_id.append(self._sheet.text())

    def _trace(self, frame: Frame) -> bytes | None:
        if frame.trace_mode == codes.NO_TRACE:
            return None
        if frame.trace_mode == codes.TRACE_HEX:
            return write_hex(TRACE_FRAME, self._sheet.loose(_ID_BYTES))
        return self._sheet.text()

    def _entity(self, number: int) -> Entity:
        if number == codes.NEW:
            name = self._name()
            if name in self._memory.entities:
                raise BadUnitError("an entity comes as new that is known")
            return self._memory.add_entity(name)
        numbered = self._memory.numbered
        found = numbered[number] if 0 <= number < len(numbered) else None
        if found is None:
            raise BadUnitError(f"{number} names no entity of this flow")
        return found

    def _frame(self, number: int) -> Frame:
        if number != codes.NEW:
            return self._memory.frames.item(number)
        names = [self._name() for _ in range(4)]
        numbers = self._sheet.numbers(6)
        entity_type, key_space, origin_region, id_before = names
        operation, id_mode, trace_mode, has_base, has_stamp, content = numbers
        flags = (bool(has_base), bool(has_stamp))
        modes = (id_before, id_mode, trace_mode)
        frame = Frame(entity_type, key_space, operation, origin_region, *modes, *flags, content)
        self._memory.frames.add(frame, frame)
        return frame

    def _name(self) -> bytes:
        name = self._sheet.name()
        if len(name) > NAME_BYTES_MAX:
            raise BadUnitError(f"a name of {len(name):,} bytes")
        return name
