"""Runs one input through all codecs, compares every byte, and counts.

All lanes go through the input together, some thousand events at a time, so that memory stays
bounded and every codec meets the same events. Only the codecs' own work is timed.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, Final

from dwcp.hde.events import Event, Source
from dwcp.hde.lanes import BATCH_BYTES, Codec, Lane, lanes
from dwcp.hde.packing import Packer, Unit
from schemas.errors import BadUnitError, ConfigError

CHUNK_EVENTS: Final = 2_000
CHUNK_BYTES: Final = 16 << 20
SNAPSHOT_BATCH: Final = 100
_UNIT_BYTES: Final = 512 * 1024
_LIBRARIES: Final = ("zstandard", "numpy", "fastavro", "xxhash")

Progress = Callable[[int], None]


class Tally:
    """What one lane did so far."""

    __slots__ = (
        "decode_s",
        "encode_s",
        "encoded_bytes",
        "event_count",
        "floor_bits",
        "json_bytes",
        "raw_bytes",
    )

    def __init__(self) -> None:
        self.event_count = self.raw_bytes = self.json_bytes = self.encoded_bytes = 0
        self.encode_s = self.decode_s = self.floor_bits = 0.0

    def copy(self) -> "Tally":
        """Return the state of now."""
        other = Tally()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def minus(self, earlier: "Tally") -> "Tally":
        """Return what came after `earlier`."""
        other = self.copy()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name) - getattr(earlier, name))
        return other


class LaneRun:
    """One lane on its way through the input."""

    def __init__(self, lane: Lane, codec: Codec) -> None:
        self.lane = lane
        self._codec = codec
        self.tally = Tally()
        self.marks: list[Tally] = []

    def take(self, units: list[Unit]) -> None:
        """Encode, decode and compare.

        Raises:
            BadUnitError: A unit did not come back as it was.
        """
        raws = [unit.raw for unit in units]
        began = time.perf_counter()
        encoded = [self._codec.encode(raw) for raw in raws]
        turned = time.perf_counter()
        decoded = [self._codec.decode(one) for one in encoded]
        ended = time.perf_counter()
        if decoded != raws:
            raise BadUnitError(f"{self.lane.level} gave other bytes back than it was given")
        tally = self.tally
        tally.encode_s += turned - began
        tally.decode_s += ended - turned
        tally.encoded_bytes += sum(map(len, encoded))
        tally.raw_bytes += sum(map(len, raws))
        tally.event_count += sum(unit.event_count for unit in units)
        tally.json_bytes += sum(unit.json_bytes for unit in units)
        tally.floor_bits = units[-1].floor_bits
        self.marks.append(tally.copy())

    def late(self) -> Tally:
        """Return the second half of the events: after most first sights."""
        half = self.tally.event_count / 2
        early = [mark for mark in self.marks if mark.event_count <= half]
        return self.tally.minus(early[-1]) if early else self.tally


def run_bench(source: Source, *, repeats: int, progress: Progress) -> dict[str, Any]:
    """Measure one input.

    Args:
        source: The input; read `repeats` times.
        repeats: Passes; sizes are equal in all, speeds are their median with the spread.
        progress: Called with the events read so far.

    Returns:
        The report, ready for JSON.

    Raises:
        ConfigError: There is not a single event.
        BadUnitError: A codec lost something.
    """
    passes: list[_Pass] = []
    for _ in range(repeats):
        one = _Pass()
        one.run(source, progress)
        passes.append(one)
    if not passes[0].event_count:
        raise ConfigError("input", source.name, "it holds no event: give at least one")
    rows = [_row(list(same), source) for same in zip(*(p.runs for p in passes), strict=True)]
    firsts = [_row(list(same), source) for same in zip(*(p.firsts for p in passes), strict=True)]
    return {
        "input": source.name,
        "sha256": source.sha256,
        "events": passes[0].event_count,
        "entities": passes[0].entity_count,
        "repeats": repeats,
        "machine": machine(),
        "rows": rows,
        "first_snapshot": firsts,
    }


class _Pass:
    """One pass of all lanes through the input."""

    def __init__(self) -> None:
        self.runs = [LaneRun(lane, lane.make()) for lane in lanes()]
        self.firsts = [
            LaneRun(lane, lane.make()) for lane in lanes() if lane.batch == SNAPSHOT_BATCH
        ]
        self._packers = {run.lane.batch: _packer(run.lane.batch) for run in self.runs}
        self._first_packer = Packer(SNAPSHOT_BATCH)
        self._seen: set[str] = set()
        self.event_count = 0

    @property
    def entity_count(self) -> int:
        return len(self._seen)

    def run(self, source: Source, progress: Progress) -> None:
        for events in _chunks(source.read()):
            self.event_count += len(events)
            for batch, packer in self._packers.items():
                self._feed(batch, _units(packer, events))
            self._feed_firsts(_units(self._first_packer, self._first_sights(events)))
            progress(self.event_count)
        for batch, packer in self._packers.items():
            self._feed(batch, _rest(packer))
        self._feed_firsts(_rest(self._first_packer))
        self.firsts = [run for run in self.firsts if run.tally.event_count]

    def _feed(self, batch: int | str, units: list[Unit]) -> None:
        for run in self.runs:
            if run.lane.batch == batch and units:
                run.take(units)

    def _feed_firsts(self, units: list[Unit]) -> None:
        for run in self.firsts:
            if units:
                run.take(units)

    def _first_sights(self, events: list[Event]) -> list[Event]:
        fresh = []
        for event in events:
            if event.entity is not None and event.entity not in self._seen:
                self._seen.add(event.entity)
                fresh.append(event)
        return fresh


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


def _row(same: list[LaneRun], source: Source) -> dict[str, Any]:
    """Make a row of one lane's passes."""
    lane, tally, late = same[0].lane, same[0].tally, same[0].late()
    encode = [_per_s(run.tally.event_count, run.tally.encode_s) for run in same]
    decode = [_per_s(run.tally.event_count, run.tally.decode_s) for run in same]
    event_bytes = tally.raw_bytes / tally.event_count
    row = {
        "level": lane.level,
        "batch": lane.batch,
        "rival": lane.is_rival,
        "events": tally.event_count,
        "raw_bytes": tally.raw_bytes,
        "json_bytes": tally.json_bytes,
        "encoded_bytes": tally.encoded_bytes,
        "bytes_per_event": round(tally.encoded_bytes / tally.event_count, 3),
        "ratio": round(tally.raw_bytes / tally.encoded_bytes, 3),
        "json_ratio": round(tally.json_bytes / tally.encoded_bytes, 3),
        "late_bytes_per_event": round(late.encoded_bytes / late.event_count, 3),
        "late_ratio": round(late.raw_bytes / late.encoded_bytes, 3),
        "encode_events_per_s": round(statistics.median(encode)),
        "decode_events_per_s": round(statistics.median(decode)),
        "encode_mb_s": round(statistics.median(encode) * event_bytes / 1e6, 2),
        "decode_mb_s": round(statistics.median(decode) * event_bytes / 1e6, 2),
        "encode_events_per_s_range": [round(min(encode)), round(max(encode))],
        "decode_events_per_s_range": [round(min(decode)), round(max(decode))],
    }
    if source.has_floor:
        floor, late_floor = tally.floor_bits / 8, late.floor_bits / 8
        row["floor_bytes_per_event"] = round(floor / tally.event_count, 3)
        row["times_floor"] = round(tally.encoded_bytes / floor, 3)
        row["late_floor_bytes_per_event"] = round(late_floor / late.event_count, 3)
        row["late_times_floor"] = round(late.encoded_bytes / late_floor, 3)
    return row


def _per_s(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def machine() -> dict[str, Any]:
    """Return what the speeds depend on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in _LIBRARIES},
    }
