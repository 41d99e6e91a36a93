"""A real Apache Kafka as our child: it answers, dies aloud, keeps its records, leaves no orphan."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.ready import answers
from schemas.errors import BrokerDiedError, BrokerStartError, PortInUseError
from tests.support.kafka import free_port, unique_topic
from tests.support.waiting import is_gone, until, wait_until

pytestmark = pytest.mark.broker

TOPIC = unique_topic("embedded")


@asynccontextmanager
async def admin_of(broker: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def produce(broker: KafkaBroker, count: int) -> None:
    async with admin_of(broker) as admin:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True
    ) as producer:
        for n in range(count):
            await producer.send_and_wait(TOPIC, b"%d" % n, partition=0)


async def read(broker: KafkaBroker, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(TOPIC, 0)])
        async with asyncio.timeout(10):
            return [(await consumer.getone()).value or b"" for _ in range(count)]


async def test_a_broker_gives_back_what_it_took(kafka_broker: KafkaBroker) -> None:
    await produce(kafka_broker, 3)

    assert await read(kafka_broker, 3) == [b"0", b"1", b"2"]


async def test_a_killed_broker_is_reported_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path / "Ünïcode, with comma", port=free_port())
    async with broker:
        pid = broker.pid
        watch = asyncio.ensure_future(broker.wait_died())
        await produce(broker, 20)
        broker.kill()
        async with asyncio.timeout(5):
            error = await watch

        assert isinstance(error, BrokerDiedError)
        assert "exit code 137 (signal 9)" in str(error)
        assert broker.pid is None
        assert pid is not None
        assert is_gone(pid)

        again = KafkaBroker(broker.data_dir, port=free_port())  # other ports, the same data
        async with again:
            assert await read(again, 20) == [b"%d" % n for n in range(20)]


async def test_an_asked_stop_is_no_death(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path, port=free_port())
    await broker.start()
    watch = asyncio.ensure_future(broker.wait_died())
    await asyncio.gather(broker.stop(), broker.stop())
    done, _ = await asyncio.wait([watch], timeout=0.1)
    watch.cancel()

    assert not done
    assert not broker.is_running


async def test_a_taken_port_or_folder_is_told_before_anything_starts(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    port = kafka_broker.port
    with pytest.raises(PortInUseError, match=f"port {port} .*choose another port"):
        await KafkaBroker(tmp_path, port=port).start()
    with pytest.raises(PortInUseError, match=f"port {port} "):
        await KafkaBroker(tmp_path, port=free_port(), controller_port=port).start()
    with pytest.raises(BrokerStartError, match="in use by another broker"):
        await KafkaBroker(kafka_broker.data_dir, port=free_port()).start()

    assert kafka_broker.is_running


async def test_a_failed_start_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    port = free_port()
    bad = KafkaBroker(tmp_path, port=port, settings={"num.io.threads": "0"})
    with pytest.raises(BrokerStartError, match=r"ended .* exit code 1(.|\n)*num\.io\.threads"):
        await bad.start()
    assert not bad.is_running

    slow = KafkaBroker(tmp_path, port=port, start_timeout_s=0.1)
    with pytest.raises(BrokerStartError, match=r"did not answer within 0\.1 s"):
        await slow.start()
    assert not slow.is_running

    cancelled = KafkaBroker(tmp_path, port=port)
    start = asyncio.ensure_future(cancelled.start())
    await until(lambda: cancelled.pid is not None, 10, "the process")
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not cancelled.is_running


async def test_a_stranger_on_the_port_does_not_pass_for_our_broker(
    kafka_broker: KafkaBroker,
) -> None:
    assert not await answers(kafka_broker.port, "another-cluster")
    assert not await answers(free_port(), "any")


OWNER = """
import asyncio, sys
from pathlib import Path
from connectors.embedded.broker import KafkaBroker

async def main():
    broker = KafkaBroker(Path(sys.argv[1]), port=int(sys.argv[2]))
    await broker.start()
    print(broker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_orphan_is_left_by_an_owner_that_is_killed(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", OWNER, str(tmp_path), str(free_port())]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path.cwd()) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not is_gone(pid)
        owner.send_signal(signal.SIGKILL)
        wait_until(lambda: is_gone(pid), 10, "the broker of a killed owner to end")

    assert owner.returncode == -signal.SIGKILL
