"""Hybrid timestamps order as time does, and a clock never repeats itself."""

from schemas.clocks import COUNT_MAX, HybridClock, pack_stamp, stamp_wall_ms


def test_a_stamp_holds_milliseconds_and_a_count() -> None:
    assert pack_stamp(1, 2) == 65_538
    assert stamp_wall_ms(pack_stamp(1_767_225_600_000, COUNT_MAX)) == 1_767_225_600_000


def test_later_milliseconds_beat_any_count() -> None:
    assert pack_stamp(6) > pack_stamp(5, COUNT_MAX)


def test_a_clock_shows_the_wall_time_while_that_moves() -> None:
    clock = HybridClock()

    assert [clock.tick(ms) for ms in (5, 6, 9)] == [pack_stamp(5), pack_stamp(6), pack_stamp(9)]


def test_events_of_one_millisecond_are_counted() -> None:
    clock = HybridClock()

    assert [clock.tick(5) for _ in range(3)] == [pack_stamp(5, n) for n in range(3)]


def test_a_wall_clock_that_goes_back_does_not_take_the_stamps_back() -> None:
    clock = HybridClock()
    clock.tick(100)

    assert clock.tick(3) == pack_stamp(100, 1)


def test_a_full_count_borrows_from_the_next_millisecond() -> None:
    clock = HybridClock(last=pack_stamp(5, COUNT_MAX))

    assert clock.tick(5) == pack_stamp(6)


def test_what_was_observed_lies_below_all_later_stamps() -> None:
    clock = HybridClock()
    clock.observe(pack_stamp(50, 7))
    clock.observe(pack_stamp(9))

    assert clock.tick(10) == pack_stamp(50, 8)


def test_a_clock_goes_on_above_what_it_gave_before_a_restart() -> None:
    assert HybridClock(last=pack_stamp(50)).tick(10) == pack_stamp(50, 1)
