"""The search for the number of data streams on simulated paths; and the mutants that it kills."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import pytest

from tests.simulation.paths import Path, Ride
from tests.simulation.planting import Mutant, killers
from transport.amst.stream_count import PathEstimate, Reason, StreamLimits
from transport.amst.stream_search import StreamSearch

SEEDS: Final = range(8)
_SEARCH: Final = "transport.amst.stream_search:StreamSearch"


def ride(path: Path, most: int = 16, believed: PathEstimate | None = None) -> Ride:
    limits = StreamLimits(most=most)
    return Ride(StreamSearch(0, limits, believed, path.control), limits, path)


def changes(done: Ride) -> int:
    return sum(before != after for before, after in pairwise(done.counts))


def lossy_under_bbr(seed: int) -> None:
    """Two streams do not fill it, four repeat too much: three or four, settled in ten seconds."""
    done = ride(Path(400, 80, 0.001, "bbr", seed)).run(60)

    assert set(done.counts[12:]) <= {3, 4}
    assert done.goodput_share(20) > 0.9
    assert done.repeated_share(20) < 0.02


def lossy_under_cubic(seed: int) -> None:
    """Every stream helps; the first seconds of each promise far more than it keeps."""
    done = ride(Path(400, 80, 0.001, "cubic", seed)).run(60)

    assert done.counts[-1] == 16
    assert done.counts[45] == 16
    held = next(one for one in done.search.decisions if one.reason is Reason.MOST)
    assert held.goodput_bytes_per_s < 1.7 * done.goodput_share(20) * done.path.rate


def long_and_clean(seed: int) -> None:
    """One send buffer holds a seventh of it."""
    done = ride(Path(800, 200, 0.0, "bbr", seed)).run(60)

    assert done.goodput_share(20) > 0.9
    assert done.counts[-1] <= 8


def long_and_clean_when_forecast(seed: int) -> None:
    """What is believed of the path gives the count at once."""
    believed = PathEstimate(800e6 / 8, 200_000_000)
    done = ride(Path(800, 200, 0.0, "bbr", seed), believed=believed).run(30)

    assert done.search.decisions[0].after == 7
    assert done.goodput_share(10) > 0.9


def small(seed: int) -> None:
    """A second stream only repeats."""
    done = ride(Path(20, 100, 0.0, "bbr", seed)).run(60)

    assert done.counts[-1] == 1
    assert done.repeated_share(20) < 0.02


def small_when_forecast(seed: int) -> None:
    """Nothing but the path limits one stream, so a second is not tried."""
    believed = PathEstimate(20e6 / 8, 100_000_000)
    done = ride(Path(20, 100, 0.0, "bbr", seed), believed=believed).run(60)

    assert set(done.counts) == {1}


def small_and_overrun_by_two(seed: int) -> None:
    """What was in vain is not tried again at once: three times in 19 s, on the emulated WAN."""
    done = ride(Path(20, 100, 0.001, "bbr", seed, repeated_each=0.1)).run(50)

    assert Reason.OVERRUN in {decision.reason for decision in done.search.decisions}
    assert set(done.counts[6:]) == {1}


def overrun_from_the_start(seed: int) -> None:
    """Eight streams on a small path, because a forecast was wrong: halved, and halved again."""
    believed = PathEstimate(800e6 / 8, 200_000_000)
    done = ride(Path(20, 100, 0.0, "bbr", seed), believed=believed).run(40)

    assert done.counts[20] <= 2
    assert Reason.OVERRUN in {decision.reason for decision in done.search.decisions}


def starved(seed: int) -> None:
    """Too little to send says nothing of the path."""
    path = Path(400, 80, 0.001, "bbr", seed, is_starved=True)
    done = ride(path).run(60)

    assert set(done.counts) == {2}
    assert len(done.search.decisions) == 1


def steady_for_long(seed: int) -> None:
    """The search ends: a path that does not change is hardly ever disturbed."""
    done = ride(Path(400, 80, 0.0, "bbr", seed)).run(1_200)

    assert changes(done) <= 12
    assert done.goodput_share(1_000) > 0.9


def full_with_two(seed: int) -> None:
    """A queue says that the path is full: no need to try more."""
    done = ride(Path(400, 80, 0.0, "cubic", seed)).run(60)

    assert set(done.counts) == {2}


def policed(seed: int) -> None:
    """No queue tells that it is full, so more are tried, in vain, and ever more rarely."""
    done = ride(Path(400, 80, 0.0, "cubic", seed, has_queue=False)).run(900)

    assert done.counts[30] == 2
    assert changes(done) <= 12


def much_lost_whatever_is_done(seed: int) -> None:
    """Repetitions are the path's, not ours: fewer streams are slower, and soon given up."""
    done = ride(Path(400, 80, 0.03, "bbr", seed)).run(120)

    assert done.goodput_share(60) > 0.9


