"""Several nodes in each region: partitions shared, moved, handed over; readers ask anyone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.kafka import KafkaLog
from connectors.producer import StateProducer
from dwcp.client import get_json, get_lines
from dwcp.demo.cluster import ClusterSettings, DemoCluster, DemoRegion
from dwcp.demo.node import NodeProcess
from schemas.errors import NodeError
from streams.replication import read_origin
from streams.topics import REPLICA
from tests.faults.signals import pause, resume
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

PARTITIONS = 4
WAIT_S = 60.0


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoCluster]:
    settings = ClusterSettings(
        ("east", "west"), tmp_path_factory.mktemp("nodes"), delay_ms=2.0, node_count=2
    )
    made = DemoCluster(settings)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest.fixture
def east(cluster: DemoCluster) -> DemoRegion:
    return cluster.regions["east"]


@pytest.fixture
def west(cluster: DemoCluster) -> DemoRegion:
    return cluster.regions["west"]


async def ownership(node: NodeProcess) -> dict[str, Any]:
    found: dict[str, Any] = (await get_json(node.url, "/status"))["ownership"]
    return found


async def until_shared(nodes: list[NodeProcess], *counts: int) -> list[list[int]]:
    """Wait until the nodes hold so many partitions each, all of them together, and return which."""
    found: list[list[int]] = []

    async def are_shared() -> bool:
        found[:] = [(await ownership(node))["holds"] for node in nodes]
        is_whole = sorted(p for held in found for p in held) == list(range(PARTITIONS))
        return is_whole and sorted(map(len, found)) == sorted(counts)

    await until(are_shared, WAIT_S, f"{counts} partitions at {[n.name for n in nodes]}")
    return found


async def write(region: DemoRegion, prefix: str, count: int, value: Any) -> None:
    log = KafkaLog({"bootstrap_servers": region.broker.bootstrap})
    producer = StateProducer(log, region=region.name, name="test", partition_count=PARTITIONS)
    async with producer as states:
        stored = [await states.put(f"{prefix}{i}", {"v": value}) for i in range(count)]
        await asyncio.gather(*stored)
    await log.close()


async def documents(node: NodeProcess, prefix: str) -> dict[str, Any]:
    lines = get_lines(node.url, "/state", {"prefix": prefix})
    return {line["entity"]: line["document"]["v"] async for line in lines}


async def until_all(node: NodeProcess, prefix: str, count: int, value: Any) -> None:
    expected = {f"{prefix}{i}": value for i in range(count)}

    async def are_there() -> bool:
        try:
            return await documents(node, prefix) == expected
        except NodeError:
            return False  # partitions are moving

    await until(are_there, WAIT_S, f"{count} entities {prefix} = {value} at {node.name}")


async def assert_once_and_in_order(region: DemoRegion) -> None:
    """Check what a committed reader of the region's replica topic sees."""
    log = KafkaLog({"bootstrap_servers": region.broker.bootstrap})
    for partition, end in (await log.end_offsets(REPLICA)).items():
        last: dict[str, int] = {}
        for record in (await log.read(REPLICA, partition, 0, end)).records:
            origin = read_origin(record.headers)
            assert origin.partition == partition
            assert origin.offset > last.get(origin.region, -1)
            last[origin.region] = origin.offset
    await log.close()


async def test_nodes_share_partitions_and_each_answers_for_all(
    east: DemoRegion, west: DemoRegion
) -> None:
    held = await until_shared(east.nodes, 2, 2)
    await until_shared(west.nodes, 2, 2)
    await write(east, "a/", 40, 1)
    for node in (*east.nodes, *west.nodes):
        await until_all(node, "a/", 40, 1)
    for node in west.nodes:
        for i in range(8):
            assert (await get_json(node.url, f"/state/a/{i}"))["document"] == {"v": 1}

    owners = (await ownership(east.nodes[0]))["owners"]
    assert {p: owner["node"] for p, owner in owners.items()} == {
        str(p): node.name for node, held_ in zip(east.nodes, held, strict=True) for p in held_
    }
    assert owners == (await ownership(east.nodes[1]))["owners"]


async def test_a_watcher_at_one_node_sees_what_the_others_fold(west: DemoRegion) -> None:
    lines = get_lines(west.nodes[0].url, "/watch", {"prefix": "w/"})
    seen: set[str] = set()

    async def watch() -> None:
        async for line in lines:
            seen.add(line["entity"])

    watching = asyncio.ensure_future(watch())

    async def has_all() -> bool:
        await write(west, "w/", 12, 1)
        return len(seen) == 12

    await until(has_all, WAIT_S, "the watched entities")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_node_that_stops_hands_over_and_comes_back(
    east: DemoRegion, west: DemoRegion
) -> None:
    first, second = west.nodes
    await write(east, "b/", 40, 1)
    await until_all(first, "b/", 40, 1)
    await second.stop()
    await until_shared([first], 4)
    status = await get_json(first.url, "/status")
    assert status["restored"]["records_replayed"] <= 2  # it left snapshots
    await write(east, "b/", 40, 2)
    await until_all(first, "b/", 40, 2)

    await west.start_node(1)
    await until_shared(west.nodes, 2, 2)
    await write(east, "b/", 40, 3)
    for node in west.nodes:
        await until_all(node, "b/", 40, 3)
    await assert_once_and_in_order(west)


async def test_a_node_that_is_killed_is_replaced(east: DemoRegion, west: DemoRegion) -> None:
    first, second = west.nodes
    await write(east, "c/", 40, 1)
    first.kill()
    await write(east, "c/", 40, 2)
    await until_shared([second], 4)
    await until_all(second, "c/", 40, 2)

    await first.stop()  # lets go of what is left of it
    await west.start_node(0)
    await until_shared(west.nodes, 2, 2)
    await until_all(first, "c/", 40, 2)
    await assert_once_and_in_order(west)


async def test_a_zombie_that_wakes_up_is_shut_out_and_joins_again(
    east: DemoRegion, west: DemoRegion
) -> None:
    first, second = west.nodes
    await until_shared(west.nodes, 2, 2)
    await write(east, "d/", 40, 1)
    pid = second.process.pid
    second_before = await ownership(second)
    writing = asyncio.ensure_future(write(east, "d/", 400, 2))
    pause(pid)
    await until_shared([first], 4)
    await writing
    await write(east, "d/", 400, 3)
    resume(pid)
    await until_shared(west.nodes, 2, 2)
    for node in west.nodes:
        await until_all(node, "d/", 400, 3)
    assert second_before["holds"]
    await assert_once_and_in_order(west)
    for node in (*east.nodes, *west.nodes):
        assert (await get_json(node.url, "/status"))["contradictions"] == {}
