"""Which level a flow uses next: by measured cost, counted always.

The cost of a raw byte is the slower of the two that work side by side, the core that encodes and
the link that carries: max(nanoseconds of CPU, encoded bytes / available rate). Nothing here reads
a clock: the shell tells how long encoding took and what the link can carry.
"""

from dataclasses import dataclass, field
from typing import Final

import zstandard

from transport.hde.unit import Level

PROBE_BYTES: Final = 65_536
_SHRINKS: Final = 1.05  # below this ratio a unit counts as one that does not shrink
_UNSHRUNK_MAX: Final = 2
_PROBED_BYTES_MIN: Final = 1_024  # smaller units say nothing about what shrinks
_SKIP_UNITS_MIN: Final = 16
_SKIP_UNITS_MAX: Final = 1_024
_REMEMBERED: Final = 1 / 8
_REFRESH_UNITS: Final = 128  # how often the other level is measured anew


@dataclass(slots=True)
class LevelCost:
    """What one level has cost lately, and in all.

    Attributes:
        units: Units encoded by it.
        raw_bytes: Their raw bytes; `encoded_bytes` after encoding, headers included.
        ns_per_byte: CPU per raw byte lately, 0 before the first report.
        ratio: Encoded bytes per raw byte lately, 0 before the first unit.
    """

    units: int = 0
    raw_bytes: int = 0
    encoded_bytes: int = 0
    ns_per_byte: float = 0.0
    ratio: float = 0.0


@dataclass(slots=True)
class Choice:
    """Chooses level by level for one flow.

    Args:
        is_compressing: False sends everything raw.
        is_typed: False leaves the typed level out.

    Attributes:
        rate_bytes_s: What the link can carry; 0 when nobody knows, then bytes are what is dear.
        is_core_short: Records wait for the encoder and nothing waits for the link: then CPU is.
        costs: By level.
    """

    is_compressing: bool = True
    is_typed: bool = True
    rate_bytes_s: float = 0.0
    is_core_short: bool = False
    costs: dict[Level, LevelCost] = field(default_factory=dict)
    _unshrunk: int = 0
    _skip: int = 0
    _skip_next: int = _SKIP_UNITS_MIN
    _count: int = 0
    _last: tuple[Level, int] = (Level.RAW, 0)

    def pick(self, raw: bytes) -> Level:
        """Return the level for the next unit."""
        if not self.is_compressing:
            return Level.RAW
        if self._skip:
            self._skip -= 1
            return Level.RAW
        if self._unshrunk >= _UNSHRUNK_MAX and not self._shrinks(raw):
            return Level.RAW
        if not self.is_typed:
            return Level.WINDOW
        self._count += 1
        best, other = Level.TYPED, Level.WINDOW
        is_weighed = self.is_core_short or self.rate_bytes_s > 0
        if is_weighed and self._cost(other) < self._cost(best):
            best, other = other, best
        is_refresh = is_weighed and self._count % _REFRESH_UNITS == 1
        return other if is_refresh else best

    def learn(self, level: Level, raw_bytes: int, encoded_bytes: int) -> None:
        """Learn what a unit became."""
        cost = self.costs.setdefault(level, LevelCost())
        cost.units += 1
        cost.raw_bytes += raw_bytes
        cost.encoded_bytes += encoded_bytes
        self._last = (level, raw_bytes)
        if raw_bytes:
            cost.ratio = _blend(cost.ratio, encoded_bytes / raw_bytes)
        if level is not Level.RAW and raw_bytes >= _PROBED_BYTES_MIN:
            shrinks = encoded_bytes * _SHRINKS < raw_bytes
            self._unshrunk = 0 if shrinks else self._unshrunk + 1
            if shrinks:
                self._skip_next = _SKIP_UNITS_MIN

    def report(self, encode_ns: int) -> None:
        """Learn how long the last unit took to encode."""
        level, raw_bytes = self._last
        if raw_bytes:
            cost = self.costs[level]
            cost.ns_per_byte = _blend(cost.ns_per_byte, encode_ns / raw_bytes)

    def _cost(self, level: Level) -> float:
        """Return nanoseconds per raw byte; 0 for what was never measured."""
        cost = self.costs.get(level)
        if cost is None:
            return 0.0
        if self.is_core_short:
            return cost.ns_per_byte
        return max(cost.ns_per_byte, cost.ratio * 1e9 / self.rate_bytes_s)

    def _shrinks(self, raw: bytes) -> bool:
        """Probe whether raw bytes shrink again; if not, some units go by before the next probe."""
        sample = raw[:PROBE_BYTES]
        packed = zstandard.ZstdCompressor(level=1).compress(sample)
        if len(packed) * _SHRINKS < len(sample):
            self._unshrunk = 0
            return True
        self._skip = self._skip_next
        self._skip_next = min(2 * self._skip_next, _SKIP_UNITS_MAX)
        return False


def _blend(old: float, new: float) -> float:
    return old + (new - old) * _REMEMBERED if old else new
