"""Sets of whole numbers as ranges: what was received, what is missing."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""From the first number to the one after the last."""


class RangeSet:
    """Disjoint ranges, ascending, never touching each other.

    Example:
        >>> held = RangeSet([(0, 4), (6, 8)])
        >>> held.add(4, 6)
        2
        >>> list(held)
        [(0, 8)]
    """

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.size = 0
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, end: int) -> int:
        """Add a range and return how many of its numbers are new."""
        assert start <= end, f"[{start}, {end}) ends before it begins"
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        before = sum(self._ends[at] - self._starts[at] for at in range(first, last))
        if start < end:
            self._starts[first:last] = [start]
            self._ends[first:last] = [end]
        self.size += end - start - before
        return end - start - before

    def covers(self, start: int, end: int) -> bool:
        """Tell whether all of a range is held."""
        at = bisect_right(self._starts, start) - 1
        return start >= end or (at >= 0 and self._ends[at] >= end)

    def missing(self, total: int) -> Iterator[Range]:
        """Yield what of [0, total) is not held."""
        at = 0
        for start, end in self:
            if start >= total:
                break
            if at < start:
                yield at, start
            at = end
        if at < total:
            yield at, total
