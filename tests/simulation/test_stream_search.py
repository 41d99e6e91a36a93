"""The search for the number of data streams on simulated paths; and the mutants that it kills."""

from collections.abc import Callable, Iterable
from dataclasses import replace
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
    """Every stream helps; what the first seconds promise tells at once how many keep it."""
    done = ride(Path(400, 80, 0.001, "cubic", seed)).run(60)

    assert min(done.counts[10:]) >= 15
    held = [one for one in done.search.decisions if one.reason in (Reason.MOST, Reason.UNDO)]
    assert held
    assert held[-1].goodput_bytes_per_s < 1.7 * done.goodput_share(20) * done.path.rate


def told(control: str, seconds: Iterable[tuple[float, float]]) -> StreamSearch:
    """Return a search that was told goodput (Mbit/s) and repetitions of an empty path of 80 ms."""
    search = StreamSearch(0, StreamLimits(most=16), None, control)
    path = Path(400, 80, 0.001, control)
    for second, (mbit_s, repeated) in enumerate(seconds):
        sample = path.step(search.count)
        search.observe(
            replace(
                sample,
                at_ns=(second + 3) * 1_000_000_000,
                goodput_bytes_per_s=mbit_s * 125_000,
                repeated_share=repeated,
                rtt_us=sample.min_rtt_us,
            )
        )
    return search


def loss_while_streams_climb(_: int) -> None:
    """While nothing falls behind the formula is not asked."""
    done = told("cubic", ((mbit_s, 0.001) for mbit_s in (50, 80, 120, 180)))

    assert Reason.TRY_LOSS not in {decision.reason for decision in done.decisions}


def an_overrun_by_a_start(_: int) -> None:
    """It is of one second, and no loss of the path's."""
    done = told("cubic", ((mbit_s, 0.05 * (mbit_s == 300)) for mbit_s in (380, 300, 230, 170, 130)))

    assert Reason.TRY_LOSS not in {decision.reason for decision in done.decisions}


def what_bbr_loses(_: int) -> None:
    """Loss does not slow it, so it is something else."""
    done = told("bbr", ((mbit_s, 0.001) for mbit_s in (380, 300, 230, 170, 130)))

    assert Reason.TRY_LOSS not in {decision.reason for decision in done.decisions}


def a_step_up_before_loss_shows(_: int) -> None:
    """Two that start carry as much as four, for some seconds."""
    seconds = [
        (145, 0.0003),
        (140, 0.0003),
        (30, 0.03),
        (130, 0.0003),
        (144, 0.0003),
        (145, 0.0003),
    ]
    done = told("cubic", seconds)

    assert [one.after for one in done.decisions][:3] == [2, 4, 4]


def loss_that_shows_late(_: int) -> None:
    """As at 250 Mbit/s, 180 ms, 0.01 %: starts carry all of it, and fall behind for ten seconds."""
    done = told("cubic", ((mbit_s, 0.0002) for mbit_s in (290, 225, 227, 169, 120, 110)))

    assert (done.decisions[1].after, done.decisions[1].reason) == (16, Reason.TRY_LOSS)


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
    done = ride(Path(400, 500, 0.0, "bbr", seed)).run(300)
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
    loss_while_streams_climb,
    an_overrun_by_a_start,
    what_bbr_loses,
    a_step_up_before_loss_shows,
    loss_that_shows_late,
)

MUTANTS: Final = (
    Mutant(  # measured: 145 Mbit/s of eight streams became 70 of four
        "a step up is undone though loss will hold so few below",
        f"{_SEARCH}._finish_more",
        "gain < _KEEP_GAIN and not trial.is_for_loss",
        "gain < _KEEP_GAIN",
    ),
    Mutant(
        "the formula is not asked",
        f"{_SEARCH}._judge",
        "elif falls_behind(list(self._seen)) and (",
        "elif not self._seen and (",
    ),
    Mutant(
        "the formula is asked while streams keep up",
        "transport.amst.signs:falls_behind",
        "< _FALLEN_SHARE * most",
        "<= most",
    ),
    Mutant(
        "one bad second is the path's",
        f"{_SEARCH}._wanted_for_loss",
        "median(self._repeated_shares)",
        "max(self._repeated_shares)",
    ),
    Mutant(
        "what so few carry now is all that is wanted",
        f"{_SEARCH}._wanted_for_loss",
        "PathEstimate(most,",
        "PathEstimate(last.goodput_bytes_per_s,",
    ),
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
    Mutant("an overrun is not seen", f"{_SEARCH}._judge", "is_overrun(list(self._seen))", "False"),
    Mutant(
        "a step up that brought nothing is kept",
        f"{_SEARCH}._finish_more",
        "is_vain or (is_dear and gain < _GO_ON_GAIN)",
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
