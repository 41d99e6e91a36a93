"""A flow whose zstd level is chosen by cost, beside fixed levels; and mutants that are killed.

What levels really take differs from what is believed of them, and a window that has begun anew
takes twice the bytes until it is full.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest

from tests.simulation.planting import Mutant, killers
from transport.hde.choice import Choice
from transport.hde.ladder import Ladder, factor
from transport.hde.unit import Level

SEEDS: Final = range(8)
FAILURES: Final = (AssertionError,)
RAW: Final = b"abcdefgh" * 12_500
WINDOW_BYTES: Final = 20 * len(RAW)
CEILING: Final = 19
FAST: Final = 100e6  # bytes a second
THIN: Final = 4e4
# Nanoseconds of CPU a raw byte and encoded bytes of it, at zstd level 3.
AT_3: Final = {Level.TYPED: (45.0, 0.005), Level.WINDOW: (1.4, 0.04)}
_LADDER: Final = "transport.hde.ladder:Ladder"
_CHOICE: Final = "transport.hde.choice:Choice"


@dataclass
class Flow:
    """A flow, what its units cost, and its level for each."""

    seed: int
    ceiling: int = CEILING
    is_typed: bool = True
    error: float = 1.0  # levels cost up to so many times more or less than is believed
    cost_ns: float = 0.0
    levels: list[int] = field(default_factory=list)
    picks: list[Level] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        ladder = Ladder(self.ceiling, WINDOW_BYTES)
        self.choice = Choice(is_typed=self.is_typed, ladder=ladder)
        self._cold_bytes = WINDOW_BYTES
        self.errors = {
            level: self.error ** self.dice.uniform(-1, 1) if level > 3 else 1.0
            for level in range(1, CEILING + 1)
        }

    def costs(self, level: Level, zstd_level: int) -> tuple[float, float]:
        """Return nanoseconds and bytes of a raw byte in a window that is full."""
        (ns, ratio), beside = AT_3[level], factor(level, zstd_level)
        return ns * beside.cpu * self.errors[zstd_level], ratio * beside.size

    def send(self, rates: Iterable[float]) -> None:
        """Send a unit at each rate."""
        choice = self.choice
        for rate in rates:
            choice.rate_bytes_s = rate
            level = choice.pick(RAW)
            zstd_level = choice.ladder.level
            if self.levels and self.levels[-1] != zstd_level:
                self._cold_bytes = WINDOW_BYTES
            self.levels.append(zstd_level)
            self.picks.append(level)
            ns, ratio = self.costs(level, zstd_level)
            if self._cold_bytes > 0 and level is Level.WINDOW:
                ratio *= 2
            self._cold_bytes -= len(RAW)
            noise = self.dice.uniform(0.9, 1.1)
            choice.learn(level, len(RAW), int(ratio * noise * len(RAW)))
            choice.report(int(ns * noise * len(RAW)))
            if rate:
                self.cost_ns += max(ns, ratio * 1e9 / rate) * len(RAW)

    def least_ns(self, rates: Iterable[float]) -> float:
        """Return what the best of all fixed choices would cost."""
        levels = (Level.TYPED, Level.WINDOW) if self.is_typed else (Level.WINDOW,)
        every = [
            self.costs(level, zstd_level)
            for level in levels
            for zstd_level in self.choice.ladder.rungs
        ]
        rates = list(rates)
        return min(
            sum(max(ns, ratio * 1e9 / rate) for rate in rates) * len(RAW) for ns, ratio in every
        )


def a_fast_link(seed: int) -> None:
    """The ceiling is left at once, and what is done there is little."""
    flow = Flow(seed)
    flow.send([0.0, *[FAST] * 400])
    assert flow.levels[0] == CEILING
    assert max(flow.levels[3:]) <= 6
    assert flow.picks.count(Level.WINDOW) > 350
    assert flow.cost_ns < 2 * flow.least_ns([FAST] * 400)


def a_fast_link_without_typed(seed: int) -> None:
    flow = Flow(seed, is_typed=False)
    flow.send([0.0, *[FAST] * 400])
    assert max(flow.levels[3:]) <= 6


def a_thin_link(seed: int) -> None:
    """The ceiling is what pays, and stays."""
    flow = Flow(seed, is_typed=bool(seed % 2))
    flow.send([0.0, *[THIN] * 400])
    assert set(flow.levels) == {CEILING}


def a_ceiling_that_leaves_nothing_to_choose(seed: int) -> None:
    for ceiling in (1, 3):
        flow = Flow(seed, ceiling)
        flow.send([FAST] * 100 + [THIN] * 100)
        assert set(flow.levels) == {ceiling}


def never_above_the_ceiling(seed: int) -> None:
    flow = Flow(seed, 7 + seed, error=3.0)
    dice = random.Random(seed)
    for _ in range(20):
        flow.send([10 ** dice.uniform(4, 9)] * 100)
    assert max(flow.levels) <= 7 + seed
    assert set(flow.levels) <= set(flow.choice.ladder.rungs)


def a_link_that_gets_thin(seed: int) -> None:
    """The flow climbs again, but not for a moment's sake."""
    flow = Flow(seed, 9, is_typed=False)
    flow.send([FAST] * 200 + [THIN] * 20)
    assert flow.levels[-1] <= 6
    flow.send([THIN] * 3_000)
    assert flow.levels[-1] == 9


