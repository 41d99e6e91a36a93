"""One partition that this node holds: its entities, its writer, and its snapshot.

Who holds a partition is its only writer: replica records and snapshots of it go through one
fenced writer. So what this object knows of both topics is the truth until the writer is fenced.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Final

from connectors.log import FencedWriter, Log, NewRecord
from schemas.log_trouble import (
    LogStoppedError,
    LogTroubleError,
    LogTruncatedError,
    TopicRecreatedError,
)
from streams import topics
from streams.agents.records import records_until
from streams.state.partition import PartitionState
from streams.state.snapshot import (
    LOGS_KEY,
    MANIFEST_KEY,
    TROUBLE_KEY,
    SnapshotReader,
    bucket_key,
    chunk_numbers,
    encode_chunks,
    encode_manifest,
    take_dirty,
)

FOLDED: Final = (topics.STATE, topics.REPLICA)


class Holding:
    """A partition in the hands of this node.

    Args:
        region: Our region.
        state: Its entities, empty until `load`.
        log_: The region's log.
        writer: Its writer.

    Attributes:
        positions: Next offset to fold, by topic.
        cursors: Next offset wanted of every origin's log, where it is beyond what is folded.
        is_restored: It holds all that stood in the log when it was taken.
        is_lost: Its writer failed: nothing is written any more.
        unchecked: Topics whose next record has to be compared with our position.
    """

    def __init__(self, region: str, state: PartitionState, log_: Log, writer: FencedWriter) -> None:
        self.state = state
        self.writer = writer
        self.positions = dict.fromkeys(FOLDED, 0)
        self.cursors: dict[str, int] = {}
        self.is_restored = False
        self.is_lost = False
        self.unchecked: set[str] = set()
        self._region = region
        self._log = log_
        self._logs: dict[str, str] = {}
        self._standing: dict[int, set[int]] = {}
        self._snapshotting = asyncio.Lock()
        self._manifest: tuple[int, dict[str, int]] = (0, {})

    @property
    def partition(self) -> int:
        """Its number."""
        return self.state.partition

    def cursor(self, origin: str) -> int:
        """Return from where an origin's log is wanted: what stands before it is durable here."""
        return max(self.cursors.get(origin, 0), self.state.vector.get(origin, 0))

    def is_behind(self, wanted: Mapping[tuple[str, int], int]) -> bool:
        """Tell whether some topic has to be replayed further; by (topic, partition)."""
        return any(at < wanted.get((t, self.partition), 0) for t, at in self.positions.items())

    async def load(self) -> int:
        """Load the snapshot and return how many entities it held.

        Raises:
            LogTroubleError: It was taken of other topics, or an operator has to decide first.
        """
        starts = await self._log.start_offsets(topics.SNAPSHOTS)
        ends = await self._log.end_offsets(topics.SNAPSHOTS)
        reader = SnapshotReader(self.state)
        at = {self.partition: starts[self.partition]}
        async for _, record in records_until(self._log, topics.SNAPSHOTS, at, ends):
            reader.feed(record.key or b"", record.value)
        count = 0
        for joined in reader.steps():
            count += joined
            await asyncio.sleep(0)  # other partitions live on meanwhile
        await self._check_logs(reader)
        self._standing = reader.standing
        self.positions[topics.REPLICA] = reader.replica_offset
        self.positions[topics.STATE] = self.state.vector.get(self._region, 0)
        return count

    async def snapshot(self, is_burying: Callable[[], bool]) -> int:
        """Write what changed since the last snapshot; returns the number of records written.

        One at a time: the manifest of a second one would cover buckets that the first has taken
        and, should it be cancelled, never writes.

        A bucket that is written while a dead letter is under way could say after a crash that the
        refused change was folded: then the snapshot ends early, and the next one goes on.
        """
        async with self._snapshotting:
            return await self._snapshot(is_burying)

    async def _snapshot(self, is_burying: Callable[[], bool]) -> int:
        state, place = self.state, self._place()
        if not state.dirty and self._manifest == place:
            return 0
        manifest = encode_manifest(state, self._region, self.positions[topics.REPLICA])
        taken = take_dirty(state)
        written = 0
        try:
            for bucket, entities in taken.items():
                if is_burying():
                    state.dirty.update(taken)
                    return written
                written += await self._write_bucket(bucket, encode_chunks(entities))
            await self._append([NewRecord(MANIFEST_KEY, manifest)])
        except BaseException:
            state.dirty.update(taken)  # they are not safe yet: once more next time
            raise
        self._manifest = place
        state.covered = place[1]
        return written + 1

    def trouble(
        self, ids: Mapping[str, str], ends: Mapping[str, Mapping[int, int]], at: Mapping[str, int]
    ) -> LogTroubleError | None:
        """Compare the topics as they are with what we know of them.

        Args:
            ids: Their ids.
            ends: Their ends, by topic and partition.
            at: Our positions from before somebody asked for the ends.
        """
        for topic, known in self._logs.items():
            if ids[topic] != known:
                return TopicRecreatedError(topic, self.partition, known, ids[topic])
        for topic, offset in at.items():
            end = ends[topic].get(self.partition, 0)
            if end < offset:
                return LogTruncatedError(topic, self.partition, offset, end)
        return None

    async def note_trouble(self, error: LogTroubleError) -> None:
        """Write down, for all who hold this partition later, that a human has to decide."""
        text = json.dumps({"reason": error.reason, "topic": error.topic, "text": str(error)})
        await self._append([NewRecord(TROUBLE_KEY, text.encode())])

    async def _check_logs(self, reader: SnapshotReader) -> None:
        if reader.trouble:
            raise LogStoppedError(self.partition, reader.trouble)
        self._logs = await self._log.topic_ids(FOLDED)
        for topic, known in reader.logs.items():
            if self._logs[topic] != known:
                raise TopicRecreatedError(topic, self.partition, known, self._logs[topic])
        if not reader.logs:
            await self._append([NewRecord(LOGS_KEY, json.dumps(self._logs).encode())])

    def _place(self) -> tuple[int, dict[str, int]]:
        """Return what a manifest would say."""
        return self.positions[topics.REPLICA], dict(self.state.vector)

    async def _write_bucket(self, bucket: int, chunks: list[bytes]) -> int:
        """Write a bucket's chunks, and delete the old ones when the new ones are durable."""
        standing = self._standing.setdefault(bucket, set())
        numbers = chunk_numbers(standing, len(chunks))
        stale = sorted(standing.difference(numbers))
        standing.update(numbers)
        new = [NewRecord(bucket_key(bucket, n), c) for n, c in zip(numbers, chunks, strict=True)]
        await self._append(new)
        if stale:
            await self._append([NewRecord(bucket_key(bucket, number), None) for number in stale])
            standing.difference_update(stale)
        return len(numbers) + len(stale)

    async def _append(self, records: list[NewRecord]) -> None:
        await self.writer.append(topics.SNAPSHOTS, self.partition, records)
