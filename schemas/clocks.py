"""Hybrid logical clock: wall milliseconds with a counter, in one integer.

Layout: 48 bits of Unix milliseconds, 16 bits of count; so the natural order of integers is the
order of time, and the region breaks ties where two are equal.

Invariants: a clock never gives the same stamp twice; it never gives one below any it has observed.

Source: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014, figure 5.
"""

COUNT_BITS = 16
COUNT_MAX = (1 << COUNT_BITS) - 1
STAMP_MAX = (1 << 63) - 1


def pack_stamp(wall_ms: int, count: int = 0) -> int:
    """Join Unix milliseconds and a count below 65,536 into a hybrid timestamp."""
    return wall_ms << COUNT_BITS | count


def stamp_wall_ms(stamp: int) -> int:
    """Return the Unix milliseconds of a hybrid timestamp."""
    return stamp >> COUNT_BITS


class HybridClock:
    """One producer's or node's clock; the wall time comes in as an argument.

    Args:
        last: Highest stamp known from before a restart; the clock goes on above it.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, wall_ms: int) -> int:
        """Return a new stamp for an event of our own at `wall_ms`, Unix milliseconds.

        A full counter borrows from the next millisecond, so 65,536 events in one millisecond do
        not stop the clock.
        """
        self.last = max(pack_stamp(wall_ms), self.last + 1)
        return self.last

    def observe(self, stamp: int) -> None:
        """Learn a stamp seen elsewhere: all later ticks are above it."""
        self.last = max(self.last, stamp)
