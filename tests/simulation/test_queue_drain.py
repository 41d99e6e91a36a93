"""Queues that drain after a path's rate has fallen, on a path in a formula; and mutants killed.

The sender is bbr as far as it matters: it sends at the greatest rate delivered in ten round trips,
and twice a bandwidth-delay product may be under way.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest

from tests.simulation.planting import Mutant, killers
from transport.amst.queue_drain import QueueDrain
from transport.amst.stream_count import Reason

SEEDS: Final = range(5)
STEP_NS: Final = 10_000_000
POLL_STEPS: Final = 10
MIN_RTT_US: Final = 80_000
RATE: Final = 25e6  # bytes a second: 200 Mbit/s
_DRAIN: Final = "transport.amst.queue_drain:QueueDrain"


@dataclass
class Line:
    """A line with a drop-tail queue and a bbr before it.

    Attributes:
        rate: Bytes a second; changed between runs.
        queue_max: Bytes that wait before it at most.
        round_trips: Of each poll, in us; `caps` what was allowed then, `made` what was decided.
    """

    seed: int
    rate: float = RATE
    queue_max: float = RATE * MIN_RTT_US / 1e6
    jitter: float = 0.0
    dips: float = 0.0
    now_ns: int = 0
    queue: float = 0.0
    round_trip: float = 0.0
    best: deque[tuple[float, float]] = field(default_factory=deque)
    drain: QueueDrain = field(default_factory=QueueDrain)
    round_trips: list[float] = field(default_factory=list)
    caps: list[float | None] = field(default_factory=list)
    made: list[Reason] = field(default_factory=list)
    delivered: float = 0.0

    def run(self, seconds: float) -> "Line":
        dice = random.Random(self.seed)
        for step in range(round(seconds * 1e9 / STEP_NS)):
            self._step()
            if step % POLL_STEPS == 0:
                self._poll(dice)
        return self

    def _step(self) -> None:
        self.now_ns += STEP_NS
        rtt_us = MIN_RTT_US + self.queue / self.rate * 1e6
        self.round_trip += STEP_NS / 1_000 / rtt_us
        while self.best and self.best[0][0] < self.round_trip - 10:
            self.best.popleft()
        believed = max((rate for _, rate in self.best), default=self.rate)
        under_way = self.queue + self.rate * MIN_RTT_US / 1e6
        is_open = under_way < 2 * believed * MIN_RTT_US / 1e6
        sent = believed * 1.01 if is_open else self.rate
        cap = self.drain.cap_bytes_per_s
        sent = sent if cap is None else min(sent, cap)
        waiting = self.queue + sent * STEP_NS / 1e9
        self.delivered = min(self.rate, waiting / (STEP_NS / 1e9))
        self.queue = min(self.queue_max, waiting - self.delivered * STEP_NS / 1e9)
        self.best.append((self.round_trip, self.delivered))

    def _poll(self, dice: random.Random) -> None:
        rtt_us = MIN_RTT_US + self.queue / self.rate * 1e6
        seen_us = rtt_us * (1 + dice.uniform(0, self.jitter))
        rate = self.delivered * (dice.uniform(0.1, 0.3) if dice.random() < self.dips else 1.0)
        made = self.drain.observe(self.now_ns, rate, round(seen_us), MIN_RTT_US)
        self.round_trips.append(rtt_us)
        self.caps.append(self.drain.cap_bytes_per_s)
        self.made += [made] if made is not None else []


def a_fall_to_a_tenth(seed: int) -> None:
    """The queue of a second is gone after two, the line stays busy, and the limit is lifted."""
    line = Line(seed).run(5)
    line.rate /= 10
    line.run(3)
    assert line.round_trips[-1] < 1.5 * MIN_RTT_US
    line.run(3)

    assert line.made == [Reason.DRAIN, Reason.DRAINED]
    assert line.delivered > 0.95 * line.rate
    assert max(line.round_trips[-20:]) < 2.5 * MIN_RTT_US


def a_fall_to_a_tenth_and_back(seed: int) -> None:
    """A limit stands at the old rate for ten round trips at most after the path has room again."""
    line = Line(seed).run(5)
    line.rate /= 10
    line.run(2.5)
    line.rate *= 10
    line.run(2)

    assert line.caps[-1] is None


def a_queue_that_stays(_: int) -> None:
    """What others send keeps the queue: the limit is lifted after ten seconds all the same."""
    drain = QueueDrain()
    made = []
    for tenth in range(200):
        rate = RATE if tenth < 50 else RATE / 10
        rtt_us = MIN_RTT_US if tenth < 50 else 10 * MIN_RTT_US
        reason = drain.observe(tenth * 100_000_000, rate, rtt_us, MIN_RTT_US)
        made += [reason] if reason is not None else []

    assert made == [Reason.DRAIN, Reason.DRAIN_LONG]
    assert drain.cap_bytes_per_s is None


def loss(seed: int) -> None:
    """Deliveries dip and nothing waits."""
    assert Line(seed, dips=0.3).run(60).made == []


def jitter(seed: int) -> None:
    """Round trips of up to four times the least, and the rate is what it was."""
    assert Line(seed, jitter=3.0).run(60).made == []


def loss_and_a_queue_now_and_then(seed: int) -> None:
    """Both at once, but never twice running."""
    drain = QueueDrain()
    dice = random.Random(seed)
    for tenth in range(600):
        is_bad = tenth % 2 == 0 and dice.random() < 0.5
        rate, rtt_us = (RATE / 5, 5 * MIN_RTT_US) if is_bad else (RATE, MIN_RTT_US)
        assert drain.observe(tenth * 100_000_000, rate, rtt_us, MIN_RTT_US) is None


def the_start_of_a_stream(_: int) -> None:
    """It sends nearly three times what is delivered, and makes a queue for some round trips."""
    drain = QueueDrain()
    for tenth in range(60):
        rate = min(RATE, RATE / 64 * 2**tenth)
        rtt_us = MIN_RTT_US * (3 if 6 <= tenth < 12 else 1)
        assert drain.observe(tenth * 100_000_000, rate, rtt_us, MIN_RTT_US) is None


def a_round_trip_of_microseconds(seed: int) -> None:
    """On loopback it is many times the least, and rates are what the processor makes of them."""
    drain = QueueDrain()
    dice = random.Random(seed)
    for tenth in range(600):
        rate, rtt_us = RATE * dice.uniform(0.1, 300), dice.randrange(10, 5_000)
        assert drain.observe(tenth * 100_000_000, rate, rtt_us, 3) is None


CASES: Final[tuple[Callable[[int], None], ...]] = (
    a_fall_to_a_tenth,
    a_fall_to_a_tenth_and_back,
    a_queue_that_stays,
    loss,
    jitter,
    loss_and_a_queue_now_and_then,
    the_start_of_a_stream,
    a_round_trip_of_microseconds,
)

MUTANTS: Final = (
    Mutant(  # measured on loopback: a third of the goodput, for as long as it ran
        "a queue that is gone sooner than anybody can judge is waited for",
        f"{_DRAIN}.observe",
        " and round_trips_ns > _JUDGED_NS",
        "",
    ),
    Mutant(
        "a queue is not waited for",
        f"{_DRAIN}._watch",
        "has_fallen and is_queue",
        "has_fallen",
    ),
    Mutant(
        "a fall is not waited for",
        f"{_DRAIN}._watch",
        "has_fallen and is_queue",
        "is_queue",
    ),
    Mutant("one sign is enough", f"{_DRAIN}._watch", "self._signs < _AGREE", "self._signs < 1"),
    Mutant(
        "all that is delivered is sent again, so the queue stays",
        f"{_DRAIN}._watch",
        "self.cap_bytes_per_s = _DRAIN_SHARE * delivered_bytes_per_s",
        "return Reason.DRAIN",
    ),
    Mutant(
        "the limit is lifted before bbr has forgotten",
        f"{_DRAIN}.observe",
        "self._lift_ns = now_ns + round_trips_ns",
        "self._lift_ns = now_ns",
    ),
    Mutant(
        "what is delivered without a queue is taken for the line's rate",
        f"{_DRAIN}.observe",
        "if ratio > _QUEUE_RTT_RATIO:",
        "if self._phase is _Phase.DRAIN and ratio > _EMPTY_RTT_RATIO / 2:",
    ),
    Mutant(
        "the limit is never lifted while a queue stands",
        f"{_DRAIN}.observe",
        "if now_ns >= self._ends_ns:",
        "if now_ns < 0:",
    ),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_queue_drains_when_it_should(case: Callable[[int], None], seed: int) -> None:
    case(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_draining_is_killed(mutant: Mutant) -> None:
    assert killers(mutant, CASES, SEEDS)
