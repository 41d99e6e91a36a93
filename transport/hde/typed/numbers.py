"""The numbers in patches of a whole unit at once: what each was, is, and will be.

Each number of an entity has a *slot* in two columns, its last value and by how much it moved last.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from schemas.errors import BadUnitError
from transport.hde.typed import codes
from transport.hde.typed.deltas import picker
from transport.hde.typed.groups import Groups
from transport.hde.typed.integers import Ints, int_array
from transport.hde.typed.predictor import LINE, NEIGHBOUR, OWN, Predictor

_SLOTS_MIN: Final = 1_024


class Numbers:
    """How the numbers of one patch are written, longs before doubles.

    Args:
        fields: Context of each field.
        number_codes: Code of each.

    Attributes:
        contexts: Contexts of those that are written against a guess.
        pick: Picks their slots.
    """

    __slots__ = ("codes", "contexts", "is_loose", "pick")

    def __init__(self, fields: Sequence[int], number_codes: tuple[int, ...]) -> None:
        self.codes = number_codes
        self.is_loose = codes.LOOSE in number_codes
        self.contexts = [
            codes.number_context(code, context)
            for context, code in zip(fields, number_codes, strict=True)
            if code != codes.LOOSE
        ]
        self.pick = picker(self.contexts)


class NumberTable:
    """Last value and last step of every number in patches, by slot."""

    def __init__(self) -> None:
        self._values = np.zeros(0, dtype=np.int64)
        self._steps = np.zeros(0, dtype=np.int64)
        self._count = 0
        self._free: list[int] = []

    def add(self) -> int:
        """Return a slot of zeros."""
        if self._free:
            return self._free.pop()
        if self._count == len(self._values):
            more = max(_SLOTS_MIN, self._count // 2)
            zeros = np.zeros(more, dtype=np.int64)
            self._values = np.concatenate([self._values, zeros])
            self._steps = np.concatenate([self._steps, zeros])
        self._count += 1
        return self._count - 1

    def free(self, slots: Sequence[int]) -> None:
        """Take slots back."""
        self._free += slots
        places = int_array(slots)
        self._values[places] = self._steps[places] = 0

    def cells(self, contexts: Ints, groups: Groups, values: Ints) -> Ints:
        """Return the cells of new values, five rows as `Predictor.residuals` wants; keeps them.

        Args:
            contexts: Of each value.
            groups: Values by their slots.
            values: The values.
        """
        seen = groups.keys
        own = groups.before(values, self._values[seen])
        steps = values - own
        line = own + groups.before(steps, self._steps[seen])
        self._values[seen] = groups.last(values)
        self._steps[seen] = groups.last(steps)
        return np.stack([contexts, values, own, line, np.zeros_like(values)])

    def read(self, contexts: Ints, groups: Groups, residuals: Ints, predictor: Predictor) -> Ints:
        """Return the values that are so far from their guesses.

        Args:
            contexts: Of each value.
            groups: Values by their slots.
            residuals: How far each is.
            predictor: Knows which guess is in use.

        Raises:
            BadUnitError: One is larger than any that is written so.
        """
        modes = predictor.modes(contexts)
        values = residuals.copy()  # as it is where the guess is the clock: a number has none
        for mode in set(modes.tolist()):
            if mode == OWN:
                found = groups.running(residuals, self._values[groups.keys])
            elif mode == LINE:
                steps = groups.running(residuals, self._steps[groups.keys])
                found = groups.running(steps, self._values[groups.keys])
            elif mode == NEIGHBOUR:
                fields = Groups(contexts)
                found = fields.running(residuals, predictor.last_of(fields.keys))
            else:
                continue
            is_mode = modes == mode
            values[is_mode] = found[is_mode]
        if len(values) and not -codes.VALUE_MAX < values.min() <= values.max() < codes.VALUE_MAX:
            raise BadUnitError("a number that no change has")
        return values


def fixed_codes(doubles: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return how each double is written, and the whole number that stands for it."""
    if not doubles:
        return [], []
    values = np.array(doubles, dtype=np.float64)
    found = np.full(len(values), codes.LOOSE, dtype=np.int64)
    wholes = np.zeros(len(values), dtype=np.int64)
    # Whatever is no number, too large or not exactly so many parts of a unit stays loose.
    with np.errstate(invalid="ignore", over="ignore"):
        for code, unit in reversed(codes.FIXED_UNITS.items()):
            scaled = np.rint(values * unit)
            is_so = (np.abs(values) * unit < codes.DOUBLE_MAX) & (scaled / unit == values)
            is_so &= (scaled != 0) | ~np.signbit(values)
            found[is_so] = code
            wholes[is_so] = scaled[is_so].astype(np.int64)
    return found.tolist(), wholes.tolist()
