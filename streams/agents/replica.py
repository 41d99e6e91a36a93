"""The entity store of a node at work: partitions taken, folded, snapshot and given up.

Order of a partition's life: `take` (become its only writer, load its snapshot, replay both topics
to their ends), then `fold_state` and `fold_replica` for every record, `take_in` for what links
bring, `snapshot` from time to time, `drop`. Folding itself is `streams.state`; this shell reads the
clock and talks to the log.

Records of a partition that is not held, or still being restored, are noted and left out: a
restore goes on until it has passed all of them.
"""

import time
from collections.abc import Callable, Iterable

import structlog

from connectors.log import FencedWriter, Log, LogRecord, NewRecord, RecordRange
from connectors.writer import PlainWriter
from schemas.clocks import stamp_wall_ms
from schemas.errors import EventError, LogError, PartitionNotHeldError, RecordTooLargeError
from streams import topics
from streams.agents.holding import FOLDED, Holding
from streams.agents.letters import Letters
from streams.agents.restoring import replay, restore
from streams.deadletters import Place
from streams.histogram import Histogram
from streams.kafka_access import group_of
from streams.replication import read_origin, replica_records
from streams.state.entity import Entity
from streams.state.partition import Folded, PartitionState
from streams.state.store import StateStore

log = structlog.get_logger(__name__)

Watcher = Callable[[list[Entity]], None]


def writer_name(region: str, partition: int) -> str:
    """Return the transactional id of a partition's only writer."""
    return f"{group_of(region)}-{partition}"


