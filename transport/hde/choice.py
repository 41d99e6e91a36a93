"""Which level a flow uses next: by measured cost, counted always.

The cost of a level is the slower of the two that work side by side, the core that encodes and
the link that carries: max(nanoseconds of CPU, encoded bytes / available rate). Decoding is not
asked for: it takes about what encoding does, or less. Nothing here reads a clock: the shell tells
how long encoding took and what the link can carry. By the same cost `ladder` chooses zstd's level,
so what was measured is kept as it would be at level 3.
"""

import math
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import zstandard

from transport.hde.ladder import LEVEL_MIN, Ladder, factor
from transport.hde.unit import Level

PROBE_BYTES: Final = 65_536
_SHRINKS: Final = 1.05  # below this ratio a unit counts as one that does not shrink
_UNSHRUNK_MAX: Final = 2
_PROBED_BYTES_MIN: Final = 1_024  # smaller units say nothing about what shrinks
_SKIP_UNITS_MIN: Final = 16
_SKIP_UNITS_MAX: Final = 1_024
_REMEMBERED: Final = 1 / 8
_REMEMBERED_IN_RUN: Final = 1 / 2  # its first units say little
_SIZES: Final = (4_096, 65_536)  # small units cost more a byte than large ones: apart
_RUN_UNITS: Final = 8  # a level that takes over, or is tried, needs some to get going
_TRIES_COST_MAX: Final = 0.01  # of all that the flow costs
_FULL_BYTES: Final = 262_144  # raw; such units have a backlog behind them
_BETTER: Final = 0.9  # a level has to be so much cheaper to take over
# What is believed of a level before its first unit, by the other one. benchmarks.hde_share has
# 2.3 (patches) to 15 times (documents) the bytes, and 0.03 to 0.07 of the CPU.
_WINDOW_BYTES: Final = 5.0  # times those of the typed level
_WINDOW_CPU: Final = 0.04


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
    """What a level costs lately: CPU and encoded bytes per raw byte, the first as nanoseconds.

    Both as at zstd level 3.
    """

    ns: float = 0.0
    ratio: float = 0.0

    def learn(self, ratio: float, weight: float) -> None:
        self.ratio += (ratio - self.ratio) * (weight if self.ratio else 1)

    def report(self, ns: float, weight: float) -> None:
        self.ns += (ns - self.ns) * (weight if self.ns else 1)


