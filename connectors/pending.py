"""One partition's changes that wait for their batch."""

import asyncio
from collections import deque
from typing import NamedTuple

from schemas.changes import StateChange
from schemas.ids import Dot


class Waiting(NamedTuple):
    """A change, and who wants to know its place."""

    change: StateChange
    size_bytes: int
    stored: asyncio.Future[Dot]


class Pending:
    """Changes in the order they came.

    Args:
        changes_max: Changes in one batch.
        bytes_max: Bytes of one batch; a larger change has a batch of its own.

    Attributes:
        arrived: There may be changes.
        is_full: There is a whole batch, or no reason to wait for one.
    """

    def __init__(self, changes_max: int, bytes_max: int) -> None:
        self._changes_max = changes_max
        self._bytes_max = bytes_max
        self._waiting: deque[Waiting] = deque()
        self._size_bytes = 0
        self._is_closing = False
        self.arrived = asyncio.Event()
        self.is_full = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, change: StateChange, stored: asyncio.Future[Dot]) -> None:
        """Queue a change."""
        waiting = Waiting(change, size_bytes(change), stored)
        self._waiting.append(waiting)
        self._size_bytes += waiting.size_bytes
        self.arrived.set()
        self._judge()

    def take(self) -> list[Waiting]:
        """Take the next batch."""
        taken: list[Waiting] = []
        room_bytes = self._bytes_max
        while self._waiting and len(taken) < self._changes_max:
            room_bytes -= self._waiting[0].size_bytes
            if taken and room_bytes < 0:
                break
            taken.append(self._waiting.popleft())
            self._size_bytes -= taken[-1].size_bytes
        self._judge()
        return taken

    def close(self) -> None:
        """Wait for no more company."""
        self._is_closing = True
        self.arrived.set()
        self._judge()

    def _judge(self) -> None:
        is_batch = len(self._waiting) >= self._changes_max or self._size_bytes >= self._bytes_max
        if is_batch or self._is_closing:
            self.is_full.set()
        else:
            self.is_full.clear()


def size_bytes(change: StateChange) -> int:
    """Return about how many bytes a change adds to a batch."""
    size = 128 + _utf8_bytes(change["entity_id"]) + _utf8_bytes(change["document"] or "")
    for delta in change["deltas"]:
        value = delta["value"]
        text = value["json"] if isinstance(value, dict) else value
        size += 16 + _utf8_bytes(delta["path"])
        size += _utf8_bytes(text) if isinstance(text, str) else 0
    return size


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
