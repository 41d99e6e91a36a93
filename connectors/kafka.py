"""The `Log` over Apache Kafka, through aiokafka.

All reads are `read_committed`, all writes idempotent with acks=all. aiokafka's errors stop here.

An append is one batch of Kafka's, or several where it is larger than `BATCH_BYTES`. While the
broker is away it goes on trying, without duplicates, for `append_timeout_s`; then its outcome is
unknown and its producer is given up, so that nothing of it is sent later.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.producer.message_accumulator import BatchBuilder

from connectors.kafka_access import Access, missing_access, named, probe
from connectors.kafka_batches import BATCH_BYTES, batch_bytes, make_batches, offsets_of
from connectors.kafka_consumers import check_fetching, running_consumer
from connectors.kafka_errors import is_refusal, mapped, our_error
from connectors.kafka_producers import start_producer, stop_producer
from connectors.kafka_topic_ids import topic_ids
from connectors.kafka_topics import create_and_check, topic_settings
from connectors.kafka_writer import KafkaWriter
from connectors.log import LogRecord, NewRecord, RecordRange, TopicSpec, plain_headers
from connectors.memory import group_ranges
from schemas.access_errors import KafkaAccessError
from schemas.errors import LogUnavailableError, OffsetOutOfRangeError, RecordTooLargeError

REQUEST_TIMEOUT_MS: Final = 10_000  # aiokafka's 40 s would make every fault last that long
APPEND_TIMEOUT_S: Final = 60.0
# A killed owner's open transaction holds readers back for this long if nobody takes its place.
TRANSACTION_TIMEOUT_MS: Final = 10_000
# A fetch that names only idle partitions hides new records of the others for this long.
FETCH_WAIT_MS: Final = 100
POLL_MS: Final = 500
RECORDS_PER_POLL: Final = 2_000


class KafkaLog:
    """Topics of one Kafka cluster.

    Args:
        client: aiokafka's connection settings: `bootstrap_servers`, and `security_protocol`,
            `ssl_context`, `sasl_*` where the cluster wants them.
        append_timeout_s: How long an append goes on trying.
        transaction_timeout_ms: After how long the broker aborts a writer's open transaction.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        *,
        append_timeout_s: float = APPEND_TIMEOUT_S,
        transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
    ) -> None:
        self._client = {"request_timeout_ms": REQUEST_TIMEOUT_MS, **client}
        self._append_timeout_s = append_timeout_s
        self._transaction_timeout_ms = transaction_timeout_ms
        self._producer: AIOKafkaProducer | None = None
        self._limits: dict[str, int] = {}
        self._starting = asyncio.Lock()

    async def create_topics(self, specs: Sequence[TopicSpec]) -> list[str]:
        """See `Log`."""
        if not specs:
            return []
        async with self._admin("create topics") as admin:
            return await create_and_check(admin, specs)

    async def require_access(self, wanted: Sequence[Access]) -> None:
        """Check that the cluster lets us in and do what is wanted; topics may be missing yet.

        Raises:
            KafkaAccessError: It does not: says all that is missing.
            LogUnavailableError: It is not there.
        """
        await probe(self._client)
        async with self._admin("ask what we may do") as admin:
            if missing := await missing_access(admin, wanted):
                raise KafkaAccessError(
                    f"Kafka does not allow us {named(missing)}: `dwcp kafka acls` lists all we need"
                )

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log`."""
        place = TopicPartition(topic, partition)
        if not records:
            return []
        producer = await self._started_producer()
        limit = await self._check_sizes(topic, records)
        with mapped(f"append to {topic}/{partition}"):
            _check_places([place], await producer.partitions_for(topic))
        return await self._send(
            producer, place, make_batches(producer, records, min(BATCH_BYTES, limit))
        )

    async def open_writer(self, name: str) -> KafkaWriter:
        """See `Log`; `name` is the transactional id."""
        settings = {
            "transactional_id": name,
            "transaction_timeout_ms": self._transaction_timeout_ms,
        }
        with mapped(f"take {name}"):
            producer = await start_producer({**self._client, **settings})
        return KafkaWriter(producer, name, self._check_sizes, self._append_timeout_s)

    async def read(
        self, topic: str, partition: int, from_offset: int, to_offset: int
    ) -> RecordRange:
        """See `Log`."""
        start, end = await self._bounds(TopicPartition(topic, partition))
        if not start <= from_offset <= to_offset <= end:
            raise OffsetOutOfRangeError(
                f"{topic}/{partition}: [{from_offset}, {to_offset}) is not within [{start}, {end})"
            )
        records: list[LogRecord] = []
        at = from_offset
        async with contextlib.aclosing(self.tail(topic, {partition: at})) as tail:
            while at < to_offset:
                for part in await anext(tail):
                    records += (r for r in part.records if r.offset < to_offset)
                    at = part.to_offset
        return RecordRange(partition, from_offset, to_offset, records)

    async def tail(
        self, topic: str, positions: Mapping[int, int], *, bytes_max: int = 524_288
    ) -> AsyncGenerator[list[RecordRange], None]:
        """See `Log`."""
        at = {TopicPartition(topic, p): offset for p, offset in positions.items()}
        settings = {
            "auto_offset_reset": "none",
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "max_partition_fetch_bytes": bytes_max,
            "fetch_max_bytes": 4 * bytes_max,
        }
        doing = f"tail {topic}"
        async with running_consumer(self._client, settings, doing) as consumer:
            with mapped(doing):
                _check_places(at, await _partitions(consumer, topic))
                consumer.assign(list(at))
                for place, offset in at.items():
                    consumer.seek(place, offset)
            while True:
                with mapped(doing):
                    ranges = await _poll(consumer, at)
                for group in group_ranges(ranges, bytes_max):
                    yield group

    async def start_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return await self._offsets(topic, "beginning_offsets")

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """See `Log`."""
        return await self._offsets(topic, "end_offsets")

    async def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """See `Log`."""
        async with self._admin("ask for topic ids") as admin:
            return await topic_ids(admin, topics)

    async def close(self) -> None:
        """See `Log`."""
        async with self._starting:
            producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)

    async def _send(
        self, producer: AIOKafkaProducer, place: TopicPartition, batches: Sequence[BatchBuilder]
    ) -> list[int]:
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._append_timeout_s):
                for batch in batches:
                    one = await producer.send_batch(batch, place.topic, partition=place.partition)
                    sent.append(one)
                found: list[Any] = await asyncio.gather(*sent, return_exceptions=True)
        except (errors.KafkaError, OSError, TimeoutError) as error:
            found = [error]
        failures = [each for each in found if isinstance(each, BaseException)]
        if not failures:
            return offsets_of(place, batches, [each.offset for each in found])
        # The idempotent producer's sequence has a hole now: nothing it sends there would be taken.
        await self._retire(producer)
        await asyncio.gather(*sent, return_exceptions=True)
        is_definite = not sent or (len(failures) == len(sent) and all(map(is_refusal, failures)))
        doing = f"append to {place.topic}/{place.partition}"
        raise our_error(doing, failures[0], is_definite=is_definite) from failures[0]

    async def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        doing = f"ask {place.topic} for offsets"
        async with running_consumer(self._client, {}, doing) as consumer:
            with mapped(doing):
                _check_places([place], await _partitions(consumer, place.topic))
                starts = await consumer.beginning_offsets([place])
                ends = await consumer.end_offsets([place])
        return starts[place], ends[place]

    async def _offsets(self, topic: str, method: str) -> dict[int, int]:
        doing = f"ask {topic} for offsets"
        async with running_consumer(self._client, {}, doing) as consumer:
            with mapped(doing):
                places = [TopicPartition(topic, p) for p in await _partitions(consumer, topic)]
                offsets = await getattr(consumer, method)(places)
        return {place.partition: offset for place, offset in sorted(offsets.items())}

    async def _check_sizes(self, topic: str, records: Sequence[NewRecord]) -> int:
        """Return the topic's `max.message.bytes`.

        What is too large must not be sent at all: a refused batch costs the producer. The limit
        is asked for once, and again before a refusal: the operator may have raised it.

        Raises:
            RecordTooLargeError: A record is over it.
        """
        size = max(map(batch_bytes, records))
        if size > self._limits.get(topic, 0):
            async with self._admin(f"ask {topic} for its settings") as admin:
                settings = await topic_settings(admin, [topic])
            self._limits[topic] = int(settings[topic]["max.message.bytes"])
        limit = self._limits[topic]
        if size > limit:
            raise RecordTooLargeError(
                f"a record of {size:,} bytes, {topic} takes {limit:,} (its max.message.bytes): "
                "split the document, or raise the setting on this topic in every region"
            )
        return limit

    async def _started_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                with mapped("connect"):
                    self._producer = await start_producer(self._client)
            return self._producer

    async def _retire(self, producer: AIOKafkaProducer) -> None:
        """Let a producer end that must not be used again; once."""
        if self._producer is producer:
            self._producer = None
            await stop_producer(producer)

    @contextlib.asynccontextmanager
    async def _admin(self, doing: str) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._client)
        with mapped(doing):
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    return sorted(await consumer._client._wait_on_metadata(topic))  # noqa: SLF001 - no public way that waits


def _check_places(places: Iterable[TopicPartition], partitions: Iterable[int]) -> None:
    known = set(partitions)
    for place in places:
        if place.partition not in known:
            raise LogUnavailableError(f"there is no {place.topic}/{place.partition}")


async def _poll(consumer: AIOKafkaConsumer, at: dict[TopicPartition, int]) -> list[RecordRange]:
    """Fetch once and say which ranges that covered; `at` moves on."""
    check_fetching(consumer)
    fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL)
    ranges = []
    for place, from_offset in at.items():
        to_offset = await consumer.position(place)
        if to_offset > from_offset:
            records = [
                LogRecord(r.offset, r.timestamp, r.key, r.value, plain_headers(r.headers))
                for r in fetched.get(place, ())
            ]
            ranges.append(RecordRange(place.partition, from_offset, to_offset, records))
            at[place] = to_offset
    return ranges