@dataclass(slots=True)
class _Class:
    """What is known of units of about the same size.

    Attributes:
        used: The cheaper level, as far as is known.
        run: The level of the next `left` units, whatever they cost, and why.
        spent_ns: Cost of all units since the last try.
        dear_units: Units while nobody knew the rate.
    """

    typed: _Cost = field(default_factory=_Cost)
    window: _Cost = field(default_factory=_Cost)
    used: Level = Level.TYPED
    run: tuple[Level, Why] = (Level.TYPED, Why.TRY)
    left: int = 0
    spent_ns: float = 0.0
    dear_units: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether anything is known."""
        return self.typed.ratio > 0 or self.window.ratio > 0

    def costs(self, rate_bytes_s: float, zstd_level: int) -> dict[Level, float]:
        """Return nanoseconds per raw byte."""
        typed, window = self.typed, self.window
        if not window.ratio:
            window = _Cost(typed.ns * _WINDOW_CPU, typed.ratio * _WINDOW_BYTES)
        if not typed.ratio:
            typed = _Cost(window.ns / _WINDOW_CPU, window.ratio / _WINDOW_BYTES)
        both = {Level.TYPED: typed, Level.WINDOW: window}
        costs = {}
        for level, one in both.items():
            beside = factor(level, zstd_level)
            link_ns = one.ratio * beside.size * 1e9 / rate_bytes_s
            costs[level] = max(one.ns * beside.cpu, link_ns)
        return costs

    def dear(self, raw_bytes: int) -> tuple[Level, Why]:
        """Return typed; but the window once, soon, to know it and to let the link show its rate.

        Not while full units wait: a link that is slow would carry those for seconds.
        """
        self.dear_units += 1
        is_measured = self.typed.ns > 0  # without a clock there is nothing to know
        if self.dear_units == _RUN_UNITS and is_measured:
            self.begin(Level.WINDOW, Why.TRY)
        if self.left and raw_bytes < _FULL_BYTES:
            self.left -= 1
            return self.run
        return Level.TYPED, Why.DEAR

    def begin(self, level: Level, why: Why) -> tuple[Level, Why]:
        """Use a level for some units."""
        self.run, self.left = (level, why), _RUN_UNITS - 1
        return self.run


@dataclass(slots=True)
class Choice:
    """Chooses level by level for one flow.

    Args:
        is_compressing: False sends everything raw.
        is_typed: False leaves the typed level out.
        bound_bytes_s: More than that the link is not taken to carry; 0 for no bound.
        ladder: Chooses zstd's level.

    Attributes:
        rate_bytes_s: What the link can carry; 0 when nobody knows, then bytes are what is dear.
        is_core_short: Records wait for the encoder and nothing for or in the link: then the rate
            is a lower bound, and only CPU counts, or what the bound leaves.
        why: Of the last choice; `counts` says how often each was one.
    """

    is_compressing: bool = True
    is_typed: bool = True
    bound_bytes_s: float = 0.0
    ladder: Ladder = field(default_factory=lambda: Ladder(LEVEL_MIN, 0))
    rate_bytes_s: float = 0.0
    is_core_short: bool = False
    why: Why = Why.OFF
    counts: Counter[Why] = field(default_factory=Counter)
    _classes: tuple[_Class, ...] = field(
        default_factory=lambda: tuple(_Class() for _ in range(len(_SIZES) + 1))
    )
    _weight: float = 1.0
    _unshrunk: int = 0
    _skip: int = 0
    _skip_next: int = _SKIP_UNITS_MIN
    _picked: Level = Level.RAW
    _worked_bytes: int = 0

    @property
    def zstd_level(self) -> int:
        """Return zstd's level of the last unit, 0 for a raw one."""
        return 0 if self._picked is Level.RAW else self.ladder.level

    def pick(self, raw: bytes) -> Level:
        """Return the level for the next unit."""
        self._weight = _REMEMBERED
        self._picked, self.why = self._pick(raw)
        self.counts[self.why] += 1
        return self._picked

    def _pick(self, raw: bytes) -> tuple[Level, Why]:
        if not self.is_compressing:
            return Level.RAW, Why.OFF
        if self._is_unshrunk(raw):
            return Level.RAW, Why.UNSHRUNK
        known = self._classes[bisect(_SIZES, len(raw))]
        bound = self.bound_bytes_s
        rate = min(self.rate_bytes_s or bound, bound or self.rate_bytes_s)
        is_core_short = self.is_core_short and known.is_measured
        if is_core_short:
            rate = bound or math.inf
        if rate and known.is_measured:
            self._climb(known, len(raw), rate)
        if not self.is_typed:
            return Level.WINDOW, Why.OFF
        if is_core_short:
            costs = known.costs(rate, self.ladder.level)
            return min(costs, key=costs.__getitem__), Why.CORE
        return self._cheaper(known, len(raw), rate) if rate else known.dear(len(raw))

    def _climb(self, known: _Class, raw_bytes: int, rate: float) -> None:
        """Let the ladder know what each zstd level would cost, with the better of both levels."""
        rungs = self.ladder.rungs
        if len(rungs) > 1:
            costs = {rung: known.costs(rate, rung) for rung in rungs}
            least = {
                rung: min(both.values()) if self.is_typed else both[Level.WINDOW]
                for rung, both in costs.items()
            }
            self.ladder.pay(raw_bytes, least)

    def _cheaper(self, known: _Class, raw_bytes: int, rate: float) -> tuple[Level, Why]:
        """Return the cheaper level, or now and then the other one, to know what it costs."""
        if known.left:
            known.left -= 1
            self._weight = _REMEMBERED_IN_RUN
            return known.run
        if not known.is_measured:
            return Level.TYPED, Why.TRY
        costs = known.costs(rate, self.ladder.level)
        other = Level.WINDOW if known.used is Level.TYPED else Level.TYPED
        if costs[other] < _BETTER * costs[known.used]:
            known.used = other
            return known.begin(other, Why.COST)
        known.spent_ns += costs[known.used] * raw_bytes
        if known.spent_ns * _TRIES_COST_MAX >= costs[other] * raw_bytes * _RUN_UNITS:
            known.spent_ns = 0.0
            return known.begin(other, Why.TRY)
        return known.used, Why.COST

    def learn(
        self, level: Level, raw_bytes: int, encoded_bytes: int, primed_bytes: int = 0
    ) -> None:
        """Learn what a unit became; `primed_bytes` were encoded with it, but are not sent.

        What a level could not take is charged to it as it went: it is no better then.
        """
        self._worked_bytes = raw_bytes + primed_bytes
        cost = self._cost(raw_bytes)
        if cost is not None:
            size = factor(self._picked, self.ladder.level).size
            cost.learn(encoded_bytes / raw_bytes / size, self._weight)
            self.ladder.hold(raw_bytes)
        if level is not Level.RAW and raw_bytes >= _PROBED_BYTES_MIN:
            shrinks = encoded_bytes * _SHRINKS < raw_bytes
            self._unshrunk = 0 if shrinks else self._unshrunk + 1
            if shrinks:
                self._skip_next = _SKIP_UNITS_MIN

    def report(self, encode_ns: int) -> None:
        """Learn how much CPU the last unit took."""
        cost = self._cost(self._worked_bytes)
        if cost is not None:
            cpu = factor(self._picked, self.ladder.level).cpu
            cost.report(encode_ns / self._worked_bytes / cpu, self._weight)

    def _cost(self, raw_bytes: int) -> _Cost | None:
        if self._picked is Level.RAW or not raw_bytes:
            return None
        known = self._classes[bisect(_SIZES, raw_bytes)]
        return known.typed if self._picked is Level.TYPED else known.window

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
