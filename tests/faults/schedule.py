"""Which fault hits whom, when, for how long: drawn from a seed, nothing else. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: What it does, for people.
        victims: Whom it can hit.
        hold_s: Shortest and longest time until what was broken comes back, seconds.
        weight: How often it is drawn, relative to the others.
    """

    name: str
    victims: Sequence[str]
    hold_s: tuple[float, float] = (0.0, 0.0)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that happens.

    Attributes:
        number: Of the schedule, from 0.
        after_s: Pause since the strike before, seconds.
        fault: Name of the fault.
        victim: Whom it hits.
        hold_s: How long until what was broken is started, resumed or healed, seconds.
    """

    number: int
    after_s: float
    fault: str
    victim: str
    hold_s: float


def schedule(
    seed: int, count: int, faults: Sequence[Fault], pause_s: tuple[float, float]
) -> Iterator[Strike]:
    """Draw strikes: the same seed and faults give the same ones.

    Args:
        seed: Of the dice.
        count: How many strikes.
        faults: What may happen; one without victims never does.
        pause_s: Shortest and longest pause between two strikes, seconds.
    """
    dice = random.Random(seed)
    possible = [fault for fault in faults if fault.victims and fault.weight > 0]
    assert possible, "a schedule needs a fault with a victim"
    weights = [fault.weight for fault in possible]
    for number in range(count):
        (fault,) = dice.choices(possible, weights)
        yield Strike(
            number,
            round(dice.uniform(*pause_s), 3),
            fault.name,
            dice.choice(fault.victims),
            round(dice.uniform(*fault.hold_s), 3),
        )


def tally(strikes: Sequence[Strike]) -> Mapping[str, int]:
    """Count strikes by fault."""
    counts: dict[str, int] = {}
    for strike in strikes:
        counts[strike.fault] = counts.get(strike.fault, 0) + 1
    return counts
