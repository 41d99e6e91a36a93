"""What `KafkaLog` has to stand beyond the contract: strangers, transactions, faults.

The contract itself is `tests/contracts/test_log.py`.
"""

import asyncio
import contextlib
import dataclasses
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Place

from connectors.embedded.broker import KafkaBroker
from connectors.kafka import KafkaLog
from connectors.log import LogRecord, NewRecord
from schemas.errors import (
    LogError,
    LogUnavailableError,
    OutcomeUnknownError,
    RecordTooLargeError,
)
from schemas.partitioning import partition_of
from streams.topics import TopicSettings, topic_specs
from tests.faults.signals import paused
from tests.support.clusters import OnKafka, flat, new_topic, take, values
from tests.support.kafka import free_port, unique_topic
from tests.support.waiting import until

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(kafka_broker: KafkaBroker) -> AsyncIterator[OnKafka]:
    made = OnKafka(kafka_broker.bootstrap)
    yield made
    await made.close()


async def test_an_open_transaction_holds_back_what_follows_it(cluster: OnKafka) -> None:
    log = cluster.log
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    async with cluster.transactional() as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"b", partition=0)
        await log.append(topic, 0, values("c"))
        assert await log.end_offsets(topic) == {0: 1}
        taking = asyncio.ensure_future(take(log, topic, {0: 0}, {0: 4}))
        await producer.commit_transaction()
    items = await asyncio.wait_for(taking, 10)

    assert [(r.offset, r.value) for r in flat(items)] == [(0, b"a"), (1, b"b"), (2, b"c")]
    assert await log.end_offsets(topic) == {0: 4}


STRANGE: list[dict[str, Any]] = [
    {"key": b"k", "value": b"plain"},
    {"key": None, "value": b""},
    {"key": b"", "value": None},
    {"key": None, "value": None},
    {"key": b"tombstone", "value": None, "timestamp": 1_234_567},
    {
        "key": b"k",
        "value": bytes(range(256)) * 100,
        "headers": [("a", b"1"), ("a", b""), ("", b"x")],
    },
    {"key": b"k", "value": b"v", "headers": [("null", None), ("größe", b"\xff")]},
]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_we_read_what_librdkafka_writes(cluster: OnKafka, compression: str) -> None:
    topic = await new_topic(cluster.log)
    settings = {"bootstrap.servers": cluster.client["bootstrap_servers"], "linger.ms": 20}
    producer = Producer({**settings, "compression.type": compression})
    for record in STRANGE:
        producer.produce(topic, partition=0, **record)
    await asyncio.to_thread(producer.flush, 10)
    found = (await cluster.log.read(topic, 0, 0, len(STRANGE))).records

    assert [(r.key, r.value) for r in found] == [(r["key"], r["value"]) for r in STRANGE]
    assert found[4].record_time_ms == 1_234_567
    assert found[5].headers == (("a", b"1"), ("a", b""), ("", b"x"))
    assert found[6].headers == (("null", b""), ("größe", b"\xff"))
    assert all(isinstance(r.size_bytes, int) for r in found)


async def test_librdkafka_reads_what_we_write(cluster: OnKafka) -> None:
    topic = await new_topic(cluster.log)
    records = [
        NewRecord(b"k", b"x" * 5_000, (("a", b"1"), ("a", b""), ("größe", b"\xff")), 1_234_567),
        NewRecord(None, b"", (), 1),
        NewRecord(b"", None, (("", b""),), 2),
        NewRecord(None, None, (), 3),
    ]
    await cluster.log.append(topic, 0, records)
    bootstrap = cluster.client["bootstrap_servers"]
    found = await asyncio.to_thread(consume, bootstrap, topic, len(records))

    assert found == [
        LogRecord(offset, r.record_time_ms or 0, r.key, r.value, r.headers)
        for offset, r in enumerate(records)
    ]


def consume(bootstrap: str, topic: str, count: int) -> list[LogRecord]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    try:
        consumer.assign([Place(topic, 0, 0)])
        messages = consumer.consume(count, timeout=10)
    finally:
        consumer.close()
    return [
        LogRecord(m.offset(), m.timestamp()[1], m.key(), m.value(), tuple(m.headers() or ()))
        for m in messages
    ]


