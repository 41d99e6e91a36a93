"""The dice of faults: repeatable, within their limits, fair."""

import pytest

from tests.faults.schedule import Fault, schedule, tally

FAULTS = (
    Fault("kill", ("a", "b"), (1.0, 2.0)),
    Fault("pause", ("a", "b", "c"), (5.0, 9.0), weight=2.0),
    Fault("never", ()),
    Fault("switched off", ("a",), weight=0.0),
)


def test_the_same_seed_gives_the_same_strikes() -> None:
    first = list(schedule(7, 50, FAULTS, (0.1, 3.0)))

    assert first == list(schedule(7, 50, FAULTS, (0.1, 3.0)))
    assert first != list(schedule(8, 50, FAULTS, (0.1, 3.0)))
    assert first[:10] == list(schedule(7, 10, FAULTS, (0.1, 3.0))), "a short run begins alike"


def test_strikes_keep_to_the_limits() -> None:
    limits = {fault.name: fault for fault in FAULTS}
    for strike in schedule(1, 300, FAULTS, (0.1, 3.0)):
        low_s, high_s = limits[strike.fault].hold_s
        assert low_s <= strike.hold_s <= high_s
        assert 0.1 <= strike.after_s <= 3.0
        assert strike.victim in limits[strike.fault].victims


def test_weights_count_and_what_cannot_be_never_is() -> None:
    counts = tally(list(schedule(1, 3_000, FAULTS, (0.0, 0.0))))

    assert set(counts) == {"kill", "pause"}
    assert 1.7 < counts["pause"] / counts["kill"] < 2.4


def test_without_victims_there_is_no_schedule() -> None:
    with pytest.raises(AssertionError, match="victim"):
        list(schedule(1, 1, FAULTS[2:], (0.0, 0.0)))
