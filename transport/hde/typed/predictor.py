"""What the next number of a field will be, and how well each guess went so far.

A *context* is a field: a path, or a place in documents. Four guesses are kept for each: the
entity's own last value, the line through its last two, the value that any entity had there last,
and the clock of the change. The cheapest so far is used for the next unit, by the same integer
arithmetic on both ends.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from transport.hde.typed.integers import Ints, Words, classes, fold, int_array

OWN, LINE, NEIGHBOUR, CLOCK = range(4)
_MODES: Final = 4
_UNIT: Final = 16  # costs and classes are kept in sixteenths of a bit


class Predictor:
    """Guesses for numbers, learned unit by unit.

    Attributes:
        last: Last value of any entity, by context.
    """

    def __init__(self) -> None:
        self.last: list[int] = []
        self._costs = np.zeros((_MODES, 0), dtype=np.int64)
        self._typical = np.zeros(0, dtype=np.int64)
        self._modes = np.zeros(0, dtype=np.int64)

    def grow(self, context_count: int) -> None:
        """Make room for contexts up to this count."""
        self.last += [0] * (context_count - len(self.last))
        room = context_count - len(self._modes)
        if room > 0:
            more = max(room, 256, len(self._modes))
            self._costs = np.pad(self._costs, ((0, 0), (0, more)))
            self._typical = np.pad(self._typical, (0, more), constant_values=4 * _UNIT)
            self._modes = np.pad(self._modes, (0, more))

    def modes(self, contexts: Ints) -> list[int]:
        """Return the guess in use for each context."""
        modes: list[int] = self._modes[contexts].tolist()
        return modes

    def typical(self, contexts: Ints) -> Ints:
        """Return the class that a number of each context has as a rule."""
        return (self._typical[contexts] + _UNIT // 2) // _UNIT

    def residuals(self, cells: Sequence[int]) -> tuple[Ints, Words, Ints]:
        """Return typical classes, folded residuals and their classes, and learn from them.

        Args:
            cells: Of a unit, each its context, value, own value, value on the line, clock.
        """
        table = int_array(cells).reshape(-1, 5).T
        contexts, values = table[0], table[1]
        groups = Groups(contexts)
        guesses = np.empty((_MODES, len(contexts)), dtype=np.int64)
        guesses[OWN], guesses[LINE], guesses[CLOCK] = table[2:]
        guesses[NEIGHBOUR] = self._neighbours(groups, values)
        words = fold(values - guesses)
        costs = classes(words)
        picked = self._modes[contexts], np.arange(len(contexts))
        typical, chosen, own_costs = self.typical(contexts), words[picked], costs[picked]
        self._learn(groups, costs, own_costs)
        return typical, chosen, own_costs

    def _neighbours(self, groups: "Groups", values: Ints) -> Ints:
        """Return for each cell what the cell before it in its context was; keeps the last."""
        heads = groups.keys.tolist()
        before = groups.before(values, int_array([self.last[context] for context in heads]))
        for context, value in zip(heads, groups.last(values).tolist(), strict=True):
            self.last[context] = value
        return before

    def _learn(self, groups: "Groups", costs: Ints, own_costs: Ints) -> None:
        seen = groups.keys
        own = self._costs[:, seen]
        own += (groups.sums(costs) * _UNIT // groups.sizes - own) // 4
        self._costs[:, seen] = own
        sums = groups.sums(own_costs) * _UNIT // groups.sizes
        self._typical[seen] = (self._typical[seen] + sums) // 2
        self._modes[seen] = own.argmin(axis=0)


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
        self._starts = np.flatnonzero(is_first)
        self.keys = ordered[self._starts]
        self.sizes = np.diff(self._starts, append=len(keys))

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
        last: Ints = values[self._order[self._starts + self.sizes - 1]]
        return last

    def sums(self, values: Ints) -> Ints:
        """Return the sum of each group, of one or several rows of values."""
        return np.add.reduceat(values[..., self._order], self._starts, axis=-1)

    def running(self, values: Ints, heads: Ints) -> Ints:
        """Return running sums in each group, from its head on."""
        sums = np.cumsum(values[self._order])
        first = self._starts
        sums += np.repeat(heads - sums[first] + values[self._order[first]], self.sizes)
        result = np.empty(len(values), dtype=np.int64)
        result[self._order] = sums
        return result
