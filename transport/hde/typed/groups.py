"""Cells that belong together, however they lie among others."""

import numpy as np

from transport.hde.typed.integers import Ints


class Groups:
    """Cells that belong together, in their order.

    Args:
        keys: To which group each cell belongs.

    Attributes:
        keys: The groups that there are, in order.
        sizes: How many cells each has.
    """

    def __init__(self, keys: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        ordered = keys[self._order]
        is_first = np.empty(len(keys), dtype=bool)
        is_first[:1] = True
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        self._starts = is_first.nonzero()[0]
        self._ends = np.empty_like(self._starts)
        self._ends[:-1] = self._starts[1:]
        self._ends[-1:] = len(keys)
        self.keys = ordered[self._starts]
        self.sizes = self._ends - self._starts

    def before(self, values: Ints, heads: Ints) -> Ints:
        """Return the value before each cell in its group; that of the first is the head."""
        ordered = np.empty(len(values), dtype=np.int64)
        ordered[1:] = values[self._order[:-1]]
        ordered[self._starts] = heads
        result = np.empty(len(values), dtype=np.int64)
        result[self._order] = ordered
        return result

    def last(self, values: Ints) -> Ints:
        """Return the value of the last cell of each group."""
        last: Ints = values[self._order[self._ends - 1]]
        return last

    def sums(self, values: Ints) -> Ints:
        """Return the sum of each group, of one or several rows of values."""
        return np.add.reduceat(values[..., self._order], self._starts, axis=-1)

    def running(self, values: Ints, heads: Ints) -> Ints:
        """Return running sums in each group, from its head on."""
        sums = np.cumsum(values[self._order])
        first = self._starts
        sums += (heads - sums[first] + values[self._order[first]]).repeat(self.sizes)
        result = np.empty(len(values), dtype=np.int64)
        result[self._order] = sums
        return result
