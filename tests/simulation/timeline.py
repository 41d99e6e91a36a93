"""One clock for a whole federation: what happens next, and when."""

import heapq
from collections.abc import Callable
from typing import Final

Action = Callable[[], None]

MS: Final = 1_000_000
WALL_MS: Final = 1_767_225_600_000  # when the simulated clocks begin: 2026-01-01


class Timeline:
    """Actions by the time they are due; equal times keep the order in which they were planned.

    Attributes:
        now_ns: Virtual monotonic time.
        steps: Actions done so far.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.steps = 0
        self._planned: list[tuple[int, int, Action]] = []
        self._count = 0

    def after(self, delay_ms: float, action: Action) -> None:
        """Plan an action; whoever planned it checks whether it still makes sense."""
        self.at(self.now_ns + int(delay_ms * MS), action)

    def at(self, due_ns: int, action: Action) -> None:
        """Plan an action for a moment; one that has passed means now."""
        self._count += 1
        heapq.heappush(self._planned, (max(due_ns, self.now_ns), self._count, action))

    def step(self) -> None:
        """Do the next action."""
        self.now_ns, _, action = heapq.heappop(self._planned)
        self.steps += 1
        action()

    @property
    def now_ms(self) -> float:
        """Virtual monotonic time in milliseconds."""
        return self.now_ns / MS

    @property
    def wall_ms(self) -> int:
        """What a clock without fault shows, Unix milliseconds."""
        return WALL_MS + self.now_ns // MS
