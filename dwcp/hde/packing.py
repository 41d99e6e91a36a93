"""Events into units: the raw bytes that every codec and every rival gets alike.

A unit is the Avro `LinkBatch` that a sender would make of one record: a `StateBatch` of so many
changes. Kafka would compress the same changes; its batch header of 61 bytes is not charged to it.
"""

from typing import Final, NamedTuple

from connectors.log import LogRecord, RecordRange
from dwcp.hde.events import PRODUCER, Event
from schemas.registry import encode_event
from streams.replication import encode_batch

_RECORD_BYTES_MAX: Final = 1 << 40  # a measurement leaves nothing out


class Unit(NamedTuple):
    """What is encoded at once.

    Attributes:
        raw: Its bytes.
        event_count: Events in it.
        json_bytes: What they are as JSON lines.
        floor_bits: Information in it; see `Event`.
        first_count: How many events are the first of their entity.
    """

    raw: bytes
    event_count: int
    json_bytes: int
    floor_bits: float
    first_count: int


class Packer:
    """Collects events until a unit is full.

    Args:
        event_count: Events of a unit.
        size_bytes: About its size, whichever comes first; None: no limit.
    """

    def __init__(self, event_count: int | None, size_bytes: int | None = None) -> None:
        self._event_count = event_count
        self._size_bytes = size_bytes
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._offset = 0

    def add(self, event: Event) -> Unit | None:
        """Take one event; returns the unit that it completes."""
        self._waiting.append(event)
        self._waiting_bytes += event.size_bytes
        is_full = len(self._waiting) == self._event_count or (
            self._size_bytes is not None and self._waiting_bytes >= self._size_bytes
        )
        return self.flush() if is_full else None

    def flush(self) -> Unit | None:
        """Return what is left as a unit."""
        if not self._waiting:
            return None
        events, self._waiting, self._waiting_bytes = self._waiting, [], 0
        records = [
            LogRecord(self._offset + at, time_ms, key, value, ())
            for at, (time_ms, key, value) in enumerate(_records(events))
        ]
        first, self._offset = self._offset, self._offset + len(records)
        raw = encode_batch([RecordRange(0, first, self._offset, records)], _RECORD_BYTES_MAX)
        return Unit(
            raw,
            len(events),
            sum(event.json_bytes for event in events),
            sum(event.floor_bits for event in events),
            sum(event.is_first for event in events),
        )


def _records(events: list[Event]) -> list[tuple[int, bytes | None, bytes | None]]:
    """Put all changes into one batch; strangers' records stand as they are."""
    changes = [event.change for event in events if event.change is not None]
    records = [(e.time_ms, e.key, e.value) for e in events if e.change is None]
    if changes:
        batch = encode_event("StateBatch", {"producer": PRODUCER, "changes": changes})
        records.append((events[-1].time_ms, None, batch))
    return records
