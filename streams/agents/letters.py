"""Writes dead letters and knows which are under way; asks producers for whole documents."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from connectors.log import Log, LogRecord, NewRecord
from schemas.errors import DwcpError, LogError
from schemas.registry import Record, encode_event
from streams import topics
from streams.deadletters import Place, dead_letter

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0


class Letters:
    """The dead letters of one node.

    Args:
        region: Our region.
        log_: Its log.

    Attributes:
        written: Since the start, by reason.
    """

    def __init__(self, region: str, log_: Log) -> None:
        self.written: dict[str, int] = {}
        self._region = region
        self._log = log_
        self._under_way: Counter[int] = Counter()

    def are_under_way(self, partition: int) -> bool:
        """Tell whether a record of the partition is folded and its letter not yet durable."""
        return self._under_way[partition] > 0

    async def bury(self, origin: str, place: Place, record: LogRecord, error: DwcpError) -> None:
        """Write a dead letter; goes on trying, for what is not written here would be lost."""
        letter = dead_letter(
            self._region,
            origin,
            place,
            record,
            error,
            value_bytes_max=topics.DEADLETTER_VALUE_BYTES_MAX,
        )
        self._under_way[place.partition] += 1
        try:
            await self._append(topics.DEADLETTER, [letter])
        finally:
            self._under_way[place.partition] -= 1
        self.written[error.reason] = self.written.get(error.reason, 0) + 1
        log.warning(
            "deadletter", reason=error.reason, origin=origin, place=place, detail=str(error)
        )

    async def ask(self, wanted: Sequence[Record]) -> None:
        """Ask producers for whole documents; who is gone does not answer."""
        asked = [NewRecord(None, encode_event("DocumentWanted", one)) for one in wanted]
        await self._append(topics.WANTED, asked)

    async def _append(self, topic: str, records: list[NewRecord]) -> None:
        while True:
            try:
                await self._log.append(topic, 0, records)
            except LogError as failure:
                log.warning("append.retry", topic=topic, error=str(failure))
                await asyncio.sleep(RETRY_S)
            else:
                return
