"""A hybrid clock never goes back and never repeats a stamp, whatever the wall clock does."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.clocks import HybridClock, pack_stamp, stamp_wall_ms

walls = st.integers(0, 1 << 42)
events = st.lists(st.tuples(st.sampled_from(("tick", "observe")), walls), max_size=50)


@given(events)
def test_every_stamp_is_above_all_that_were_given_or_observed(
    happened: list[tuple[str, int]],
) -> None:
    clock, known = HybridClock(), -1
    for kind, wall_ms in happened:
        if kind == "observe":
            clock.observe(pack_stamp(wall_ms))
            known = max(known, pack_stamp(wall_ms))
            continue
        stamp = clock.tick(wall_ms)
        assert stamp > known
        assert stamp_wall_ms(stamp) >= wall_ms
        known = stamp


@given(walls, st.integers(0, (1 << 16) - 1), walls, st.integers(0, (1 << 16) - 1))
def test_stamps_order_as_milliseconds_then_count(
    one_ms: int, one: int, two_ms: int, two: int
) -> None:
    assert (pack_stamp(one_ms, one) < pack_stamp(two_ms, two)) == ((one_ms, one) < (two_ms, two))
