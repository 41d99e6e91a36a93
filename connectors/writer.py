"""A writer without a fence; the fenced ones are `FencedWriter`s of `connectors.log`."""

from collections.abc import Sequence

from connectors.log import Log, NewRecord


class PlainWriter:
    """A writer without a fence: for a region that has one node only, and for comparison.

    After a death in the middle of an append a part of it may stand in the log, and nothing keeps
    a predecessor that still lives from writing.

    Args:
        log: Where it writes.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log.append`."""
        return await self._log.append(topic, partition, records)

    async def close(self) -> None:
        """Release nothing: the log is somebody else's."""
