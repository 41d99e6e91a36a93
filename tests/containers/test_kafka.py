"""A real Kafka in a container: our log works on it, and it keeps what it acknowledged."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer

from connectors.embedded.host import free_port
from connectors.kafka import KafkaLog
from connectors.log import NewRecord, TopicSpec
from schemas.errors import LogError
from tests.containers.engine import docker
from tests.containers.kafka import kafka_container
from tests.support.kafka import unique_topic
from tests.support.waiting import until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

READY_S = 90.0


@pytest.fixture
def volume(engine: str) -> Iterator[str]:
    name = f"dwcp-tests-{os.urandom(4).hex()}"
    docker(engine, "volume", "create", name)
    yield name
    docker(engine, "volume", "rm", name)


@contextlib.contextmanager
def running(container: DockerContainer) -> Iterator[DockerContainer]:
    try:
        yield container.start()
    finally:
        container.stop()


async def connected(port: int, topic: str) -> KafkaLog:
    """Wait for the broker, and make a topic if it is not there."""
    log = KafkaLog({"bootstrap_servers": f"127.0.0.1:{port}"})

    async def is_ready() -> bool:
        try:
            await log.create_topics([TopicSpec(topic, 2)])
        except LogError:
            return False
        return True

    await until(is_ready, READY_S, "Kafka in its container")
    return log


async def test_our_log_works_and_a_killed_container_loses_nothing(
    kafka_image: str, volume: str, engine: str
) -> None:
    port, topic = free_port(), unique_topic("container")
    with running(kafka_container(kafka_image, port, volume)) as first:
        log = await connected(port, topic)
        records = [NewRecord(b"%d" % n, b"value %d" % n, (("n", b"1"),)) for n in range(500)]
        assert await log.append(topic, 1, records) == list(range(500))
        await log.close()
        docker(engine, "kill", first.get_wrapped_container().id)
    with running(kafka_container(kafka_image, port, volume)):
        log = await connected(port, topic)
        assert await log.end_offsets(topic) == {0: 0, 1: 500}
        again = (await log.read(topic, 1, 0, 500)).records
        await log.close()

    assert [(r.key, r.value, r.headers) for r in again] == [
        (r.key, r.value, r.headers) for r in records
    ]


def test_the_image_s_files_are_those_of_the_repository(kafka_image: str, engine: str) -> None:
    if "DWCP_KAFKA_IMAGE" in os.environ:
        pytest.skip("another image was chosen")
    here = Path("docker/kafka/entrypoint.sh")
    command = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sed", kafka_image]
    inside = docker(engine, *command, "", "/kafka/entrypoint.sh")

    assert inside == (Path(__file__).parents[2] / here).read_text()
