"""A path that carries more again, while bbr climbs slowly; and the mutants that are killed."""

import random
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from tests.simulation.planting import Mutant, killers
from transport.amst.rate_rise import RateRise

SEEDS: Final = range(8)
FAILURES: Final = (AssertionError, ValueError)  # of nothing there is no greatest
TENTH_NS: Final = 100_000_000
RATE: Final = 2.5e6  # bytes a second: 20 Mbit/s
_RISE: Final = "transport.amst.rate_rise:RateRise"


def told(rates: Iterable[float], rtt_ratio: float = 1.05, min_rtt_ms: int = 80) -> list[int]:
    """Return at which tenths of a second a rise was told."""
    rise = RateRise(0)
    rtts_us = round(rtt_ratio * min_rtt_ms * 1_000), min_rtt_ms * 1_000
    return [
        tenth
        for tenth, rate in enumerate(rates)
        if rise.observe(tenth * TENTH_NS, rate, *rtts_us, is_busy=True)
    ]


def climbing(before: int, tenths: int) -> list[float]:
    """Return bbr's rates: a quarter more each eight round trips of 80 ms."""
    return [RATE] * before + [RATE * 1.25 ** (tenth // 6.4) for tenth in range(tenths)]


def noisy(seed: int, tenths: int) -> list[float]:
    """Return rates that vary by a third, dip under loss, and fall now and then to nearly nought."""
    dice = random.Random(seed)
    found = [RATE * dice.uniform(0.85, 1.2) for _ in range(tenths)]
    return [rate * (0.2 if dice.random() < 0.3 else 1) for rate in found]


def a_climb(_: int) -> None:
    """It is seen within two seconds, once."""
    found = told(climbing(60, 30))
    assert len(found) == 1
    assert 60 < found[0] <= 80


def noise(seed: int) -> None:
    assert told(noisy(seed, 3_000)) == []


def a_single_good_measurement(_: int) -> None:
    rates = [RATE * (3 if tenth % 50 == 49 else 1) for tenth in range(1_000)]
    assert told(rates) == []


def after_a_dip(_: int) -> None:
    """Each ten seconds bbr empties the path for 0.2 s, and is back at once."""
    rates = [RATE * (0.1 if tenth % 100 in {50, 51} else 1) for tenth in range(1_000)]
    assert told(rates) == []


def a_climb_into_a_queue(_: int) -> None:
    assert told(climbing(60, 30), rtt_ratio=1.5) == []


def a_start(_: int) -> None:
    """A stream that has just begun doubles by itself."""
    assert told(RATE * min(64.0, 2**tenth) for tenth in range(60)) == []


def a_start_far_away(_: int) -> None:
    """At 500 ms it doubles each half second, and takes 7 s: longer than what is compared."""
    assert told((RATE * min(64.0, 1.5 ** (tenth // 5)) for tenth in range(200)), 1.05, 500) == []


def a_start_that_was_begun_anew(_: int) -> None:
    """What follows the rise that was told is the stream's new start."""
    rates = [RATE] * 110 + [RATE * min(64.0, 1.5 ** (1 + tenth // 5)) for tenth in range(90)]
    assert len(told(rates, 1.05, 500)) == 1


def work_now_and_then(_: int) -> None:
    """What waited for work before has no rate to compare with."""
    rise = RateRise(0)
    rates = [RATE] * 50 + [8 * RATE] * 50
    found = [
        rise.observe(tenth * TENTH_NS, rate, 84_000, 80_000, is_busy=tenth >= 50)
        for tenth, rate in enumerate(rates)
    ]
    assert not any(found)


CASES: Final[tuple[Callable[[int], None], ...]] = (
    a_climb,
    noise,
    a_single_good_measurement,
    after_a_dip,
    a_climb_into_a_queue,
    a_start,
    a_start_far_away,
    a_start_that_was_begun_anew,
    work_now_and_then,
)

MUTANTS: Final = (
    Mutant("one sign is enough", f"{_RISE}.observe", "self._signs < _AGREE", "self._signs < 1"),
    Mutant(
        "a queue in the path is no hindrance",
        f"{_RISE}.observe",
        "has_risen and is_empty",
        "has_risen",
    ),
    Mutant("the least before is what counts", f"{_RISE}.observe", "_RISE * max(", "_RISE * min("),
    Mutant("a start is a rise", f"{_RISE}.observe", "_BEFORE_NS // 2", "_NOW_NS"),
    Mutant("a start far away is a rise", f"{_RISE}.observe", "if is_starting or", "if"),
    Mutant(
        "a new start is a rise",
        f"{_RISE}.observe",
        "self._begun_ns = now_ns\n    return True",
        "return True",
    ),
    Mutant("waiting for work is a rate", f"{_RISE}.observe", "or not is_busy:", "or False:"),
    Mutant(
        "one rise is told twice",
        f"{_RISE}.observe",
        "self._forget()\n    self._begun_ns = now_ns\n    return True",
        "return True",
    ),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_rise_is_told_when_it_is_one(case: Callable[[int], None], seed: int) -> None:
    case(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_watching_is_killed(mutant: Mutant) -> None:
    assert killers(mutant, CASES, SEEDS, FAILURES)
