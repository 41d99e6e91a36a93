"""Kafka with its authorizer on: exactly the rights that we list are enough, and none too many."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from connectors.kafka import KafkaLog
from connectors.kafka_access import Access
from connectors.log import NewRecord
from connectors.producer import StateProducer
from dwcp.cli import main
from dwcp.client import NodeAccess, get_json
from dwcp.config import parse_config
from dwcp.demo.node import NodeProcess
from dwcp.securing import kafka_client
from schemas.access_errors import KafkaAccessError
from schemas.errors import NodeError
from streams import topics
from streams.kafka_access import node_access, producer_access
from streams.topics import TopicSettings, topic_specs
from tests.support.secured_kafka import (
    NODE,
    NODE_PASSWORD,
    PLAIN,
    PLAIN_PASSWORD,
    SecuredKafka,
    secured_kafka,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

REGION = "eu-west"
PARTITIONS = 2
TOKEN = "t" * 32


@pytest.fixture(scope="module")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecuredKafka]:
    async with secured_kafka(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(NODE_PASSWORD)
    return path


def client_of(section: dict[str, Any]) -> dict[str, Any]:
    return kafka_client(parse_config({"region": REGION, "kafka": section}).kafka)


@pytest.fixture
async def log(kafka: SecuredKafka, password: Path) -> AsyncIterator[KafkaLog]:
    one = KafkaLog({**client_of(kafka.config(password)), "request_timeout_ms": 5_000})
    yield one
    await one.close()


async def create_topics(kafka: SecuredKafka) -> None:
    log = KafkaLog({"bootstrap_servers": kafka.broker.bootstrap})
    await log.create_topics(topic_specs(TopicSettings(PARTITIONS)))
    await log.close()


async def test_a_node_does_all_its_work_with_exactly_the_rights_we_list(
    kafka: SecuredKafka, tmp_path: Path, password: Path
) -> None:
    """It creates its topics, folds, writes snapshots and letters; and asks over HTTP, too."""
    await kafka.allow(node_access(REGION))
    token = tmp_path / "token"
    token.write_text(TOKEN)
    node = NodeProcess("eu-west-1", tmp_path / "node")
    config = {
        "region": REGION,
        "kafka": kafka.config(password),
        "state": {"partition_count": PARTITIONS, "snapshot_interval_s": 1},
        "link": {"plain": True},
        "web": {"write_token": {"file": str(token)}, "read_token": {"file": str(token)}},
    }
    starting = asyncio.ensure_future(node.start(config))
    access = NodeAccess(TOKEN)
    try:
        await until(lambda: is_ready(node.url, access), 60, "the node")
        changes = [{"entity": f"vm-{n}", "document": {"n": n}} for n in range(50)]
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
            session.post(f"{node.url}/state", json={"changes": changes}) as answer,
        ):
            assert answer.status == 200
        await write_nonsense(kafka)
        await until(lambda: has(node.url, access, 50, letters=1), 30, "the fold and the letter")
        assert (await get_json(node.url, "/state/vm-7", access))["document"] == {"n": 7}
        await until(lambda: is_written(kafka, topics.SNAPSHOTS), 30, "a snapshot")
        await until(lambda: is_written(kafka, topics.DEADLETTER), 30, "a letter")
        with pytest.raises(NodeError, match="Bearer"):
            await get_json(node.url, "/status")
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await node.stop()
    assert node.process.exit_code == 0
    assert NODE_PASSWORD not in (tmp_path / "node" / "node.log").read_text()


async def is_ready(url: str, access: NodeAccess) -> bool:
    try:
        return bool((await get_json(url, "/status", access))["is_ready"])
    except NodeError:
        return False


async def has(url: str, access: NodeAccess, entities: int, letters: int) -> bool:
    status = await get_json(url, "/status", access)
    return (status["entities"], sum(status["deadletters"].values())) == (entities, letters)


async def write_nonsense(kafka: SecuredKafka) -> None:
    log = KafkaLog({"bootstrap_servers": kafka.broker.bootstrap})
    await log.append(topics.STATE, 0, [NewRecord(None, b"nonsense")])
    await log.close()


async def is_written(kafka: SecuredKafka, topic: str) -> bool:
    log = KafkaLog({"bootstrap_servers": kafka.broker.bootstrap})
    ends = await log.end_offsets(topic)
    await log.close()
    return sum(ends.values()) > 0


def without_each(wanted: list[Access]) -> list[tuple[list[Access], str, str]]:
    """Return the list without each single right, that right, and whose it is."""
    shorter: list[tuple[list[Access], str, str]] = []
    for at, one in enumerate(wanted):
        for gone in one.operations:
            rest = tuple(name for name in one.operations if name != gone)
            left = [replace(one, operations=rest)] if rest else []
            resource = f" on {one.kind} {one.name}:"
            shorter.append(([*wanted[:at], *left, *wanted[at + 1 :]], gone, resource))
    return shorter


async def test_each_right_that_is_missing_is_named_at_the_start(
    kafka: SecuredKafka, log: KafkaLog
) -> None:
    await create_topics(kafka)
    wanted = node_access(REGION)
    looked_at = [one for one in wanted if one.kind != "transactional-id" and not one.is_prefix]
    cases = without_each(looked_at)
    assert len(cases) > len(looked_at) > 3
    for allowed, gone, resource in cases:
        await kafka.allow(allowed)
        with pytest.raises(KafkaAccessError, match="Kafka does not allow us") as caught:
            await log.require_access(wanted)
        said = str(caught.value)
        assert gone in said
        assert resource in said
        assert said.count(" on ") == 1  # what nothing else allows to see is said as a whole
    await kafka.allow([])
    with pytest.raises(KafkaAccessError) as caught:
        await log.require_access(wanted)
    assert str(caught.value).count(" on ") == len(looked_at)
    await kafka.allow(looked_at)
    await log.require_access(wanted)


async def test_a_writer_without_its_transactional_id_is_refused_by_name(
    kafka: SecuredKafka, log: KafkaLog
) -> None:
    await kafka.allow([one for one in node_access(REGION) if one.kind != "transactional-id"])
    with pytest.raises(KafkaAccessError, match=rf"take dwcp-{REGION}-0: TransactionalId"):
        await log.open_writer(f"dwcp-{REGION}-0")
    await kafka.allow(node_access(REGION))
    writer = await log.open_writer(f"dwcp-{REGION}-0")
    await writer.close()
    with pytest.raises(KafkaAccessError, match="take dwcp-us-east-0: TransactionalId"):
        await log.open_writer("dwcp-us-east-0")  # another region's, by mistake


async def test_a_topic_that_we_may_not_create_is_named(kafka: SecuredKafka, log: KafkaLog) -> None:
    await kafka.allow([Access("topic", "new.topic", ("READ", "DESCRIBE_CONFIGS"))])
    spec = replace(topic_specs(TopicSettings())[0], name="new.topic")
    with pytest.raises(KafkaAccessError, match=r"CREATE on topic new\.topic"):
        await log.create_topics([spec])


async def test_a_service_writes_with_exactly_the_rights_we_list(
    kafka: SecuredKafka, log: KafkaLog
) -> None:
    await create_topics(kafka)
    await kafka.allow(producer_access())
    await log.require_access(producer_access())
    producer = StateProducer(log, region=REGION, name="service", partition_count=PARTITIONS)
    async with producer:
        assert (await (await producer.put("vm-1", {"n": 1}))).region == REGION
    with pytest.raises(KafkaAccessError, match="TopicAuthorizationFailed"):
        await log.append(topics.SNAPSHOTS, 0, [NewRecord(b"k", b"v")])
    with pytest.raises(KafkaAccessError):
        await log.read(topics.STATE, 0, 0, 1)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a wrong password": ({}, "wrong password", "SaslAuthenticationFailed"),
    "an unknown name": ({"username": "nobody"}, NODE_PASSWORD, "SaslAuthenticationFailed"),
    "an authority we do not trust": ({"ca": None}, NODE_PASSWORD, "CERTIFICATE_VERIFY_FAILED"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_who_is_not_let_in_is_told_why(
    case: str, kafka: SecuredKafka, tmp_path: Path
) -> None:
    changed, secret, reason = REFUSED[case]
    path = tmp_path / "secret"
    path.write_text(secret)
    log = KafkaLog(client_of(kafka.config(path, **changed)))
    with pytest.raises(KafkaAccessError, match=reason) as caught:
        await log.require_access(node_access(REGION))
    assert secret not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
async def test_each_mechanism_lets_us_in(
    mechanism: str, kafka: SecuredKafka, tmp_path: Path
) -> None:
    await create_topics(kafka)
    is_plain = mechanism == "PLAIN"
    user, secret = (PLAIN, PLAIN_PASSWORD) if is_plain else (NODE, NODE_PASSWORD)
    await kafka.allow(producer_access(), user)
    path = tmp_path / "secret"
    path.write_text(secret)
    log = KafkaLog(client_of(kafka.config(path, username=user, sasl_mechanism=mechanism)))
    await log.require_access(producer_access())
    await log.close()


async def test_commands_take_a_region_s_configuration(
    kafka: SecuredKafka, tmp_path: Path, password: Path
) -> None:
    await create_topics(kafka)
    await kafka.allow(
        [*producer_access(), Access("topic", topics.DEADLETTER, ("READ", "DESCRIBE_CONFIGS"))]
    )
    config = tmp_path / "region.yaml"
    config.write_text(json.dumps({"region": REGION, "kafka": kafka.config(password)}))
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"time_ms": 0, "entity": "vm-9", "type": "vm", "document": {}}\n')

    async def run(*words: str) -> Any:
        words = (*words, "--config", str(config), "--json")
        result = await asyncio.to_thread(CliRunner().invoke, main, list(words))
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1])

    produced = await run("produce", "--region", REGION, "--input", str(lines))
    assert (produced["stored"], produced["failed"]) == (1, 0)
    assert "count" in await run("deadletter", "list")