def a_rate_that_swings(seed: int) -> None:
    """A window that begins anew each time would cost more than any level."""
    flow = Flow(seed, is_typed=False)
    rates = [FAST] * (2 + seed) + [3e6] * 2
    flow.send(rates * 1_000)
    assert flow.choice.ladder.moves <= 2


def levels_that_are_not_what_is_believed(seed: int) -> None:
    flow = Flow(seed, is_typed=bool(seed % 2), error=4.0)
    rates = [10 ** (6 + seed / 4)] * 4_000
    flow.send(rates)
    assert flow.choice.ladder.moves <= 10
    assert flow.cost_ns < 1.5 * flow.least_ns(rates)


def a_belief_that_is_wrong_again_and_again(seed: int) -> None:
    """From level 3 the next one looks cheap, and is not."""
    flow = Flow(seed, is_typed=False)
    flow.errors = {level: 1.0 if level <= 3 else 4.0 for level in flow.errors}
    rates = [6e6] * 10_000
    flow.send(rates)
    assert 1 < flow.choice.ladder.moves <= 8
    assert flow.cost_ns < 1.1 * flow.least_ns(rates)


CASES: Final[tuple[Callable[[int], None], ...]] = (
    a_fast_link,
    a_fast_link_without_typed,
    a_thin_link,
    a_ceiling_that_leaves_nothing_to_choose,
    never_above_the_ceiling,
    a_link_that_gets_thin,
    a_rate_that_swings,
    levels_that_are_not_what_is_believed,
    a_belief_that_is_wrong_again_and_again,
)

MUTANTS: Final = (
    Mutant("a cold window is for nothing", f"{_LADDER}.pay", "= _COLD * min(", "= 0 * min("),
    Mutant(
        "a cold window costs as much at the dear level",
        f"{_LADDER}.pay",
        "if saved_ns - cost * refilled_bytes",
        "if saved_ns - now * refilled_bytes",
    ),
    Mutant(
        "what would have been lost does not count",
        f"{_LADDER}.pay",
        "(now - cost) * raw_bytes",
        "max(0.0, now - cost) * raw_bytes",
    ),
    Mutant("a window is never full", f"{_LADDER}.pay", "min(self._held_bytes,", "max(1 << 50,"),
    Mutant("moves are as cheap as the first", f"{_LADDER}.pay", "self.moves += 1", "pass"),
    Mutant(
        "the last one that would do is taken",
        f"{_LADDER}.pay",
        "> best_ns:",
        "> 0:",
    ),
    Mutant(
        "what was measured is taken for level 3",
        f"{_CHOICE}.report",
        "self._worked_bytes / cpu",
        "self._worked_bytes",
    ),
    Mutant(
        "only the level in use now is looked at",
        f"{_CHOICE}._climb",
        "min(both.values()) if self.is_typed",
        "both[Level.TYPED] if self.is_typed",
    ),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_level_is_the_one_that_pays(case: Callable[[int], None], seed: int) -> None:
    case(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_ladder_is_killed(mutant: Mutant) -> None:
    assert killers(mutant, CASES, SEEDS, FAILURES)
