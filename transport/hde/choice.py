"""Which level a flow uses next: by measured cost, counted always.

The cost of a level is the slower of the two that work side by side, the core that encodes and
the link that carries: max(nanoseconds of CPU, encoded bytes / available rate). Decoding is not
asked for: it takes about what encoding does, or less. Nothing here reads a clock: the shell tells
how long encoding took and what the link can carry.
"""

from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
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
_SIZES: Final = (4_096, 65_536)  # small units cost more a byte than large ones: apart
_FIRST_TRIES: Final = 2  # of each level, in each class of size
_TRIES_COST_MAX: Final = 0.01  # later tries, of all that the flow costs
_UNMEASURED: Final = 10.0  # times the other level
_BETTER: Final = 0.9  # a level has to be so much cheaper to take over


class Why(StrEnum):
    """Why a unit got its level."""

    OFF = "off"  # the settings leave nothing to choose
    UNSHRUNK = "unshrunk"  # raw: the last units did not shrink
    DEAR = "dear"  # typed: nobody knows the rate
    COST = "cost"  # the cheaper one
    CORE = "core"  # the one that takes less CPU, for that is what is short
    TRY = "try"  # the other one, to measure it


@dataclass(slots=True)
class _Cost:
    """What a level costs lately: CPU and encoded bytes per raw byte, the first as nanoseconds."""

    ns: float = 0.0
    ratio: float = 0.0
    tries: int = 0
    units: int = 0


@dataclass(slots=True)
class _Class:
    """What is known of units of about the same size."""

    costs: dict[Level, _Cost]
    used: Level = Level.TYPED
    spent_ns: float = 0.0  # since the last try


def _classes() -> list[_Class]:
    levels = (Level.TYPED, Level.WINDOW)
    return [_Class({level: _Cost() for level in levels}) for _ in range(len(_SIZES) + 1)]


@dataclass(slots=True)
class Choice:
    """Chooses level by level for one flow.

    Args:
        is_compressing: False sends everything raw.
        is_typed: False leaves the typed level out.

    Attributes:
        rate_bytes_s: What the link can carry; 0 when nobody knows, then bytes are what is dear.
        is_core_short: Records wait for the encoder and nothing for or in the link: then CPU is.
        why: Of the last choice; `counts` says how often each was one.
    """

    is_compressing: bool = True
    is_typed: bool = True
    rate_bytes_s: float = 0.0
    is_core_short: bool = False
    why: Why = Why.OFF
    counts: Counter[Why] = field(default_factory=Counter)
    _classes: list[_Class] = field(default_factory=_classes)
    _unshrunk: int = 0
    _skip: int = 0
    _skip_next: int = _SKIP_UNITS_MIN
    _last: tuple[Level, int] = (Level.RAW, 0)

    def pick(self, raw: bytes) -> Level:
        """Return the level for the next unit."""
        level, self.why = self._pick(raw)
        self.counts[self.why] += 1
        return level

    def _pick(self, raw: bytes) -> tuple[Level, Why]:
        if not self.is_compressing:
            return Level.RAW, Why.OFF
        if self._is_unshrunk(raw):
            return Level.RAW, Why.UNSHRUNK
        if not self.is_typed:
            return Level.WINDOW, Why.OFF
        if not (self.is_core_short or self.rate_bytes_s):
            return Level.TYPED, Why.DEAR
        return self._cheaper(self._classes[bisect(_SIZES, len(raw))], len(raw))

    def _cheaper(self, known: _Class, raw_bytes: int) -> tuple[Level, Why]:
        """Return the cheaper level, or now and then the other one, to know what it costs."""
        for level, cost in known.costs.items():
            if cost.tries < _FIRST_TRIES:
                cost.tries += 1
                return level, Why.TRY
        costs = self._costs(known)
        other = Level.WINDOW if known.used is Level.TYPED else Level.TYPED
        if costs[other] < _BETTER * costs[known.used]:
            known.used, other = other, known.used
        known.spent_ns += costs[known.used] * raw_bytes
        if known.spent_ns * _TRIES_COST_MAX >= costs[other] * raw_bytes:
            known.spent_ns = 0.0
            return other, Why.TRY
        return known.used, Why.CORE if self.is_core_short else Why.COST

    def learn(
        self, level: Level, raw_bytes: int, encoded_bytes: int, primed_bytes: int = 0
    ) -> None:
        """Learn what a unit became; `primed_bytes` were encoded with it, but are not sent."""
        self._last = (level, raw_bytes + primed_bytes)
        cost = self._cost(level, raw_bytes)
        if cost is not None:
            cost.units += 1
            cost.ratio = _blend(cost.ratio, encoded_bytes / raw_bytes, cost.units)
        if level is not Level.RAW and raw_bytes >= _PROBED_BYTES_MIN:
            shrinks = encoded_bytes * _SHRINKS < raw_bytes
            self._unshrunk = 0 if shrinks else self._unshrunk + 1
            if shrinks:
                self._skip_next = _SKIP_UNITS_MIN

    def report(self, encode_ns: int) -> None:
        """Learn how much CPU the last unit took."""
        level, worked_bytes = self._last
        cost = self._cost(level, worked_bytes)
        if cost is not None:
            cost.ns = _blend(cost.ns, encode_ns / worked_bytes, cost.units)

    def _cost(self, level: Level, raw_bytes: int) -> _Cost | None:
        return self._classes[bisect(_SIZES, raw_bytes)].costs.get(level) if raw_bytes else None

    def _costs(self, known: _Class) -> dict[Level, float]:
        """Return nanoseconds per raw byte; a level that no unit could take is taken for dear."""
        found = {level: self._ns_per_byte(cost) for level, cost in known.costs.items()}
        return {level: ns or _UNMEASURED * max(found.values()) for level, ns in found.items()}

    def _ns_per_byte(self, cost: _Cost) -> float:
        if self.is_core_short:
            return cost.ns
        return max(cost.ns, cost.ratio * 1e9 / self.rate_bytes_s)

    def _is_unshrunk(self, raw: bytes) -> bool:
        """Tell whether raw bytes had better stay raw; now and then a sample is tried."""
        if self._skip:
            self._skip -= 1
            return True
        if self._unshrunk < _UNSHRUNK_MAX:
            return False
        sample = raw[:PROBE_BYTES]
        packed = zstandard.ZstdCompressor(level=1).compress(sample)
        if len(packed) * _SHRINKS < len(sample):
            self._unshrunk = 0
            return False
        self._skip = self._skip_next
        self._skip_next = min(2 * self._skip_next, _SKIP_UNITS_MAX)
        return True


def _blend(old: float, new: float, count: int) -> float:
    """Return the mean of the first eight, and then a mean in which the old ones fade."""
    return old + (new - old) * max(_REMEMBERED, 1 / max(1, count))
