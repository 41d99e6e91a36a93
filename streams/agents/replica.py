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
from typing import Final

import structlog

from connectors.log import FencedWriter, Log, LogRecord, NewRecord, RecordRange
from connectors.writer import PlainWriter
from schemas.errors import (
    DwcpError,
    LogError,
    PartitionNotHeldError,
    RecordTooLargeError,
)
from schemas.log_trouble import LogStoppedError, LogTroubleError, PartitionCountChangedError
from streams import topics
from streams.agents.folding import Folding
from streams.agents.holding import FOLDED, Holding
from streams.agents.restoring import replay, restore
from streams.deadletters import Place
from streams.kafka_access import group_of
from streams.replication import replica_records
from streams.state.partition import PartitionState
from streams.state.store import StateStore

log = structlog.get_logger(__name__)

# A transaction's marker takes one offset. More may be aborted records, or records that are gone.
MARKER_OFFSETS: Final = 1


def writer_name(region: str, partition: int) -> str:
    """Return the transactional id of a partition's only writer."""
    return f"{group_of(region)}-{partition}"


class Replica(Folding):
    """One node's entity store and its counters.

    Args:
        region: Our region.
        partition_count: Partitions of the state topics.
        log_: The region's log.
        is_fenced: Write in transactions, so that a successor shuts us out; without, a region may
            have one node only.

    Attributes:
        store: The state of all partitions that are held and restored.
        restored: What the last restore of each partition cost.
        on_lost: Told when a partition's writer failed; it has to be dropped and taken again.
        on_trouble: Told what is wrong with a partition that is nobody's.
    """

    def __init__(
        self, region: str, partition_count: int, log_: Log, *, is_fenced: bool = True
    ) -> None:
        super().__init__(region, log_)
        self.store = StateStore(region, partition_count)
        self.restored: dict[int, dict[str, float]] = {}
        self.on_lost: Callable[[int, DwcpError], None] = lambda _partition, _error: None
        self.on_trouble: Callable[[int, DwcpError], None] = lambda _partition, _error: None
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
        except LogTroubleError as error:
            await self._write_down(holding, error)
            await self.drop(partition)
            raise
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

    async def watch_logs(self) -> None:
        """Stop every partition whose topics are not what they were, and name those that are new.

        Raises:
            LogError: Kafka did not say.
        """
        before = {p: dict(self._holdings[p].positions) for p in self.held}
        ids = await self._log.topic_ids(FOLDED)
        ends = {topic: await self._log.end_offsets(topic) for topic in FOLDED}
        for partition, at in before.items():
            holding = self._holdings.get(partition)
            error = holding.trouble(ids, ends, at) if holding is not None else None
            if error is not None:
                await self.stop(partition, error)
        count = self.store.partition_count
        for topic, found in ends.items():
            for partition in range(count, len(found)):
                changed = PartitionCountChangedError(topic, partition, count, len(found))
                self.on_trouble(partition, changed)

    async def stop(self, partition: int, error: LogTroubleError) -> None:
        """Let nothing of a partition go on until an operator has decided."""
        holding = self._holdings[partition]
        await self._write_down(holding, error)
        self._lose(holding, error)

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
            return await holding.snapshot(lambda: self.letters.are_under_way(partition))
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
        # Another node may have folded, and committed, what we never saw; or what we wanted is gone.
        gap = record.offset - holding.positions[topic]
        if gap > MARKER_OFFSETS or (gap > 0 and topic in holding.unchecked):
            try:
                await replay(self._log, holding, topic, record.offset, self._fold)
            except LogTroubleError as error:
                await self.stop(partition, error)
                return None
        holding.unchecked.discard(topic)
        return holding

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

    async def _write_down(self, holding: Holding, error: LogTroubleError) -> None:
        try:
            if not isinstance(error, LogStoppedError):
                await holding.note_trouble(error)
        except LogError as failure:  # whoever takes the partition next finds it out again
            log.warning("trouble.unwritten", partition=holding.partition, error=str(failure))

    def _lose(self, holding: Holding, error: DwcpError) -> None:
        """Write nothing more: what stands in the topics is known again when it is retaken."""
        if not holding.is_lost:
            holding.is_lost = True
            log.warning("partition.lost", partition=holding.partition, error=str(error))
            self.on_lost(holding.partition, error)

    async def _open_writer(self, partition: int) -> FencedWriter:
        if self._is_fenced:
            return await self._log.open_writer(writer_name(self.region, partition))
        return PlainWriter(self._log)