async def test_librdkafka_partitions_as_we_do_once_it_is_told(cluster: OnKafka) -> None:
    topic = await new_topic(cluster.log, 7)
    dice = random.Random(7)
    letters = "aZ09-_/:. äß€😀"
    keys = {"".join(dice.choices(letters, k=dice.randint(1, 40))) for _ in range(1_000)}
    keys |= {f"vm-{n}" for n in range(1_000 - len(keys))}
    chosen: dict[str, int] = {}
    bootstrap = cluster.client["bootstrap_servers"]
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key in sorted(keys):
        producer.produce(
            topic,
            key=key.encode(),
            value=b"",
            on_delivery=lambda _, m: chosen.update({m.key().decode(): m.partition()}),
        )
    await asyncio.to_thread(producer.flush, 10)

    assert len(chosen) == 1_000
    assert chosen == {key: partition_of(key, 7) for key in keys}


async def alter(cluster: OnKafka, topic: str, **settings: str) -> None:
    admin = AIOKafkaAdminClient(**cluster.client)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in settings.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    finally:
        await admin.close()


async def test_a_limit_changed_behind_us_is_noticed(cluster: OnKafka) -> None:
    """Lowered: the broker refuses, and says so for sure. Raised: we ask again."""
    log = cluster.log
    topic = await new_topic(log, max_message_bytes="30000")
    large = [NewRecord(None, random.Random(8).randbytes(20_000))]
    await log.append(topic, 0, large)
    await alter(cluster, topic, max_message_bytes="10000")
    with pytest.raises(RecordTooLargeError):
        await log.append(topic, 0, large)
    assert await log.append(topic, 0, values("small")) == [1]

    larger = [NewRecord(None, random.Random(9).randbytes(50_000))]
    with pytest.raises(RecordTooLargeError):
        await log.append(topic, 0, larger)
    await alter(cluster, topic, max_message_bytes="60000")
    assert await log.append(topic, 0, larger) == [2]


async def test_our_topics_take_what_a_peer_s_broken_clock_says(cluster: OnKafka) -> None:
    """A peer's append time comes along into the replica topic, be it years ahead."""
    (spec,) = (s for s in topic_specs(TopicSettings()) if s.name == "dwcp.replica.state")
    spec = dataclasses.replace(spec, name=unique_topic("replica"))
    assert await cluster.log.create_topics([spec]) == []
    for hours in (2, 100_000):
        ahead_ms = time.time_ns() // 1_000_000 + hours * 3_600_000
        (at,) = await cluster.log.append(spec.name, 0, [NewRecord(None, b"", (), ahead_ms)])
        (record,) = (await cluster.log.read(spec.name, 0, at, at + 1)).records
        assert record.record_time_ms == ahead_ms


async def ask(log: KafkaLog, call: str) -> None:
    match call:
        case "append":
            await log.append("any", 0, values("a"))
        case "read":
            await log.read("any", 0, 0, 1)
        case "tail":
            await anext(log.tail("any", {0: 0}))
        case "create_topics":
            await log.create_topics(topic_specs(TopicSettings()))
        case _:
            await getattr(log, call)("any")


