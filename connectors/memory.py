"""A log in memory, for simulations and tests; never for users.

`MemoryCluster` is the pure part: a simulation calls it directly, without an event loop. It can
abort records, which leaves gaps in the offsets as Kafka's transactions do. `MemoryLog` is the
`Log` over it, `MemoryWriter` its fenced writer.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from connectors.log import LogRecord, NewRecord, RecordRange, TopicSpec, check_topic
from schemas.errors import (
    LogError,
    LogUnavailableError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    WriterFencedError,
)

RECORD_BYTES_MAX: Final = 1_048_576
_DEFAULTS: Final = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}


class _Partition:
    """Records by offset; `start` is the first still held, `end` the next to be given."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.start = 0
        self.end = 0


class MemoryCluster:
    """Topics of one cluster.

    Args:
        wall_ms: Gives the append time, Unix milliseconds.
    """

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._specs: dict[str, TopicSpec] = {}
        self._topics: dict[str, list[_Partition]] = {}
        self._epochs: dict[str, int] = {}
        self.appended = asyncio.Event()

    def create(self, spec: TopicSpec) -> list[str]:
        """Create a topic, or check the one that is there and return warnings."""
        old = self._specs.setdefault(spec.name, spec)
        self._topics.setdefault(spec.name, [_Partition() for _ in range(spec.partition_count)])
        settings = _DEFAULTS | dict(old.settings)
        return check_topic(spec, old.partition_count, old.replication_factor, settings)

    def recreate(self, topic: str) -> None:
        """Delete a topic and make it again, as an operator may."""
        self._topics[topic] = [_Partition() for _ in self._topics[topic]]

    def cut_end(self, topic: str, partition: int, end_offset: int) -> None:
        """Lose the end of a partition, as a leader without its followers' records does."""
        part = self._partition(topic, partition)
        part.end = min(part.end, end_offset)
        part.records = [r for r in part.records if r.offset < part.end]

    def topic_id(self, topic: str) -> str:
        """Return what tells a topic from others of its name."""
        self.offsets(topic)
        return f"{id(self._topics[topic]):032x}"

    def fence(self, writer: str) -> int:
        """Let a new writer of this name in, and all older ones out; returns its epoch."""
        self._epochs[writer] = self._epochs.get(writer, 0) + 1
        return self._epochs[writer]

    def check_epoch(self, writer: str, epoch: int) -> None:
        """Raise WriterFencedError when a newer writer of this name was let in."""
        if epoch != self._epochs[writer]:
            raise WriterFencedError(f"append by {writer}: another node took over")

    def check_size(self, topic: str, record: NewRecord) -> None:
        """Raise RecordTooLargeError when the topic does not take a record of this size."""
        settings = self._specs[topic].settings if topic in self._specs else {}
        limit = int(settings.get("max.message.bytes", RECORD_BYTES_MAX))
        if record.size_bytes > limit:
            raise RecordTooLargeError(
                f"{topic}: a record of {record.size_bytes:,} bytes, {limit:,} are allowed"
            )

    def append(
        self, topic: str, partition: int, record: NewRecord, *, is_aborted: bool = False
    ) -> int:
        """Append one record; an aborted one takes its offset and is never read."""
        self.check_size(topic, record)
        part = self._partition(topic, partition)
        settings = self._specs[topic].settings
        is_stamped = settings.get("message.timestamp.type") == "LogAppendTime"
        time_ms = record.record_time_ms
        if is_stamped or time_ms is None:
            time_ms = self._wall_ms()
        if not is_aborted:
            part.records.append(
                LogRecord(part.end, time_ms, record.key, record.value, record.headers)
            )
        part.end += 1
        return part.end - 1

    def read(self, topic: str, partition: int, from_offset: int, to_offset: int) -> RecordRange:
        """Read what stands in [from_offset, to_offset)."""
        part = self._partition(topic, partition)
        if not part.start <= from_offset <= to_offset <= part.end:
            raise OffsetOutOfRangeError(
                f"{topic}/{partition}: [{from_offset}, {to_offset}) is not within "
                f"[{part.start}, {part.end})"
            )
        records = [r for r in part.records if from_offset <= r.offset < to_offset]
        return RecordRange(partition, from_offset, to_offset, records)

    def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        """Drop what retention would drop."""
        part = self._partition(topic, partition)
        part.start = max(part.start, min(before_offset, part.end))
        part.records = [r for r in part.records if r.offset >= part.start]

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """Return (start, end) of each partition."""
        if topic not in self._topics:
            raise LogUnavailableError(f"there is no topic {topic}")
        return [(part.start, part.end) for part in self._topics[topic]]

    def _partition(self, topic: str, partition: int) -> _Partition:
        if topic not in self._topics or not 0 <= partition < len(self._topics[topic]):
            raise LogUnavailableError(f"there is no {topic}/{partition}")
        return self._topics[topic][partition]


