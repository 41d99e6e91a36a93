"""The promise of a partitioned, durable log: what DWCP asks of Kafka, and no more.

Two implementations keep it, under one contract suite (`tests/contracts/test_log.py` and
`test_writer.py`): `connectors.kafka.KafkaLog` and, for simulations only,
`connectors.memory.MemoryLog`.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from schemas.errors import TopicMismatchError

_MUST_MATCH: Final = ("cleanup.policy", "message.timestamp.type")

Headers = tuple[tuple[str, bytes], ...]


class NewRecord(NamedTuple):
    """A record to append; `record_time_ms` is kept unless the topic stamps its own."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    record_time_ms: int | None = None

    @property
    def size_bytes(self) -> int:
        """Size of key, value and headers, without Kafka's framing."""
        return _size_bytes(self.key, self.value, self.headers)


class LogRecord(NamedTuple):
    """A record as it stands in one partition."""

    offset: int
    record_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size_bytes(self) -> int:
        """Size of key, value and headers, without Kafka's framing."""
        return _size_bytes(self.key, self.value, self.headers)


def plain_headers(headers: Iterable[tuple[str, bytes | None]] | None) -> Headers:
    """Return headers as a client gave them; null values, which others may write, read as empty."""
    return tuple((name, value or b"") for name, value in headers or ())


def _size_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    size = len(key or b"") + len(value or b"")
    return size + sum(len(name) + len(content) for name, content in headers)


class RecordRange(NamedTuple):
    """Committed records of one partition: all that stands in [from_offset, to_offset).

    Offsets inside the range may have no record (transaction markers, aborted transactions,
    compaction), so the range is claimed, never counted.
    """

    partition: int
    from_offset: int
    to_offset: int
    records: list[LogRecord]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as DWCP needs it.

    Attributes:
        name: Topic name.
        partition_count: Number of partitions, above 0; checked on an existing topic.
        replication_factor: Copies wanted; an existing topic may have more, fewer is a warning.
        settings: Kafka topic settings; on an existing topic a difference is a warning, except
            for `cleanup.policy` and `message.timestamp.type`, which must match.
    """

    name: str
    partition_count: int
    replication_factor: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)


def check_topic(
    spec: TopicSpec, partition_count: int, copies: int, settings: Mapping[str, str]
) -> list[str]:
    """Compare a topic as it is with what is asked for, and return warnings.

    Raises:
        TopicMismatchError: It has other partitions, clean-up or timestamp type.
    """
    if partition_count != spec.partition_count:
        raise TopicMismatchError(
            f"{spec.name} has {partition_count} partitions, {spec.partition_count} are "
            "configured: set state.partition_count to what is there, equal in all regions"
        )
    warnings = []
    if copies < spec.replication_factor:
        warnings.append(
            f"{spec.name} has {copies} copies, {spec.replication_factor} are configured"
        )
    for name, wanted in spec.settings.items():
        found = settings.get(name)
        if found == wanted:
            continue
        if name in _MUST_MATCH:
            raise TopicMismatchError(
                f"{spec.name} has {name} = {found}, DWCP needs {wanted}: alter the topic"
            )
        warnings.append(f"{spec.name} has {name} = {found}, configured is {wanted}")
    return warnings


class FencedWriter(Protocol):
    """One owner at a time, whole appends, each exactly once: what `Log.open_writer` returns.

    When it is open, every append of its predecessors is decided: a committed reader sees all of
    it or nothing of it, and never more. So who opens a writer and then reads a partition's
    committed end knows what stands there, until a successor fences it.
    """

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """Append in order; committed readers see all records of one call, or none.

        Calls that come while others are being committed are committed together. A writer that
        failed with anything but `RecordTooLargeError` stays failed: close it and open another.

        Returns:
            The offset of each record; offsets between two appends may be left out.

        Raises:
            RecordTooLargeError: One is over the topic's limit; nothing of this call was written,
                and the writer goes on.
            WriterFencedError: Another one of this name was opened, or the broker gave us up;
                what was under way is decided when the next writer of this name is open.
            OutcomeUnknownError: The answer never came; likewise.
            LogUnavailableError: Nothing of it was or will be written.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way, for a moment, and release all connections; idempotent."""
        ...


class Log(Protocol):
    """A cluster's topics. All methods raise `LogError` or `TopicMismatchError`, nothing foreign.

    A topic or partition that is not there is `LogUnavailableError`: it may come.
    """

    async def create_topics(self, specs: Sequence[TopicSpec]) -> list[str]:
        """Create what is missing and check what is there.

        Returns:
            Warnings, one sentence each, about what is weaker than asked for.

        Raises:
            TopicMismatchError: A topic has other partitions, clean-up or timestamp type.
        """
        ...

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """Append in order and wait until all are durable (acks=all).

        Returns:
            The offset of each record.

        Raises:
            RecordTooLargeError: One is over the topic's limit; none of *this call* is promised.
            OutcomeUnknownError: The answer never came; records may stand in the log, all or some.
            LogUnavailableError: Nothing was sent.
        """
        ...

    async def open_writer(self, name: str) -> FencedWriter:
        """Become the only writer of this name: what others of it wrote is decided, they are out.

        Raises:
            LogUnavailableError: No broker answered.
        """
        ...

    async def read(
        self, topic: str, partition: int, from_offset: int, to_offset: int
    ) -> RecordRange:
        """Read all committed records of [from_offset, to_offset); bounded by the caller.

        Raises:
            OffsetOutOfRangeError: `from_offset` is no longer in the log, or `to_offset` not yet.
        """
        ...

    def tail(
        self, topic: str, positions: Mapping[int, int], *, bytes_max: int = 524_288
    ) -> AsyncGenerator[list[RecordRange], None]:
        """Follow partitions from the given offsets for ever; close with `aclose()`.

        Ranges of one partition follow each other without a hole. Each item holds at least one
        range and about `bytes_max` bytes at most (one larger record still passes).

        Raises:
            OffsetOutOfRangeError: A position is no longer in the log.
        """
        ...

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """Return the first offset still held, by partition."""
        ...

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset after the last committed record, by partition."""
        ...

    async def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return what tells each topic from others of its name, before and after it."""
        ...

    async def close(self) -> None:
        """Release all connections; idempotent."""
        ...
