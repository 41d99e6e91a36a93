"""A writer without a fence; the fenced ones are `FencedWriter`s of `connectors.log`."""

import asyncio
from collections.abc import Sequence

from connectors.log import Log, NewRecord
from schemas.errors import LogUnavailableError


class PlainWriter:
    """A writer without a fence: for a region that has one node only, and for comparison.

    After a death in the middle of an append a part of it may stand in the log, and nothing keeps
    a predecessor that still lives from writing.

    Args:
        log: Where it writes.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._under_way = 0
        self._is_closed = False
        self._ended: asyncio.Event | None = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log.append`."""
        if self._is_closed:
            raise LogUnavailableError(f"the writer of {topic}/{partition} is closed")
        self._under_way += 1
        try:
            return await self._log.append(topic, partition, records)
        finally:
            self._under_way -= 1
            if self._ended is not None and not self._under_way:
                self._ended.set()

    async def close(self) -> None:
        """Wait for what is under way: whoever reads the end next must know all of it."""
        self._is_closed = True
        if self._under_way:
            self._ended = asyncio.Event()
            await self._ended.wait()
