"""Which zstd level the window of a flow has; `hde.compression_level` is the ceiling. Pure.

A zstd stream keeps its level, so with another one the window begins anew (`unit.FLAG_ANEW`): what
it held has to travel once more, while the typed level remembers what it did. `Ladder` adds up what
each other level would have saved, and moves when that is what a cold window costs there.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from transport.hde.unit import Level

LEVEL_MIN: Final = 3  # 1 and 2 take 0.9 of its CPU, and up to 1.5 times its bytes
_RUNGS: Final = (3, 6, 9, 12, 15, 19)
_BETTER: Final = 0.95  # what another level has to cost beside this one, for that to count
_COLD: Final = 2  # times its usual cost is what a full window's raw bytes cost without it
_DEARER_MAX: Final = 6


class Factor(NamedTuple):
    """What a zstd level takes beside level 3."""

    cpu: float
    size: float


# Of levels 3 to 19, geometric mean of vm, node and pod: python -m benchmarks.hde_ceiling
# --levels 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19 --entities 1000 --events 5000
_CPU: Final = {
    Level.WINDOW: (1, 1, 1.6, 1.8, 2, 2.3, 2.4, 3.5, 4.6, 6.2, 11, 14, 19, 70, 75, 87, 122),
    Level.TYPED: (1, 1, 1, 1, 1, 1, 1, 1, 1.05, 1.05, 1.05, 1.1, 1.1, 1.1, 1.15, 1.2, 1.3),
}
_SIZE: Final = {
    Level.WINDOW: (
        *(1, 1, 0.975, 0.94, 0.925, 0.875, 0.875, 0.86, 0.85, 0.85),
        *(0.8, 0.785, 0.775, 0.755, 0.75, 0.75, 0.71),
    ),
    Level.TYPED: (
        *(1, 1, 0.99, 0.98, 0.975, 0.975, 0.975, 0.97, 0.97, 0.97),
        *(0.97, 0.97, 0.965, 0.945, 0.945, 0.945, 0.94),
    ),
}


_FACTORS: Final = {
    level: [Factor(*both) for both in zip(_CPU[level], _SIZE[level], strict=True)] for level in _CPU
}


def factor(level: Level, zstd_level: int) -> Factor:
    """Return what zstd's level makes of the typed level or the window alone, beside level 3."""
    return _FACTORS[level][max(0, zstd_level - LEVEL_MIN)]


@dataclass(slots=True)
class Ladder:
    """The zstd level of one flow.

    Args:
        ceiling: Highest level, and the first; 1 to 19. Up to 3 there is nothing to choose.
        window_bytes: Size of the window.

    Attributes:
        level: To be used for the next unit.
        moves: How often it changed; each makes the next one twice as dear.
    """

    ceiling: int
    window_bytes: int
    level: int = 0
    moves: int = 0
    _held_bytes: int = 0
    _saved_ns: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self.level = self.ceiling

    @property
    def rungs(self) -> tuple[int, ...]:
        """Return the levels to choose from, the ceiling last."""
        return (*(rung for rung in _RUNGS if rung < self.ceiling), self.ceiling)

    def pay(self, raw_bytes: int, costs: Mapping[int, float]) -> None:
        """Learn what the next unit costs at each level, and move if another one has paid.

        Args:
            raw_bytes: Of the unit.
            costs: Nanoseconds per raw byte, for each of `rungs`.
        """
        now = _BETTER * costs[self.level]
        refilled_bytes = _COLD * min(self._held_bytes, self.window_bytes)
        refilled_bytes <<= min(self.moves, _DEARER_MAX)
        best, best_ns = self.level, 0.0
        for rung, cost in costs.items():
            saved_ns = max(0.0, self._saved_ns[rung] + (now - cost) * raw_bytes)
            self._saved_ns[rung] = saved_ns
            if saved_ns - cost * refilled_bytes > best_ns:
                best, best_ns = rung, saved_ns - cost * refilled_bytes
        if best != self.level:
            self.level = best
            self.moves += 1
            self._held_bytes = 0
            self._saved_ns.clear()

    def hold(self, raw_bytes: int) -> None:
        """Learn of what went through the window."""
        self._held_bytes += raw_bytes
