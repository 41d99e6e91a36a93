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

    def residuals(self, cells: Sequence[int]) -> tuple[Ints, Words]:
        """Return typical classes and folded residuals of a unit's cells, and learn from them.

        Args:
            cells: Of each its context, value, own value, value on the line, clock.
        """
        table = int_array(cells).reshape(-1, 5)
        contexts, values = table[:, 0], table[:, 1]
        guesses = np.empty((_MODES, len(table)), dtype=np.int64)
        guesses[OWN], guesses[LINE], guesses[CLOCK] = table[:, 2], table[:, 3], table[:, 4]
        guesses[NEIGHBOUR] = self._neighbours(contexts, values)
        words = fold(values - guesses)
        chosen = words[self._modes[contexts], np.arange(len(table))]
        typical = self.typical(contexts)
        self._learn(contexts, classes(words.reshape(-1)).reshape(words.shape), classes(chosen))
        return typical, chosen

    def _neighbours(self, contexts: Ints, values: Ints) -> Ints:
        """Return for each cell what the cell before it in its context was; keeps the last."""
        order = np.argsort(contexts, kind="stable")
        sorted_contexts, sorted_values = contexts[order], values[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = sorted_contexts[1:] != sorted_contexts[:-1]
        shifted = np.empty(len(order), dtype=np.int64)
        shifted[1:] = sorted_values[:-1]
        heads = sorted_contexts[first].tolist()
        shifted[first] = [self.last[context] for context in heads]
        final = np.roll(first, -1)
        ends = sorted_values[final].tolist()
        for context, value in zip(heads, ends, strict=True):
            self.last[context] = value
        result = np.empty(len(order), dtype=np.int64)
        result[order] = shifted
        return result

    def _learn(self, contexts: Ints, costs: Ints, word_classes: Ints) -> None:
        seen, at, counts = np.unique(contexts, return_inverse=True, return_counts=True)
        size = len(seen)
        for mode in range(_MODES):
            sums = np.bincount(at, costs[mode], size).astype(np.int64) * _UNIT // counts
            self._costs[mode, seen] = (3 * self._costs[mode, seen] + sums) // 4
        sums = np.bincount(at, word_classes, size).astype(np.int64) * _UNIT // counts
        self._typical[seen] = (self._typical[seen] + sums) // 2
        self._modes[seen] = self._costs[:, seen].argmin(axis=0)
