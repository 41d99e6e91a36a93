"""What a lane did, and the row that it becomes."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from dwcp.hde.lanes import WINDOW, YARDSTICK, Codec, Lane
from dwcp.hde.packing import Unit
from schemas.errors import BadUnitError

_AFTER: Final = "after_first_sight_"


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

    def add(self, unit: Unit, encoded_bytes: int, encode_s: float, decode_s: float) -> None:
        """Add one unit."""
        self.event_count += unit.event_count
        self.raw_bytes += len(unit.raw)
        self.json_bytes += unit.json_bytes
        self.floor_bits += unit.floor_bits
        self.encoded_bytes += encoded_bytes
        self.encode_s += encode_s
        self.decode_s += decode_s

    def copy(self) -> "Tally":
        """Return the state of now."""
        other = Tally()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def minus(self, earlier: "Tally") -> "Tally":
        """Return what came after `earlier`."""
        other = Tally()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name) - getattr(earlier, name))
        return other


class LaneRun:
    """One lane on its way through the input.

    Attributes:
        tally: Of all units.
        after: Of those units in which most events are not the first of their entity.
    """

    def __init__(self, lane: Lane, codec: Codec) -> None:
        self.lane = lane
        self._codec = codec
        self.tally = Tally()
        self.after = Tally()
        self._marks: list[Tally] = []

    def take(self, units: Sequence[Unit]) -> None:
        """Encode, decode and compare.

        Raises:
            BadUnitError: A unit did not come back as it was.
        """
        clock = time.perf_counter
        encoded, encoded_s = [], [clock()]
        for unit in units:
            encoded.append(self._codec.encode(unit.raw))
            encoded_s.append(clock())
        decoded_s = [clock()]
        for number, unit in enumerate(units):
            if self._codec.decode(encoded[number]) != unit.raw:
                raise BadUnitError(f"{self.lane.level} gave other bytes back than it was given")
            decoded_s.append(clock())
        for number, unit in enumerate(units):
            encode_s = encoded_s[number + 1] - encoded_s[number]
            decode_s = decoded_s[number + 1] - decoded_s[number]
            done = (len(encoded[number]), encode_s, decode_s)
            self.tally.add(unit, *done)
            if 2 * unit.first_count < unit.event_count:
                self.after.add(unit, *done)
        self._marks.append(self.tally.copy())

    def late(self) -> Tally:
        """Return the second half of the events."""
        half = self.tally.event_count / 2
        early = [mark for mark in self._marks if mark.event_count <= half]
        return self.tally.minus(early[-1]) if early else self.tally


def make_rows(passes: Sequence[Sequence[LaneRun]], *, has_floor: bool) -> list[dict[str, Any]]:
    """Make a row of each lane.

    Args:
        passes: The same lanes in each.
        has_floor: The units tell their information.
    """
    lanes = [list(same) for same in zip(*passes, strict=True)]
    rows = [_row(same, has_floor=has_floor) for same in lanes]
    runs = {(same[0].lane.level, same[0].lane.batch): same[0] for same in lanes}
    for row, same in zip(rows, lanes, strict=True):
        batch = same[0].lane.batch
        zstd, window = runs.get((YARDSTICK, batch)), runs.get((WINDOW, batch))
        row.update(_beside(same[0], zstd, window))
    return rows


def _row(same: list[LaneRun], *, has_floor: bool) -> dict[str, Any]:
    lane, whole, after, late = same[0].lane, same[0].tally, same[0].after, same[0].late()
    row = {
        "level": lane.level,
        "batch": lane.batch,
        "rival": lane.is_rival,
        "events": whole.event_count,
        "raw_bytes": whole.raw_bytes,
        "json_bytes": whole.json_bytes,
        "encoded_bytes": whole.encoded_bytes,
        **_sizes(whole, "", has_floor=has_floor),
        **_sizes(late, "late_", has_floor=has_floor),
        **_speeds([run.tally for run in same], ""),
    }
    if after.event_count:
        row[f"{_AFTER}events"] = after.event_count
        row |= _sizes(after, _AFTER, has_floor=has_floor)
        row |= _speeds([run.after for run in same], _AFTER)
    return row


def _sizes(tally: Tally, prefix: str, *, has_floor: bool) -> dict[str, float]:
    sizes = {
        "bytes_per_event": tally.encoded_bytes / tally.event_count,
        "ratio": tally.raw_bytes / tally.encoded_bytes,
        "json_ratio": tally.json_bytes / tally.encoded_bytes,
    }
    if has_floor:
        floor_bytes = tally.floor_bits / 8
        sizes["floor_bytes_per_event"] = floor_bytes / tally.event_count
        sizes["times_floor"] = tally.encoded_bytes / floor_bytes
    return {prefix + name: round(value, 3) for name, value in sizes.items()}


def _speeds(tallies: list[Tally], prefix: str) -> dict[str, Any]:
    """Return events and megabytes a second, median of the passes, and their range."""
    result: dict[str, Any] = {}
    event_bytes = tallies[0].raw_bytes / tallies[0].event_count
    ways: dict[str, Callable[[Tally], float]] = {
        "encode": lambda tally: tally.encode_s,
        "decode": lambda tally: tally.decode_s,
    }
    for way, seconds_of in ways.items():
        speeds = [tally.event_count / seconds_of(tally) for tally in tallies]
        middle = statistics.median(speeds)
        result[f"{prefix}{way}_events_per_s"] = round(middle)
        result[f"{prefix}{way}_mb_s"] = round(middle * event_bytes / 1e6, 2)
        result[f"{prefix}{way}_events_per_s_range"] = [round(min(speeds)), round(max(speeds))]
    return result


def _beside(run: LaneRun, zstd: LaneRun | None, window: LaneRun | None) -> dict[str, float]:
    """Return how many times fewer bytes than zstd-3 of the same batches, and the share of H4's."""
    result: dict[str, float] = {}
    for prefix, name in (("", "tally"), (_AFTER, "after")):
        own, its, h4 = (getattr(one, name, None) for one in (run, zstd, window))
        if not own or not own.event_count:
            continue
        if its:
            result[f"{prefix}fewer_than_zstd_3"] = round(its.encoded_bytes / own.encoded_bytes, 3)
        if h4:
            result[f"{prefix}share_of_window"] = round(own.encoded_bytes / h4.encoded_bytes, 3)
    return result
