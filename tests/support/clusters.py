"""What a contract test needs of a cluster beside its `Log`: to do what only others do."""

import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from connectors.kafka import KafkaLog
from connectors.log import Log, LogRecord, NewRecord, RecordRange, TopicSpec
from connectors.memory import MemoryCluster, MemoryLog
from tests.support.kafka import unique_topic


class Cluster(Protocol):
    """A `Log` under test, and its cluster's other face."""

    log: Log

    async def abort(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        """Append records in a transaction that is aborted."""
        ...

    async def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        """Drop old records, as retention does."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


class InMemory:
    """A cluster in memory."""

    def __init__(self) -> None:
        self.cluster: Final = MemoryCluster(lambda: time.time_ns() // 1_000_000)
        self.log: Log = MemoryLog(self.cluster)

    async def abort(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        for record in [*records, NewRecord(None, b"marker")]:
            self.cluster.append(topic, partition, record, is_aborted=True)
        self.cluster.appended.set()

    async def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        self.cluster.truncate(topic, partition, before_offset)

    async def close(self) -> None:
        await self.log.close()


class OnKafka:
    """A Kafka cluster; the time-out is short, for tests that wait for it."""

    def __init__(self, bootstrap: str, **client: Any) -> None:
        self.client: Final = {"bootstrap_servers": bootstrap, "request_timeout_ms": 2_000, **client}
        self.log: Log = KafkaLog(self.client)

    async def abort(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        async with self.transactional() as producer:
            await producer.begin_transaction()
            for record in records:
                await producer.send_and_wait(topic, record.value, record.key, partition)
            await producer.abort_transaction()

    def transactional(self) -> AIOKafkaProducer:
        """Make a producer with a transactional id of its own."""
        return AIOKafkaProducer(**self.client, transactional_id=unique_topic("transaction"))

    async def truncate(self, topic: str, partition: int, before_offset: int) -> None:
        admin = AIOKafkaAdminClient(**self.client)
        await admin.start()
        try:
            place = TopicPartition(topic, partition)
            await admin.delete_records({place: RecordsToDelete(before_offset=before_offset)})
        finally:
            await admin.close()

    async def close(self) -> None:
        await self.log.close()


async def new_topic(log: Log, partition_count: int = 1, **settings: str) -> str:
    """Create a topic of one's own; underscores in settings' names stand for dots."""
    name = unique_topic("contract")
    named = {setting.replace("_", "."): value for setting, value in settings.items()}
    assert await log.create_topics([TopicSpec(name, partition_count, settings=named)]) == []
    return name


def values(*texts: str) -> list[NewRecord]:
    """Return records with these values and no key."""
    return [NewRecord(None, text.encode()) for text in texts]


async def take(
    log: Log, topic: str, positions: dict[int, int], ends: dict[int, int], bytes_max: int = 524_288
) -> list[list[RecordRange]]:
    """Return what a tail gives until it has passed `ends`, checked to be without a hole."""
    at = dict(positions)
    items: list[list[RecordRange]] = []
    tail = log.tail(topic, positions, bytes_max=bytes_max)
    try:
        while any(at[partition] < end for partition, end in ends.items()):
            ranges = await anext(tail)
            assert ranges, "an item holds at least one range"
            for part in ranges:
                assert part.from_offset == at[part.partition] < part.to_offset
                assert all(part.from_offset <= r.offset < part.to_offset for r in part.records)
                at[part.partition] = part.to_offset
            items.append(ranges)
    finally:
        await tail.aclose()
    return items


def flat(items: list[list[RecordRange]], partition: int = 0) -> list[LogRecord]:
    """Return one partition's records in order."""
    return [
        r
        for ranges in items
        for part in ranges
        if part.partition == partition
        for r in part.records
    ]
