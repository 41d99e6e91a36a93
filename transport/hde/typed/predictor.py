"""What the next number of a field will be, and how well each guess went so far.

A *context* is a field: a path, or a place in documents. Four guesses are kept for each: the
entity's own last value, the line through its last two, the value that any entity had there last,
and the clock of the change. The cheapest so far is used for the next unit, by the same integer
arithmetic on both ends.
"""

from typing import Final

import numpy as np

from transport.hde.typed.groups import Groups
from transport.hde.typed.integers import Ints, Words, classes, fold, int_array

OWN, LINE, NEIGHBOUR, CLOCK = range(4)
_MODES: Final = 4
_UNIT: Final = 16  # costs and classes are kept in sixteenths of a bit
_CONTEXTS_MIN: Final = 256
_TYPICAL: Final = 4 * _UNIT


class Predictor:
    """Guesses for numbers, learned unit by unit.

    Attributes:
        last: Last value of any entity, by context.
    """

    def __init__(self) -> None:
        self.last: list[int] = []
        self._costs = np.zeros((_MODES, _CONTEXTS_MIN), dtype=np.int64)
        self._typical = np.full(_CONTEXTS_MIN, _TYPICAL, dtype=np.int64)
        self._modes = np.zeros(_CONTEXTS_MIN, dtype=np.int64)

    def grow(self, context_count: int) -> None:
        """Make room for contexts up to this count."""
        self.last += [0] * (context_count - len(self.last))
        room = context_count - len(self._modes)
        if room > 0:
            more = max(room, len(self._modes))
            self._costs = np.concatenate([self._costs, np.zeros((_MODES, more), np.int64)], axis=1)
            self._typical = np.concatenate([self._typical, np.full(more, _TYPICAL, np.int64)])
            self._modes = np.concatenate([self._modes, np.zeros(more, np.int64)])

    def modes(self, contexts: Ints) -> Ints:
        """Return the guess in use for each context."""
        modes: Ints = self._modes[contexts]
        return modes

    def last_of(self, contexts: Ints) -> Ints:
        """Return the last value of any entity in each context."""
        return int_array([self.last[context] for context in contexts.tolist()])

    def typical(self, contexts: Ints) -> Ints:
        """Return the class that a number of each context has as a rule."""
        return (self._typical[contexts] + _UNIT // 2) // _UNIT

    def residuals(self, table: Ints) -> tuple[Ints, Words, Ints]:
        """Return typical classes, folded residuals and their classes, and learn from them.

        Args:
            table: Of a unit: contexts, values, own values, values on the line, clocks.
        """
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

    def _neighbours(self, groups: Groups, values: Ints) -> Ints:
        """Return for each cell what the cell before it in its context was; keeps the last."""
        before = groups.before(values, self.last_of(groups.keys))
        ends = groups.last(values).tolist()
        for context, value in zip(groups.keys.tolist(), ends, strict=True):
            self.last[context] = value
        return before

    def _learn(self, groups: Groups, costs: Ints, own_costs: Ints) -> None:
        seen = groups.keys
        own = self._costs[:, seen]
        own += (groups.sums(costs) * _UNIT // groups.sizes - own) // 4
        self._costs[:, seen] = own
        sums = groups.sums(own_costs) * _UNIT // groups.sizes
        self._typical[seen] = (self._typical[seen] + sums) // 2
        self._modes[seen] = own.argmin(axis=0)
