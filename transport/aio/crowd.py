"""Connections that have not said yet who they are: few, and the oldest of the busiest goes."""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

C = TypeVar("C", bound=Hashable)


class _Waiting(NamedTuple):
    host: str
    push_out: Callable[[], None]


class Crowd(Generic[C]):
    """A bounded set; one more pushes out the oldest of the address that has most.

    So silent strangers never keep anybody out, and one at another address is never pushed out for
    them.

    Args:
        count_max: How many there may be.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._waiting: dict[C, _Waiting] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, one: object) -> bool:
        return one in self._waiting

    def add(self, one: C, host: str, push_out: Callable[[], None]) -> None:
        """Take one in; `push_out` ends it when there is no more room."""
        if len(self._waiting) >= self._count_max:
            ((busiest, _),) = Counter(each.host for each in self._waiting.values()).most_common(1)
            oldest = next(key for key, each in self._waiting.items() if each.host == busiest)
            self._waiting.pop(oldest).push_out()
        self._waiting[one] = _Waiting(host, push_out)

    def discard(self, one: C) -> None:
        """Let one go: it has said who it is, or has left; nothing happens when it is not there."""
        self._waiting.pop(one, None)