class Replica:
    """One node's entity store and its counters.

    Args:
        region: Our region.
        partition_count: Partitions of the state topics.
        log_: The region's log.
        is_fenced: Write in transactions, so that a successor shuts us out; without, a region may
            have one node only.

    Attributes:
        store: The state of all partitions that are held and restored.
        letters: Dead letters.
        visible: Produce-to-visible times of changes of other regions, since the start.
        changes_folded: Changes handled, by origin, since the start.
        duplicates: Records met again and ignored, by origin, since the start.
        restored: What the last restore of each partition cost.
        on_lost: Told when a partition's writer failed; it has to be dropped and taken again.
    """

    def __init__(
        self, region: str, partition_count: int, log_: Log, *, is_fenced: bool = True
    ) -> None:
        self.region = region
        self.store = StateStore(region, partition_count)
        self.letters = Letters(region, log_)
        self.visible = Histogram()
        self.changes_folded: dict[str, int] = {}
        self.duplicates: dict[str, int] = {}
        self.restored: dict[int, dict[str, float]] = {}
        self.watchers: set[Watcher] = set()
        self.on_lost: Callable[[int, LogError], None] = lambda _partition, _error: None
        self._log = log_
        self._is_fenced = is_fenced
        self._holdings: dict[int, Holding] = {}
        self._left_out: dict[tuple[str, int], int] = {}  # what restores have to pass

    @property
    def held(self) -> frozenset[int]:
        """Partitions that are restored and whose writer is ours: what links may carry."""
        held = (p for p, h in self._holdings.items() if h.is_restored and not h.is_lost)
        return frozenset(held)

    async def restore(self, partitions: Iterable[int] | None = None) -> None:
        """Take partitions, all unless told which, one after the other."""
        for partition in range(self.store.partition_count) if partitions is None else partitions:
            await self.take(partition)

    async def take(self, partition: int) -> None:
        """Become the writer of a partition, load its snapshot and replay both topics.

        Raises:
            LogError: Kafka did not do its part; nothing is held.
        """
        began = time.monotonic()
        state = PartitionState(partition, self.store.partition_count)
        holding = Holding(self.region, state, self._log, await self._open_writer(partition))
        self._holdings[partition] = holding
        try:
            found = await restore(self._log, holding, self._fold, self._left_out)
        except BaseException:
            await self.drop(partition)
            raise
        holding.is_restored = True
        self.store.partitions[partition] = state
        found["seconds"] = round(time.monotonic() - began, 3)
        self.restored[partition] = found
        log.info("restored", partition=partition, **found)

    async def drop(self, partition: int) -> None:
        """Give a partition up; what is under way ends first, for a moment."""
        self.store.partitions.pop(partition, None)
        holding = self._holdings.pop(partition, None)
        if holding is not None:
            holding.is_lost = True
            await holding.writer.close()

    def expect_again(self, partitions: Iterable[int]) -> None:
        """Compare the next records of held partitions with our positions: the group moved."""
        for partition in partitions:
            if partition in self._holdings:
                self._holdings[partition].unchecked.update(FOLDED)

    async def fold_state(self, partition: int, record: LogRecord) -> None:
        """Fold a record of our own log."""
        holding = await self._ready(topics.STATE, partition, record)
        if holding is not None:
            await self._fold(holding, topics.STATE, record)

    async def fold_replica(self, partition: int, record: LogRecord) -> None:
        """Fold a record of our replica topic."""
        holding = await self._ready(topics.REPLICA, partition, record)
        if holding is not None:
            await self._fold(holding, topics.REPLICA, record)

    def cursors(self, origin: str) -> dict[int, int]:
        """Return from where an origin's log is wanted, of every partition held.

        A partition's replica topic was read to its committed end when we became its only writer,
        and since then we know what we wrote: so the cursor counts all that is durable, and nothing
        that is not.
        """
        return {p: self._holdings[p].cursor(origin) for p in sorted(self.held)}

    async def take_in(self, origin: str, part: RecordRange) -> int:
        """Append what is new of a range of an origin's log; returns how many records that was.

        Raises:
            BadUnitError: The range leaves a hole.
            PartitionNotHeldError: The partition has moved, or its writer failed.
            LogError: Kafka did not take it; the partition is lost.
        """
        holding = self._writable(part.partition)
        cursor = holding.cursor(origin)
        records = replica_records(origin, part, {part.partition: cursor})
        if records:
            try:
                await self._append(holding, records)
            except RecordTooLargeError:
                await self._take_in_singly(holding, origin, part, records)
        holding.cursors[origin] = max(cursor, part.to_offset)
        return len(records)

    async def snapshot(self) -> int:
        """Write what changed since the last snapshot; returns the number of records written."""
        written = 0
        for partition in sorted(self.held):
            written += await self.snapshot_partition(partition)
        return written

    async def snapshot_partition(self, partition: int) -> int:
        """Write what changed of one partition; nothing where it has to wait."""
        holding = self._holdings.get(partition)
        # A manifest must not cover a record whose dead letter could still be lost.
        if holding is None or holding.is_lost or self.letters.are_under_way(partition):
            return 0
        try:
            return await holding.snapshot()
        except RecordTooLargeError:
            raise  # the writer goes on, and what is dirty stays so
        except LogError as error:
            self._lose(holding, error)
            raise

    def _writable(self, partition: int) -> Holding:
        holding = self._holdings.get(partition)
        if holding is None or not holding.is_restored or holding.is_lost:
            raise PartitionNotHeldError(f"partition {partition} is not, or no longer, held here")
        return holding

    async def _ready(self, topic: str, partition: int, record: LogRecord) -> Holding | None:
        """Return the holding when it can fold this record now."""
        holding = self._holdings.get(partition)
        if holding is None or not holding.is_restored:
            place = (topic, partition)
            self._left_out[place] = max(self._left_out.get(place, 0), record.offset + 1)
            return None
        if topic in holding.unchecked:
            holding.unchecked.discard(topic)
            # Another node may have folded, and committed, what we never saw.
            if record.offset > holding.positions[topic]:
                await replay(self._log, holding, topic, record.offset, self._fold)
        return holding

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

    async def _take_in_singly(
        self, holding: Holding, origin: str, part: RecordRange, records: list[NewRecord]
    ) -> None:
        """Append what our topic takes; bury what it does not."""
        kept = part.records[len(part.records) - len(records) :]
        for record, new in zip(kept, records, strict=True):
            try:
                await self._append(holding, [new])
            except RecordTooLargeError as error:
                place = Place(topics.STATE, part.partition, record.offset)
                await self.letters.bury(origin, place, record, error)

    async def _append(self, holding: Holding, records: list[NewRecord]) -> None:
        try:
            await holding.writer.append(topics.REPLICA, holding.partition, records)
        except RecordTooLargeError:
            raise
        except LogError as error:
            self._lose(holding, error)
            raise

    def _lose(self, holding: Holding, error: LogError) -> None:
        """Write nothing more: what stands in the topics is known again when it is retaken."""
        if not holding.is_lost:
            holding.is_lost = True
            log.warning("partition.lost", partition=holding.partition, error=str(error))
            self.on_lost(holding.partition, error)

    async def _open_writer(self, partition: int) -> FencedWriter:
        if self._is_fenced:
            return await self._log.open_writer(writer_name(self.region, partition))
        return PlainWriter(self._log)


def _advance(holding: Holding, place: Place) -> None:
    """Move on behind a record; it may come again after a rebalance: never go back."""
    holding.positions[place.topic] = max(holding.positions[place.topic], place.offset + 1)