CALLS = ["append", "read", "tail", "create_topics", "start_offsets", "end_offsets"]


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Listen, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("call", CALLS)
async def test_a_broker_that_is_not_there_is_unavailable(call: str) -> None:
    log = KafkaLog({"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    async with asyncio.timeout(5):
        with pytest.raises(LogUnavailableError) as caught:
            await ask(log, call)
        await log.close()

    assert caught.value.is_definite
    assert caught.value.is_retryable


@pytest.mark.parametrize("call", CALLS)
async def test_a_broker_that_never_answers_is_unavailable(call: str) -> None:
    with silent_port() as port:
        client = {"bootstrap_servers": f"127.0.0.1:{port}", "request_timeout_ms": 300}
        log = KafkaLog(client)
        async with asyncio.timeout(5):
            with pytest.raises(LogUnavailableError):
                await ask(log, call)
            await log.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scapegoat(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    folder: Path = tmp_path_factory.mktemp("victim")
    async with KafkaBroker(folder, port=free_port()) as broker:
        yield broker


@pytest_asyncio.fixture(loop_scope="session")
async def victim(scapegoat: KafkaBroker) -> KafkaBroker:
    """A running broker, to be mistreated."""
    await scapegoat.start()
    return scapegoat


class Writer:
    """Appends for ever and remembers what became of each value."""

    def __init__(self, log: KafkaLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        self.acknowledged: dict[int, bytes] = {}
        self.refused: set[bytes] = set()

    async def run(self) -> None:
        number = 0
        while True:
            batch = [b"%d" % n for n in range(number, number + 3)]
            number += 3
            try:
                offsets = await self._log.append(
                    self._topic, 0, [NewRecord(None, value) for value in batch]
                )
            except LogError as error:
                if error.is_definite:
                    self.refused.update(batch)
                await asyncio.sleep(0)
            else:
                self.acknowledged.update(zip(offsets, batch, strict=True))


async def test_nothing_acknowledged_is_lost_and_nothing_comes_twice(victim: KafkaBroker) -> None:
    """SIGKILL under load, twice; a tail and a writer from before go on by themselves."""
    log = KafkaLog({"bootstrap_servers": victim.bootstrap})
    topic = await new_topic(log)
    writer = Writer(log, topic)
    tailed: list[LogRecord] = []

    async def follow() -> None:
        async for ranges in log.tail(topic, {0: 0}):
            tailed.extend(r for part in ranges for r in part.records)

    tasks = [asyncio.ensure_future(writer.run()), asyncio.ensure_future(follow())]
    for _ in range(2):
        enough = len(writer.acknowledged) + 300
        await until(lambda: len(writer.acknowledged) > enough, 30, "appends that are acknowledged")  # noqa: B023 - awaited here
        victim.kill()
        await victim.wait_died()
        await victim.start()
    last = max(writer.acknowledged) + 30
    await until(lambda: max(writer.acknowledged) > last, 30, "appends after the restart")
    await until(lambda: tailed[-1].offset > last, 30, "the tail after the restart")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await log.close()
    found = await whole(victim, topic)

    assert found == dict(sorted(found.items()))
    assert writer.acknowledged.items() <= found.items()
    assert len(set(found.values())) == len(found)
    assert not writer.refused & set(found.values())
    assert [(r.offset, r.value) for r in tailed] == list(found.items())[: len(tailed)]


async def whole(broker: KafkaBroker, topic: str) -> dict[int, bytes | None]:
    log = KafkaLog({"bootstrap_servers": broker.bootstrap})
    try:
        end = (await log.end_offsets(topic))[0]
        return {r.offset: r.value for r in (await log.read(topic, 0, 0, end)).records}
    finally:
        await log.close()


async def test_an_append_that_waits_too_long_is_unknown_and_not_sent_later(
    victim: KafkaBroker,
) -> None:
    client = {"bootstrap_servers": victim.bootstrap, "request_timeout_ms": 1_000}
    log = KafkaLog(client, append_timeout_s=1)
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    victim.kill()
    await victim.wait_died()
    async with asyncio.timeout(30):
        with pytest.raises(OutcomeUnknownError) as caught:
            await log.append(topic, 0, values("b"))
        with pytest.raises(LogUnavailableError):
            await log.append(topic, 0, values("c"))
    await victim.start()

    assert not caught.value.is_definite
    assert await log.append(topic, 0, values("d")) == [1]
    assert await whole(victim, topic) == {0: b"a", 1: b"d"}
    await log.close()


async def test_a_frozen_broker_leaves_the_outcome_open(victim: KafkaBroker) -> None:
    client = {"bootstrap_servers": victim.bootstrap, "request_timeout_ms": 1_000}
    log = KafkaLog(client, append_timeout_s=1)
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    assert victim.pid is not None
    with paused(victim.pid):
        async with asyncio.timeout(30):
            with pytest.raises(OutcomeUnknownError):
                await log.append(topic, 0, values("b"))
    await log.append(topic, 0, values("c"))

    found = list((await whole(victim, topic)).values())
    assert found in ([b"a", b"c"], [b"a", b"b", b"c"])
    await log.close()


async def test_closing_does_not_wait_for_a_dead_broker(victim: KafkaBroker) -> None:
    log = KafkaLog({"bootstrap_servers": victim.bootstrap, "request_timeout_ms": 1_000})
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    victim.kill()
    await victim.wait_died()
    appending = asyncio.ensure_future(log.append(topic, 0, values("b")))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await log.close()
        with pytest.raises(LogError):
            await appending
    await victim.start()


async def test_an_append_to_a_topic_that_nobody_names_ends_when_its_writer_is_closed(
    victim: KafkaBroker,
) -> None:
    """As after a restart, when the broker answers before it has read its topics."""
    log = KafkaLog({"bootstrap_servers": victim.bootstrap, "request_timeout_ms": 30_000})
    topic = unique_topic("unnamed")
    log._limits[topic] = 1 << 20  # so that it is the producer who asks for the topic
    writer = await log.open_writer(unique_topic("writer"))
    appending = asyncio.ensure_future(writer.append(topic, 0, values("a")))
    await until(lambda: topic in writer._producer.client._topics, 10, "it waits for the topic")

    async with asyncio.timeout(10):
        await writer.close()
        with pytest.raises(LogUnavailableError):
            await appending
    await log.close()
