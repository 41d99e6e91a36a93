"""The `Log` over Apache Kafka, through aiokafka.

All reads are `read_committed`, all writes idempotent with acks=all. aiokafka's errors stop here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connectors.log import LogRecord, NewRecord, RecordRange, TopicSpec
from connectors.memory import cut_range
from schemas.errors import (
    DwcpError,
    LogError,
    LogUnavailableError,
    OffsetOutOfRangeError,
    OutcomeUnknownError,
    RecordTooLargeError,
    TopicMismatchError,
)

log = structlog.get_logger(__name__)

# A batch is refused as a whole, so ours stay below every topic's limit; one larger record passes.
BATCH_BYTES: Final = 262_144
REQUEST_BYTES_MAX: Final = 20 << 20
# A fetch that names only idle partitions hides new records of the others for this long.
FETCH_WAIT_MS: Final = 100
POLL_MS: Final = 500
RECORDS_PER_POLL: Final = 2_000
TOPICS_READY_S: Final = 30.0
TOPICS_POLL_S: Final = 0.05
_MUST_MATCH: Final = ("cleanup.policy", "message.timestamp.type")
# Kafka counts its own framing too; this is what one record adds to a batch, at most.
_FRAMING_BYTES: Final = 128


class KafkaLog:
    """Topics of one Kafka cluster.

    Args:
        client: aiokafka's connection settings: `bootstrap_servers`, and `security_protocol`,
            `ssl_context`, `sasl_*` where the cluster wants them.
        linger_ms: How long an append waits for company.
    """

    def __init__(self, client: Mapping[str, Any], *, linger_ms: int = 0) -> None:
        self._client = dict(client)
        self._linger_ms = linger_ms
        self._producer: AIOKafkaProducer | None = None
        self._limits: dict[str, int] = {}
        self._starting = asyncio.Lock()

    async def create_topics(self, specs: Sequence[TopicSpec]) -> list[str]:
        """See `Log`."""
        with _mapped("create topics"):
            admin = AIOKafkaAdminClient(**self._client)
            try:
                await admin.start()
                await _create(admin, specs)
                async with asyncio.timeout(TOPICS_READY_S):
                    await _wait_until_known(admin, specs)
                return await _check(admin, specs)
            finally:
                await admin.close()

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log`."""
        producer = await self._started_producer()
        with _mapped(f"append to {topic}/{partition}"):
            limit = await self._limit(topic)
            for record in records:
                _check_size(topic, record, limit)
            sent = [
                await producer.send(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    record.record_time_ms,
                    list(record.headers),
                )
                for record in records
            ]
            return [(await future).offset for future in sent]

    async def read(
        self, topic: str, partition: int, from_offset: int, to_offset: int
    ) -> RecordRange:
        """See `Log`."""
        records: list[LogRecord] = []
        if from_offset == to_offset:
            return RecordRange(partition, from_offset, to_offset, records)
        ends = await self.end_offsets(topic)
        if to_offset > ends.get(partition, -1):
            raise OffsetOutOfRangeError(
                f"{topic}/{partition} ends at {ends.get(partition)}, {to_offset} was asked for"
            )
        async for ranges in self.tail(topic, {partition: from_offset}):
            for part in ranges:
                records += (r for r in part.records if r.offset < to_offset)
                if part.to_offset >= to_offset:
                    return RecordRange(partition, from_offset, to_offset, records)
        raise AssertionError("a tail does not end")

    async def tail(
        self, topic: str, positions: Mapping[int, int], *, bytes_max: int = 524_288
    ) -> AsyncGenerator[list[RecordRange], None]:
        """See `Log`."""
        at = {TopicPartition(topic, p): offset for p, offset in positions.items()}
        consumer = AIOKafkaConsumer(
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=bytes_max,
            fetch_max_bytes=4 * bytes_max,
        )
        try:
            with _mapped(f"tail {topic}"):
                await consumer.start()
                consumer.assign(list(at))
                for partition, offset in at.items():
                    consumer.seek(partition, offset)
            while True:
                with _mapped(f"tail {topic}"):
                    ranges = await _poll(consumer, at)
                for batch in _cut(ranges, bytes_max):
                    yield batch
        finally:
            await consumer.stop()

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return await self._offsets(topic, "beginning_offsets")

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return await self._offsets(topic, "end_offsets")

    async def close(self) -> None:
        """See `Log`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with _mapped("close"):
                await producer.stop()

    async def _offsets(self, topic: str, method: str) -> dict[int, int]:
        with _mapped(f"ask {topic} for offsets"):
            consumer = AIOKafkaConsumer(**self._client, isolation_level="read_committed")
            try:
                await consumer.start()
                found = await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 - no public way that waits
                tps = [TopicPartition(topic, p) for p in sorted(found)]
                offsets = await getattr(consumer, method)(tps)
                return {tp.partition: offset for tp, offset in offsets.items()}
            finally:
                await consumer.stop()

    async def _started_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._start_producer()
        return self._producer

    async def _start_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._client,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=self._linger_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
        )
        with _mapped("connect"):
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
        return producer

    async def _limit(self, topic: str) -> int:
        """Return the topic's `max.message.bytes`.

        Asked once: a refused batch would leave a hole in the idempotent producer's sequence, so
        what is too large must not be sent at all.
        """
        if topic not in self._limits:
            admin = AIOKafkaAdminClient(**self._client)
            try:
                await admin.start()
                settings = await _topic_settings(admin, [topic])
                self._limits[topic] = int(settings[topic].get("max.message.bytes", 1_048_588))
            finally:
                await admin.close()
        return self._limits[topic]


def _check_size(topic: str, record: NewRecord, limit: int) -> None:
    size = len(record.key or b"") + len(record.value or b"") + _FRAMING_BYTES
    size += sum(len(name) + len(value) for name, value in record.headers)
    if size > limit:
        raise RecordTooLargeError(
            f"a record of {size:,} bytes, {topic} takes {limit:,} (its max.message.bytes): split "
            "the document, or raise the setting on this topic in every region"
        )


async def _poll(consumer: AIOKafkaConsumer, at: dict[TopicPartition, int]) -> list[RecordRange]:
    """Fetch once and say which ranges that covered; `at` moves on."""
    fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL)
    ranges = []
    for tp, from_offset in at.items():
        to_offset = await consumer.position(tp)
        if to_offset > from_offset:
            records = [
                LogRecord(r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for r in fetched.get(tp, ())
            ]
            ranges.append(RecordRange(tp.partition, from_offset, to_offset, records))
            at[tp] = to_offset
    return ranges


def _cut(ranges: list[RecordRange], bytes_max: int) -> Iterator[list[RecordRange]]:
    """Group ranges into lists of about `bytes_max` bytes, cutting large ones."""
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


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    existing = set(await admin.list_topics())
    missing = [
        NewTopic(
            spec.name,
            spec.partition_count,
            spec.replication_factor,
            topic_configs=dict(spec.settings),
        )
        for spec in specs
        if spec.name not in existing
    ]
    if not missing:
        return
    answer = await admin.create_topics(missing)
    for name, code, *text in answer.topic_errors:
        kind = errors.for_code(code)
        if kind not in (errors.NoError, errors.TopicAlreadyExistsError):
            raise TopicMismatchError(f"{name} could not be created: {kind.__name__} {text}")


async def _wait_until_known(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """Wait until the broker that answers has heard of new topics from the controller."""
    names = [spec.name for spec in specs]
    while True:
        topics = await admin.describe_topics(names)
        if all(not topic["error_code"] and topic["partitions"] for topic in topics):
            with contextlib.suppress(errors.UnknownTopicOrPartitionError):
                await _topic_settings(admin, names)
                return
        await asyncio.sleep(TOPICS_POLL_S)


async def _check(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    names = [spec.name for spec in specs]
    described = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
    settings = await _topic_settings(admin, names)
    warnings: list[str] = []
    for spec in specs:
        partitions = described[spec.name]["partitions"]
        if len(partitions) != spec.partition_count:
            raise TopicMismatchError(
                f"{spec.name} has {len(partitions)} partitions, {spec.partition_count} are "
                "configured: set state.partition_count to what is there, equal in all regions"
            )
        copies = min(len(p["replicas"]) for p in partitions)
        if copies < spec.replication_factor:
            warnings.append(
                f"{spec.name} has {copies} copies, {spec.replication_factor} are configured"
            )
        warnings += _differences(spec, settings[spec.name])
    return warnings


def _differences(spec: TopicSpec, actual: Mapping[str, str]) -> list[str]:
    warnings = []
    for name, wanted in spec.settings.items():
        found = actual.get(name)
        if found == wanted:
            continue
        if name in _MUST_MATCH:
            raise TopicMismatchError(
                f"{spec.name} has {name} = {found}, DWCP needs {wanted}: alter the topic"
            )
        warnings.append(f"{spec.name} has {name} = {found}, configured is {wanted}")
    return warnings


async def _topic_settings(
    admin: AIOKafkaAdminClient, topics: Sequence[str]
) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, text, _, name, entries in answer.resources:
            if code:
                raise errors.for_code(code)(f"settings of {name}: {text}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


# First match wins; what is not listed and not a KafkaError is a bug of ours and passes through.
_MAPPING: Final = (
    (errors.MessageSizeTooLargeError, RecordTooLargeError),
    (errors.OffsetOutOfRangeError, OffsetOutOfRangeError),
    (errors.NoOffsetForPartitionError, OffsetOutOfRangeError),
    (errors.KafkaConnectionError, LogUnavailableError),
    (errors.UnknownTopicOrPartitionError, LogUnavailableError),
    (errors.KafkaTimeoutError, OutcomeUnknownError),
    (errors.RequestTimedOutError, OutcomeUnknownError),
    (errors.KafkaError, LogError),
)


@contextlib.contextmanager
def _mapped(doing: str) -> Iterator[None]:
    """Turn aiokafka's errors into ours."""
    try:
        yield
    except DwcpError:
        raise
    except (errors.KafkaError, OSError, TimeoutError) as error:
        kinds = (ours for theirs, ours in _MAPPING if isinstance(error, theirs))
        kind = next(kinds, LogUnavailableError)
        raise kind(f"{doing}: {type(error).__name__} {error}") from error
