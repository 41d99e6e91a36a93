"""The promise of a partitioned, durable log: what DWCP asks of Kafka, and no more.

Two implementations keep it, under one contract suite (`tests/contracts/test_log.py`):
`connectors.kafka.KafkaLog` and, for simulations only, `connectors.memory.MemoryLog`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]


class NewRecord(NamedTuple):
    """A record to append; `record_time_ms` is kept unless the topic stamps its own."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    record_time_ms: int | None = None


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
        size = len(self.key or b"") + len(self.value or b"")
        return size + sum(len(name) + len(value) for name, value in self.headers)


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


class Log(Protocol):
    """A cluster's topics. All methods raise `LogError` or `TopicMismatchError`, nothing foreign."""

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
            OutcomeUnknownError: The answer never came.
            LogUnavailableError: Nothing was sent.
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

    async def close(self) -> None:
        """Release all connections; idempotent."""
        ...