def a_step_down_and_up(seed: int) -> None:
    """The rate falls to a tenth and comes back: no collapse, and all of it used again."""
    path = Path(400, 80, 0.001, "bbr", seed)
    done = ride(path).run(40)
    path.rate_mbit_s = 20
    done.run(40)
    assert done.repeated_share(15) < 0.05
    path.rate_mbit_s = 400
    done.run(40)

    assert done.goodput_share(10) > 0.9


def slow_to_settle(seed: int) -> None:
    """Ten round trips of 500 ms pass between any two changes of the count."""
    done = ride(Path(400, 500, 0.01, "cubic", seed)).run(300)
    decisions = list(done.search.decisions)[1:]
    at_ns = [decision.at_ns for decision in decisions if decision.before != decision.after]

    assert len(at_ns) >= 3
    assert all(later - earlier > 5_000_000_000 for earlier, later in pairwise(at_ns))


def loss_begins(seed: int) -> None:
    """A path on which more were tried in vain begins to lose: it is not waited to try again."""
    path = Path(400, 80, 0.0, "cubic", seed, has_queue=False)
    done = ride(path).run(15)
    path.loss = 0.001
    done.run(26)

    assert done.counts[14] == 2
    assert done.counts[-1] == 16


CASES: Final[tuple[Callable[[int], None], ...]] = (
    lossy_under_bbr,
    lossy_under_cubic,
    long_and_clean,
    long_and_clean_when_forecast,
    small,
    small_when_forecast,
    small_and_overrun_by_two,
    overrun_from_the_start,
    starved,
    full_with_two,
    policed,
    much_lost_whatever_is_done,
    steady_for_long,
    a_step_down_and_up,
    slow_to_settle,
    loss_begins,
)

MUTANTS: Final = (
    Mutant(  # measured in the real code
        "limits that are told again make the search forget what was in vain",
        f"{_SEARCH}.set_limits",
        "if limits == self._limits:",
        "if limits is None:",
    ),
    Mutant(  # found by the simulation in the real code
        "one bad second makes the next step look good",
        f"{_SEARCH}._try",
        "median(one.goodput_bytes_per_s",
        "fmean(one.goodput_bytes_per_s",
    ),
    Mutant(
        "the start of a stream is judged",
        f"{_SEARCH}._settle",
        "sample.at_ns + wait_ns",
        "sample.at_ns",
    ),
    Mutant("seconds need not agree", f"{_SEARCH}._is_steady", "return agree or", "return True or"),
    Mutant(
        "a queue in the path does not stop the search",
        f"{_SEARCH}._step_up_or_hold",
        "elif is_full(last):",
        "elif not last:",
    ),
    Mutant(
        "a path that nothing else limits is tried with more",
        "transport.amst.signs:is_full",
        "if _is_path_limited(samples[-1]):",
        "if not samples:",
    ),
    Mutant(
        "seconds with too little to send are judged",
        f"{_SEARCH}.observe",
        "sample.stream_count != self.count or sample.is_app_limited",
        "sample.stream_count != self.count",
    ),
    Mutant("an overrun is not seen", f"{_SEARCH}._judge", "if self._is_overrun():", "if False:"),
    Mutant(
        "a step up that brought nothing is kept",
        f"{_SEARCH}._finish_more",
        "gain < _KEEP_GAIN or (is_dear and gain < _GO_ON_GAIN)",
        "gain < -1",
    ),
    Mutant(
        "more are tried again at once",
        f"{_SEARCH}._wait_before_more",
        "now_ns + self._pause_ns",
        "now_ns",
    ),
    Mutant(
        "a changed link is not noticed",
        "transport.amst.signs:has_changed",
        "max(ratios) < 1 - _CHANGED_SHARE or min(ratios) > 1 + _CHANGED_SHARE",
        "max(ratios) < 0",
    ),
    Mutant(
        "repetitions on a full path cost nothing",
        f"{_SEARCH}._is_trim_due",
        "now_ns >= self._trim_again_ns",
        "now_ns < 0",
    ),
    Mutant(
        "fewer streams are kept even if slower",
        f"{_SEARCH}._finish_fewer",
        "goodput >= _TRIM_SHARE * trial.goodput",
        "goodput >= 0",
    ),
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_search_ends_where_it_should(case: Callable[[int], None], seed: int) -> None:
    case(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_search_is_killed(mutant: Mutant) -> None:
    assert killers(mutant, CASES, SEEDS)