class MemoryLog:
    """The `Log` over a `MemoryCluster`."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    async def create_topics(self, specs: Sequence[TopicSpec]) -> list[str]:
        """See `Log`."""
        return [warning for spec in specs for warning in self._cluster.create(spec)]

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log`."""
        for record in records:
            self._cluster.check_size(topic, record)
        offsets = [self._cluster.append(topic, partition, record) for record in records]
        self._cluster.appended.set()
        return offsets

    async def open_writer(self, name: str) -> "MemoryWriter":
        """See `Log`."""
        return MemoryWriter(self, self._cluster, name)

    async def read(
        self, topic: str, partition: int, from_offset: int, to_offset: int
    ) -> RecordRange:
        """See `Log`."""
        return self._cluster.read(topic, partition, from_offset, to_offset)

    async def tail(
        self, topic: str, positions: Mapping[int, int], *, bytes_max: int = 524_288
    ) -> AsyncGenerator[list[RecordRange], None]:
        """See `Log`."""
        at = dict(positions)
        while True:
            self._cluster.appended.clear()
            ends = dict(enumerate(end for _, end in self._cluster.offsets(topic)))
            ranges = []
            for partition, offset in at.items():
                at[partition] = ends.get(partition, offset)
                ranges.append(self._cluster.read(topic, partition, offset, at[partition]))
            groups = list(group_ranges(ranges, bytes_max))
            for group in groups:
                yield group
            if not groups:
                await self._cluster.appended.wait()

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return {p: start for p, (start, _) in enumerate(self._cluster.offsets(topic))}

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return {p: end for p, (_, end) in enumerate(self._cluster.offsets(topic))}

    async def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """See `Log`."""
        return {topic: self._cluster.topic_id(topic) for topic in topics}

    async def close(self) -> None:
        """See `Log`."""


class MemoryWriter:
    """See `FencedWriter`; as with Kafka, a marker takes the offset behind each append.

    Args:
        log: Where it writes; a log that waits or fails makes its writers wait or fail.
        cluster: The log's cluster.
        name: What at most one writer is called.
    """

    def __init__(self, log: MemoryLog, cluster: MemoryCluster, name: str) -> None:
        self._log = log
        self._cluster = cluster
        self._name = name
        self._epoch = cluster.fence(name)
        self._failure: LogError | None = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `FencedWriter`."""
        if not records:
            return []
        if self._failure is not None:
            raise type(self._failure)(f"{self._name} failed before: {self._failure}")
        try:
            offsets = await self._append(topic, partition, records)
        except RecordTooLargeError:
            raise
        except LogError as error:
            self._failure = error
            raise
        self._cluster.append(topic, partition, NewRecord(None, None), is_aborted=True)
        return offsets

    async def close(self) -> None:
        """See `FencedWriter`."""
        self._failure = self._failure or LogUnavailableError(f"{self._name} is closed")

    async def _append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        self._check()
        return await self._log.append(topic, partition, records)

    def _check(self) -> None:
        self._cluster.check_epoch(self._name, self._epoch)


def cut_range(full: RecordRange, bytes_max: int) -> RecordRange:
    """Return the first part of a range: about `bytes_max` bytes, at least one record."""
    size_bytes = 0
    for index, record in enumerate(full.records):
        size_bytes += record.size_bytes
        if size_bytes > bytes_max and index > 0:
            return RecordRange(
                full.partition, full.from_offset, record.offset, full.records[:index]
            )
    return full


def group_ranges(ranges: Iterable[RecordRange], bytes_max: int) -> Iterator[list[RecordRange]]:
    """Group ranges into lists of about `bytes_max` bytes, cutting large ones, dropping empty ones.

    At most one record of a list reaches over the edge.
    """
    group: list[RecordRange] = []
    room = bytes_max
    for rest in ranges:
        while rest.from_offset < rest.to_offset:
            part = cut_range(rest, room)
            group.append(part)
            room -= sum(record.size_bytes for record in part.records)
            left = rest.records[len(part.records) :]
            rest = RecordRange(rest.partition, part.to_offset, rest.to_offset, left)  # noqa: PLW2901 - what is left of it
            if room <= 0 or left:
                yield group
                group, room = [], bytes_max
    if group:
        yield group
