"""Folds records into what a node holds, counts, and buries what cannot be folded."""

import time
from collections.abc import Callable

from connectors.log import Log, LogRecord
from schemas.clocks import stamp_wall_ms
from schemas.errors import EventError, RecordTooLargeError
from streams import topics
from streams.agents.holding import Holding
from streams.agents.letters import Letters
from streams.deadletters import Place
from streams.histogram import Histogram
from streams.replication import read_origin
from streams.state.entity import Entity
from streams.state.partition import Folded

Watcher = Callable[[list[Entity]], None]


class Folding:
    """The folds of both topics, for every holding of a node.

    Args:
        region: Our region.
        log_: The region's log.

    Attributes:
        letters: Dead letters.
        visible: Produce-to-visible times of changes of other regions, since the start.
        changes_folded: Changes handled, by origin, since the start.
        duplicates: Records met again and ignored, by origin, since the start.
        watchers: Told of entities that changed.
    """

    def __init__(self, region: str, log_: Log) -> None:
        self.region = region
        self.letters = Letters(region, log_)
        self.visible = Histogram()
        self.changes_folded: dict[str, int] = {}
        self.duplicates: dict[str, int] = {}
        self.watchers: set[Watcher] = set()

    async def _fold(self, holding: Holding, topic: str, record: LogRecord) -> None:
        fold = self._fold_state if topic == topics.STATE else self._fold_replica
        await fold(holding, record)

    async def _fold_state(self, holding: Holding, record: LogRecord) -> None:
        place = Place(topics.STATE, holding.partition, record.offset)
        if record.size_bytes > topics.SHIPPED_BYTES_MAX:
            error = RecordTooLargeError(
                f"a record of {record.size_bytes:,} bytes: links carry "
                f"{topics.SHIPPED_BYTES_MAX:,} at most, split the document"
            )
            if holding.state.reject(self.region, record.offset):
                await self.letters.bury(self.region, place, record, error)
        else:
            folded = holding.state.fold(
                self.region, record.offset, record.record_time_ms, record.value
            )
            await self._account(holding, self.region, place, record, folded)
        _advance(holding, place)

    async def _fold_replica(self, holding: Holding, record: LogRecord) -> None:
        place = Place(topics.REPLICA, holding.partition, record.offset)
        try:
            origin = read_origin(record.headers)
        except EventError as error:
            if record.offset >= holding.positions[topics.REPLICA]:  # else it has its letter
                await self.letters.bury("", place, record, error)
        else:
            folded = holding.state.fold(
                origin.region, origin.offset, record.record_time_ms, record.value
            )
            await self._account(holding, origin.region, place, record, folded)
        _advance(holding, place)

    async def _account(
        self, holding: Holding, origin: str, place: Place, record: LogRecord, folded: Folded
    ) -> None:
        if folded.is_duplicate:
            if holding.is_restored:
                self.duplicates[origin] = self.duplicates.get(origin, 0) + 1
            return
        for rejected in folded.rejected:
            at = place._replace(change_index=rejected.change_index)
            await self.letters.bury(origin, at, record, rejected.error)
        if origin == self.region and folded.wanted:
            await self.letters.ask(folded.wanted)
        if not holding.is_restored:
            return
        count = len(folded.stamps)
        self.changes_folded[origin] = self.changes_folded.get(origin, 0) + count
        if origin != self.region:
            now_ms = time.time_ns() / 1_000_000
            self.visible.observe(now_ms - stamp_wall_ms(stamp) for stamp in folded.stamps)
        if folded.touched:
            for watcher in self.watchers:
                watcher(folded.touched)


def _advance(holding: Holding, place: Place) -> None:
    """Move on behind a record; it may come again after a rebalance: never go back."""
    holding.positions[place.topic] = max(holding.positions[place.topic], place.offset + 1)
