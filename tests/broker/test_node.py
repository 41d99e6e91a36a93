"""Two regions end to end: real Kafkas, real node processes, a real link."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from connectors.kafka import KafkaLog
from connectors.log import NewRecord
from connectors.producer import StateProducer
from dwcp.cli import main
from dwcp.client import get_json, get_lines
from dwcp.demo.cluster import ClusterSettings, DemoCluster, DemoRegion
from schemas.changes import StateChange
from schemas.errors import NodeError, RecordTooLargeError
from schemas.partitioning import partition_of
from schemas.registry import encode_event
from streams.topics import STATE
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

PARTITIONS = 4


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoCluster]:
    settings = ClusterSettings(("east", "west"), tmp_path_factory.mktemp("cluster"), delay_ms=2.0)
    cluster = DemoCluster(settings)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


@pytest.fixture
def east(cluster: DemoCluster) -> DemoRegion:
    return cluster.regions["east"]


@pytest.fixture
def west(cluster: DemoCluster) -> DemoRegion:
    return cluster.regions["west"]


def change(entity: str, **other: Any) -> StateChange:
    made: StateChange = {
        "change_id": f"test/{entity}",
        "entity_id": entity,
        "entity_type": "vm",
        "operation": "put",
        "document": '{"is":"well"}',
        "deltas": [],
        "hybrid_timestamp": None,
        "origin_region": "east",
    }
    return made | other  # type: ignore[return-value] # tests also break it


async def post(region: DemoRegion, body: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{region.url}/state", data=io.BytesIO(json.dumps(body).encode())) as answer,
    ):
        return answer.status, await answer.json()


async def document(region: DemoRegion, entity: str) -> Any:
    try:
        return (await get_json(region.url, f"/state/{entity}"))["document"]
    except NodeError:
        return None


async def until_document(region: DemoRegion, entity: str, expected: Any) -> None:
    async def is_there() -> bool:
        return bool(await document(region, entity) == expected)

    await until(is_there, 30, f"{entity} = {expected} in {region.name}")


async def until_count(region: DemoRegion, prefix: str, count: int) -> None:
    async def all_there() -> bool:
        lines = get_lines(region.url, "/state", {"prefix": prefix})
        return len([line async for line in lines]) == count

    await until(all_there, 30, f"{count} entities {prefix} in {region.name}")


async def dead_letters(region: DemoRegion) -> dict[str, int]:
    found: dict[str, int] = (await get_json(region.url, "/status"))["deadletters"]
    return found


async def append_raw(region: DemoRegion, entity: str, value: bytes | None) -> None:
    """Append to the partition of `entity` without any check of ours, compressed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=region.broker.bootstrap,
        compression_type="zstd",
        max_request_size=32 << 20,
    )
    await producer.start()
    try:
        partition = partition_of(entity, PARTITIONS)
        await producer.send_and_wait(STATE, value, entity.encode(), partition=partition)
    finally:
        await producer.stop()


async def test_a_change_stands_merged_in_the_other_region(
    east: DemoRegion, west: DemoRegion
) -> None:
    status, answer = await post(east, {"entity": "a/1", "type": "vm", "document": {"n": 1}})
    await until_document(west, "a/1", {"n": 1})
    await post(west, {"entity": "a/1", "patch": {"/m/x": [2]}, "remove": ["/n"]})
    await until_document(east, "a/1", {"m": {"x": [2]}})
    await post(east, {"entity": "a/1", "document": None})
    await until_document(west, "a/1", None)

    assert status == 200
    assert answer["stored"][0]["region"] == "east"


async def test_a_watcher_sees_what_the_other_region_writes(
    east: DemoRegion, west: DemoRegion
) -> None:
    lines = get_lines(west.url, "/watch", {"prefix": "watched"})
    first = asyncio.ensure_future(anext(lines))

    async def writes() -> bool:
        await post(east, {"entity": "watched", "type": "vm", "document": {"at": "last"}})
        return first.done()

    await until(writes, 30, "a watched change")

    assert (await first)["document"] == {"at": "last"}
    await lines.aclose()


