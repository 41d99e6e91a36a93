"""Runs one input through all codecs, compares every byte, and counts.

All lanes go through the input together, some thousand events at a time, so that memory stays
bounded and every codec meets the same events. Only the codecs' own work is timed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from dwcp.hde.events import Event, Source
from dwcp.hde.lanes import BATCH_BYTES, BATCHES, lanes
from dwcp.hde.packing import Packer, Unit
from dwcp.hde.rows import LaneRun, make_rows
from dwcp.machine import machine
from schemas.errors import ConfigError
from transport.hde.typed.records import FindSchema

CHUNK_EVENTS: Final = 2_000
CHUNK_BYTES: Final = 16 << 20
SNAPSHOT_BATCH: Final = 100
_UNIT_BYTES: Final = 512 * 1024
LIBRARIES: Final = ("zstandard", "numpy", "fastavro", "xxhash")  # their versions matter

Progress = Callable[[int], None]


def run_bench(
    source: Source,
    *,
    repeats: int,
    progress: Progress,
    batches: Sequence[int | str] = BATCHES,
) -> dict[str, Any]:
    """Measure one input.

    Args:
        source: The input; read `repeats` times.
        repeats: Passes; sizes are equal in all, speeds are their median with the spread.
        progress: Called with the events read so far.
        batches: Which batches; small ones are slow.

    Returns:
        The report, ready for JSON.

    Raises:
        ConfigError: There is not a single event.
        BadUnitError: A codec lost something.
    """
    passes: list[_Pass] = []
    for _ in range(repeats):
        one = _Pass(batches, source.schemas.get)
        one.run(source, progress)
        passes.append(one)
    if not passes[0].event_count:
        raise ConfigError("input", source.name, "it holds no event: give at least one")
    return {
        "input": source.name,
        "sha256": source.sha256,
        "events": passes[0].event_count,
        "entities": passes[0].entity_count,
        "repeats": repeats,
        "machine": machine(*LIBRARIES),
        "rows": make_rows([one.runs for one in passes], has_floor=source.has_floor),
        "first_snapshot": make_rows([one.firsts for one in passes], has_floor=source.has_floor),
    }


class _Pass:
    """One pass of all lanes through the input."""

    def __init__(self, batches: Sequence[int | str], find_schema: FindSchema) -> None:
        self.runs = [LaneRun(lane, lane.make()) for lane in lanes(batches, find_schema)]
        firsts = lanes([SNAPSHOT_BATCH], find_schema)
        self.firsts = [LaneRun(lane, lane.make()) for lane in firsts]
        self._packers = {batch: _packer(batch) for batch in batches}
        self._first_packer = Packer(SNAPSHOT_BATCH)
        self._seen: set[str] = set()
        self.event_count = 0

    @property
    def entity_count(self) -> int:
        return len(self._seen)

    def run(self, source: Source, progress: Progress) -> None:
        for chunk in _chunks(source.read()):
            events = [self._look(event) for event in chunk]
            self.event_count += len(events)
            for batch, packer in self._packers.items():
                self._feed(batch, _units(packer, events))
            firsts = [event for event in events if event.is_first]
            _take(self.firsts, _units(self._first_packer, firsts))
            progress(self.event_count)
        for batch, packer in self._packers.items():
            self._feed(batch, _rest(packer))
        _take(self.firsts, _rest(self._first_packer))
        self.firsts = [run for run in self.firsts if run.tally.event_count]

    def _feed(self, batch: int | str, units: list[Unit]) -> None:
        _take([run for run in self.runs if run.lane.batch == batch], units)

    def _look(self, event: Event) -> Event:
        """Mark the first event of an entity."""
        if event.entity is None or event.entity in self._seen:
            return event
        self._seen.add(event.entity)
        return event._replace(is_first=True)


def _take(runs: list[LaneRun], units: list[Unit]) -> None:
    for run in runs:
        if units:
            run.take(units)


def _packer(batch: int | str) -> Packer:
    return Packer(None, _UNIT_BYTES) if batch == BATCH_BYTES else Packer(int(batch))


def _units(packer: Packer, events: list[Event]) -> list[Unit]:
    units = map(packer.add, events)
    return [unit for unit in units if unit is not None]


def _rest(packer: Packer) -> list[Unit]:
    unit = packer.flush()
    return [] if unit is None else [unit]


def _chunks(events: Iterator[Event]) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    size_bytes = 0
    for event in events:
        chunk.append(event)
        size_bytes += event.size_bytes
        if len(chunk) == CHUNK_EVENTS or size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk
