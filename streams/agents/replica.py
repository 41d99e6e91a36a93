"""The entity store of a node at work: restored from snapshot and log, fed by the Faust agents.

Order of life: `restore`, then `fold_state` and `fold_replica` for every record, `snapshot` from
time to time. Folding itself is `streams.state`; this shell reads the clock and talks to the log.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import structlog

from connectors.log import Log, LogRecord, NewRecord
from schemas.clocks import stamp_wall_ms
from schemas.errors import DwcpError, EventError, LogError, RecordTooLargeError
from streams import topics
from streams.deadletters import Place, dead_letter
from streams.histogram import Histogram
from streams.replication import read_origin
from streams.state.entity import Entity
from streams.state.partition import Folded, PartitionState
from streams.state.snapshot import (
    MANIFEST_KEY,
    SnapshotReader,
    bucket_key,
    chunk_numbers,
    encode_chunks,
    encode_manifest,
    take_dirty,
)
from streams.state.store import StateStore

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0
Watcher = Callable[[list[Entity]], None]


class Replica:
    """One node's entity store and its counters.

    Args:
        region: Our region.
        partition_count: Partitions of the state topics.
        log_: The region's log.

    Attributes:
        store: The state.
        replica_positions: Next offset to fold of our replica topic, by partition.
        visible: Produce-to-visible times of changes of other regions, since the start.
        changes_folded: Changes handled, by origin, since the start.
        duplicates: Records met again and ignored, by origin, since the start.
        deadletters: Dead letters written, by reason, since the start.
        restored: What the start cost.
    """

    def __init__(self, region: str, partition_count: int, log_: Log) -> None:
        self.region = region
        self.store = StateStore(region, partition_count)
        self.replica_positions = dict.fromkeys(range(partition_count), 0)
        self.visible = Histogram()
        self.changes_folded: dict[str, int] = {}
        self.duplicates: dict[str, int] = {}
        self.deadletters: dict[str, int] = {}
        self.restored: dict[str, float] = {}
        self.watchers: set[Watcher] = set()
        self._log = log_
        self._standing: list[dict[int, set[int]]] = [{} for _ in range(partition_count)]
        self._manifests: list[tuple[int, dict[str, int]]] = [(0, {})] * partition_count
        self._burying = [0] * partition_count  # dead letters under way
        self._is_restoring = True

    async def restore(self) -> None:
        """Load the snapshot and replay both topics to their present ends."""
        began = time.monotonic()
        entity_count = await self._load_snapshots()
        snapshot_s = time.monotonic() - began
        own = {p.partition: p.vector.get(self.region, 0) for p in self.store.partitions}
        replayed = await self._replay(topics.STATE, own)
        replayed += await self._replay(topics.REPLICA, dict(self.replica_positions))
        self._is_restoring = False
        self.restored = {
            "entities": entity_count,
            "records_replayed": replayed,
            "snapshot_s": round(snapshot_s, 3),
            "seconds": round(time.monotonic() - began, 3),
        }
        log.info("restored", **self.restored)

    async def fold_state(self, partition: int, record: LogRecord) -> None:
        """Fold a record of our own log."""
        state = self.store.partitions[partition]
        place = Place(topics.STATE, partition, record.offset)
        if record.size_bytes > topics.SHIPPED_BYTES_MAX:
            error = RecordTooLargeError(
                f"a record of {record.size_bytes:,} bytes: links carry "
                f"{topics.SHIPPED_BYTES_MAX:,} at most, split the document"
            )
            if state.reject(self.region, record.offset):
                await self._bury(self.region, place, record, error)
            return
        folded = state.fold(self.region, record.offset, record.record_time_ms, record.value)
        await self._account(self.region, place, record, folded)

    async def fold_replica(self, partition: int, record: LogRecord) -> None:
        """Fold a record of our replica topic."""
        place = Place(topics.REPLICA, partition, record.offset)
        try:
            origin = read_origin(record.headers)
        except EventError as error:
            if record.offset >= self.replica_positions[partition]:  # else it has its letter
                await self._bury("", place, record, error)
        else:
            state = self.store.partitions[partition]
            folded = state.fold(origin.region, origin.offset, record.record_time_ms, record.value)
            await self._account(origin.region, place, record, folded)
        # A record may come again after a rebalance: the position does not go back.
        position = self.replica_positions[partition]
        self.replica_positions[partition] = max(position, record.offset + 1)

    async def cursors(self, origin: str) -> dict[int, int]:
        """Return from where an origin's log is wanted, counting all that is durable here.

        The replica topic is the truth: what stands in it and is not folded yet is looked at, too.
        """
        cursors = self.store.cursors(origin)
        folded = dict(self.replica_positions)
        ends = await self._log.end_offsets(topics.REPLICA)
        behind = {p: at for p, at in folded.items() if at < ends[p]}
        async for partition, record in _records(self._log, topics.REPLICA, behind, ends):
            try:
                found = read_origin(record.headers)
            except EventError:
                continue  # the fold puts it to the dead letters
            if found.region == origin:
                cursors[partition] = max(cursors[partition], found.offset + 1)
        return cursors

    async def snapshot(self) -> int:
        """Write what changed since the last snapshot; returns the number of records written."""
        written = 0
        for state in self.store.partitions:
            # A manifest must not cover a record whose dead letter could still be lost.
            if self._burying[state.partition]:
                continue
            if state.dirty or self._manifests[state.partition] != self._place(state):
                written += await self._snapshot_partition(state)
        return written

    async def bury(self, origin: str, partition: int, record: LogRecord, error: DwcpError) -> None:
        """Put a record of an origin's log, that never came into our topics, to the dead letters."""
        await self._bury(origin, Place(topics.STATE, partition, record.offset), record, error)

    async def _account(self, origin: str, place: Place, record: LogRecord, folded: Folded) -> None:
        if folded.is_duplicate:
            if not self._is_restoring:
                self.duplicates[origin] = self.duplicates.get(origin, 0) + 1
            return
        for rejected in folded.rejected:
            at = place._replace(change_index=rejected.change_index)
            await self._bury(origin, at, record, rejected.error)
        if self._is_restoring:
            return
        count = len(folded.stamps)
        self.changes_folded[origin] = self.changes_folded.get(origin, 0) + count
        if origin != self.region:
            now_ms = time.time_ns() / 1_000_000
            self.visible.observe(now_ms - stamp_wall_ms(stamp) for stamp in folded.stamps)
        if folded.touched:
            for watcher in self.watchers:
                watcher(folded.touched)

    async def _bury(self, origin: str, place: Place, record: LogRecord, error: DwcpError) -> None:
        """Write a dead letter; goes on trying, for what is not written here would be lost."""
        letter = dead_letter(
            self.region,
            origin,
            place,
            record,
            error,
            value_bytes_max=topics.DEADLETTER_VALUE_BYTES_MAX,
        )
        self._burying[place.partition] += 1
        try:
            await self._append_letter(place, letter)
        finally:
            self._burying[place.partition] -= 1
        self.deadletters[error.reason] = self.deadletters.get(error.reason, 0) + 1
        log.warning(
            "deadletter", reason=error.reason, origin=origin, place=place, detail=str(error)
        )

    async def _append_letter(self, place: Place, letter: NewRecord) -> None:
        while True:
            try:
                await self._log.append(topics.DEADLETTER, 0, [letter])
            except LogError as failure:
                log.warning("deadletter.retry", place=place, error=str(failure))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _load_snapshots(self) -> int:
        starts = await self._log.start_offsets(topics.SNAPSHOTS)
        ends = await self._log.end_offsets(topics.SNAPSHOTS)
        count = 0
        for state in self.store.partitions:  # one by one: a reader holds all chunks of its own
            partition, reader = state.partition, SnapshotReader(state)
            at = {partition: starts[partition]}
            async for _, record in _records(self._log, topics.SNAPSHOTS, at, ends):
                reader.feed(record.key or b"", record.value)
            count += reader.finish()
            self._standing[partition] = reader.standing
            self.replica_positions[partition] = reader.replica_offset
        return count

    async def _replay(self, topic: str, positions: dict[int, int]) -> int:
        ends = await self._log.end_offsets(topic)
        starts = await self._log.start_offsets(topic)
        for partition, offset in positions.items():
            if offset < starts[partition]:
                # Retention overran the snapshot: what is gone here is in no topic any more.
                log.error("replay.gap", topic=topic, partition=partition, offset=offset)
            positions[partition] = max(offset, starts[partition])
        count = 0
        fold = self.fold_state if topic == topics.STATE else self.fold_replica
        async for partition, record in _records(self._log, topic, positions, ends):
            await fold(partition, record)
            count += 1
        if topic == topics.REPLICA:
            self.replica_positions = {p: max(at, ends[p]) for p, at in positions.items()}
        return count

    async def _snapshot_partition(self, state: PartitionState) -> int:
        partition = state.partition
        place = self._place(state)
        manifest = encode_manifest(state, self.region, self.replica_positions[partition])
        taken = take_dirty(state)
        written = 0
        try:
            for bucket, entities in taken.items():
                written += await self._write_bucket(partition, bucket, encode_chunks(entities))
            await self._log.append(topics.SNAPSHOTS, partition, [NewRecord(MANIFEST_KEY, manifest)])
        except BaseException:
            state.dirty.update(taken)  # they are not safe yet: once more next time
            raise
        self._manifests[partition] = place
        return written + 1

    def _place(self, state: PartitionState) -> tuple[int, dict[str, int]]:
        """Return what a manifest would say."""
        return self.replica_positions[state.partition], dict(state.vector)

    async def _write_bucket(self, partition: int, bucket: int, chunks: list[bytes]) -> int:
        """Write a bucket's chunks, and delete the old ones when the new ones are durable."""
        standing = self._standing[partition].setdefault(bucket, set())
        numbers = chunk_numbers(standing, len(chunks))
        stale = sorted(standing.difference(numbers))
        standing.update(numbers)
        new = [NewRecord(bucket_key(bucket, n), c) for n, c in zip(numbers, chunks, strict=True)]
        await self._log.append(topics.SNAPSHOTS, partition, new)
        if stale:
            gone = [NewRecord(bucket_key(bucket, number), None) for number in stale]
            await self._log.append(topics.SNAPSHOTS, partition, gone)
            standing.difference_update(stale)
        return len(numbers) + len(stale)


async def _records(
    log_: Log, topic: str, positions: Mapping[int, int], ends: Mapping[int, int]
) -> AsyncIterator[tuple[int, LogRecord]]:
    """Yield (partition, record) of each partition up to `ends`, then stop."""
    left = {p: at for p, at in positions.items() if at < ends[p]}
    if not left:
        return
    tail = log_.tail(topic, left)
    try:
        async for ranges in tail:
            for part in ranges:
                for record in part.records:
                    if record.offset < ends[part.partition]:
                        yield part.partition, record
                if part.to_offset >= ends[part.partition]:
                    left.pop(part.partition, None)
            if not left:
                return
    finally:
        await tail.aclose()