async def test_bad_records_become_dead_letters_and_their_neighbours_go_on(
    east: DemoRegion, west: DemoRegion
) -> None:
    before = await dead_letters(east)
    far_ahead = (time.time_ns() // 1_000_000 + 60_000) << 16
    batch = {
        "producer": "test",
        "changes": [
            change("b/1", origin_region="nowhere"),
            change("b/1", hybrid_timestamp=far_ahead),
            change("b/1", document="no json"),
            change("b/1"),
        ],
    }
    elsewhere = next(e for e in map(str, range(99)) if partition_of(e, PARTITIONS) != 0)
    await append_raw(east, "b/1", b"poison")
    await append_raw(east, "b/1", None)
    await append_raw(east, "b/1", b"\xc3\x01nobodys!" + b"x")
    await append_raw(east, "b/1", encode_event("StateChange", dict(change("b/1")))[:-3])
    await append_raw(east, "b/1", encode_event("StateBatch", batch))
    log = KafkaLog({"bootstrap_servers": east.broker.bootstrap})
    misplaced = encode_event("StateChange", dict(change(elsewhere)))
    await log.append(STATE, 0, [NewRecord(None, misplaced)])
    await log.close()

    await until_document(west, "b/1", {"is": "well"})

    expected = {
        "MalformedEvent": 3,
        "UnknownSchema": 1,
        "WrongEventType": 1,
        "WrongPartition": 1,
        "WrongRegion": 1,
        "ClockAhead": 1,
    }

    async def all_buried() -> bool:
        now = await dead_letters(east)
        return {r: now[r] - before.get(r, 0) for r in expected if r in now} == expected

    await until(all_buried, 30, "the dead letters")
    command = ["deadletter", "list", "--bootstrap", east.broker.bootstrap, "--json"]
    listed = json.loads((await asyncio.to_thread(CliRunner().invoke, main, command)).stdout)
    assert {letter["reason"] for letter in listed["letters"]} >= set(expected)
    poison = next(letter for letter in listed["letters"] if letter["value"] == "poison")
    assert "single-object header" in poison["detail"]


async def test_a_record_of_5_mb_is_refused_by_name(east: DemoRegion, west: DemoRegion) -> None:
    status, answer = await post(east, {"entity": "c/1", "document": {"x": "y" * 5_000_000}})
    log = KafkaLog({"bootstrap_servers": east.broker.bootstrap})
    producer = StateProducer(log, region="east", name="test", partition_count=PARTITIONS)
    async with producer as states:
        large = await states.put("c/1", {"x": "y" * 5_000_000})
        neighbour = await states.put("c/1", {"x": "small"})
        await neighbour
        with pytest.raises(RecordTooLargeError, match=r"max\.message\.bytes"):
            await large
    await log.close()
    await until_document(west, "c/1", {"x": "small"})

    assert (status, answer["error"]["reason"]) == (413, "BodyTooLarge")


async def test_a_strangers_compressed_5_mb_cross_the_link_and_9_mb_are_buried(
    east: DemoRegion, west: DemoRegion
) -> None:
    """Zstd makes both small enough for the topic; the link takes records up to 8 MiB."""
    for entity, size in (("d/5", 5_000_000), ("d/9", 9_000_000)):
        text = json.dumps({"x": "y" * size})
        await append_raw(
            east, entity, encode_event("StateChange", dict(change(entity, document=text)))
        )
    await append_raw(east, "d/9", encode_event("StateChange", dict(change("d/9"))))

    await until_document(west, "d/9", {"is": "well"})
    found = await document(west, "d/5")
    assert len(found["x"]) == 5_000_000
    assert (await dead_letters(east))["RecordTooLarge"] == 1


async def test_a_restart_goes_on_from_snapshot_and_cursor(
    east: DemoRegion, west: DemoRegion
) -> None:
    changes = [{"entity": f"e/{i}", "document": {"i": i}} for i in range(200)]
    await post(east, {"changes": changes})
    await until_count(west, "e/", 200)
    await west.stop_node()
    await post(east, {"entity": "e/0", "document": {"i": "while you were away"}})
    await west.start_node()
    await until_document(west, "e/0", {"i": "while you were away"})

    status = await get_json(west.url, "/status")
    assert status["restored"]["entities"] >= 200
    assert status["restored"]["records_replayed"] == 0
    assert await document(west, "e/42") == {"i": 42}


async def test_commands_work_on_a_running_region(
    east: DemoRegion, west: DemoRegion, tmp_path: Path
) -> None:
    lines = [
        {"time_ms": 0, "entity": f"f/{i}", "type": "pod", "document": {"i": i}} for i in range(50)
    ]
    path = tmp_path / "pods.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    async def run(*command: str) -> dict[str, Any]:
        result = await asyncio.to_thread(CliRunner().invoke, main, [*command, "--json"])
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return answer

    bootstrap = ("--bootstrap", east.broker.bootstrap)
    produced = await run("produce", "--region", "east", "--input", str(path), *bootstrap)
    await until_count(west, "f/", 50)
    dumped = await run("state", "dump", "--type", "pod", "--url", west.url)
    got = await run("state", "get", "f/7", "--url", west.url)
    status = await run("status", "--url", east.url, "--url", west.url)

    assert (produced["stored"], produced["failed"]) == (50, 0)
    assert dumped["entities"] == 50
    assert got["document"] == {"i": 7}
    assert [node["region"] for node in status["nodes"]] == ["east", "west"]


@pytest.mark.parametrize("path", ["/", "/state", "/stats", "/table", "/router", "/graph", "/no"])
async def test_every_page_is_guarded_faust_s_own_too(east: DemoRegion, path: str) -> None:
    """An open node answers its own machine, but no name that somebody pointed at it."""
    async with aiohttp.ClientSession() as session:
        async with session.get(east.url + path, headers={"Host": "example.invalid"}) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["reason"] == "Forbidden"
        async with session.get(east.url + path) as answer:
            assert answer.status != 403


async def test_metrics_can_be_read_by_prometheus(east: DemoRegion) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{east.url}/metrics") as answer,
    ):
        families = {f.name for f in text_string_to_metric_families(await answer.text())}

    assert {"dwcp_entities", "dwcp_link_up", "dwcp_changes_folded", "dwcp_deadletters"} <= families
