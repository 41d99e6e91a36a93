"""Tells whoever waits that partitions have moved."""

import asyncio


class Moves:
    """Moves of partitions, one after the other."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Return what will be set at the next move."""
        return self._next

    def happened(self) -> None:
        """Tell everybody who waits for the next move."""
        moved, self._next = self._next, asyncio.Event()
        moved.set()
