"""Kill a node, kill a Kafka, in the middle of the writing: the verdict has to be the same.

Each test runs the demo's main job, with its audit, five times; the moment and the victim come
from a seed. `DWCP_KILL_SEED=7 make test-slow` repeats a run.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from dwcp.demo.cluster import ClusterSettings, DemoCluster, DemoRegion
from dwcp.demo.generator import generate
from dwcp.demo.result import DemoResult
from dwcp.demo.run import DemoPlan, Progress, run_demo

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(900)]

REGIONS = ("eu-west", "us-east", "ap-south")
CHANGES = 12_000
RATE_PER_S = 2_000.0
KILLS = 5


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[DemoCluster]:
    cluster = DemoCluster(ClusterSettings(REGIONS, tmp_path, delay_ms=5.0))
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


async def _kill_node(region: DemoRegion) -> None:
    region.kill_node()
    await region.node.wait()
    await region.start_node()


async def _kill_broker(region: DemoRegion) -> None:
    region.broker.kill()
    await region.broker.wait_died()
    await region.broker.start()


async def _run_with(
    cluster: DemoCluster, dice: random.Random, kill: Callable[[DemoRegion], Awaitable[None]]
) -> DemoResult:
    victim = cluster.regions[dice.choice(REGIONS)]
    at = dice.randint(CHANGES // 10, CHANGES * 8 // 10)
    moment = asyncio.Event()

    def show(progress: Progress) -> None:
        if progress.writers.produced >= at:
            moment.set()

    async def strike() -> None:
        await moment.wait()
        await kill(victim)

    items = list(generate("documents", CHANGES, REGIONS, dice.randint(1, 1 << 30)))
    plan = DemoPlan(items, "kills", CHANGES, RATE_PER_S, 0.0, 4)
    result, _ = await asyncio.gather(run_demo(plan, cluster, show), strike())
    return result


@pytest.mark.parametrize("kill", [_kill_node, _kill_broker])
@pytest.mark.parametrize("turn", range(KILLS))
async def test_a_kill_loses_nothing_and_repeats_nothing(
    cluster: DemoCluster, kill: Callable[[DemoRegion], Awaitable[None]], turn: int
) -> None:
    seed = int(os.environ.get("DWCP_KILL_SEED", "1")) * 100 + turn
    result = await _run_with(cluster, random.Random(seed), kill)

    print(  # noqa: T201 - the figure of this test
        f"\n{kill.__name__}, seed {seed}: {result.events} changes, {result.lost} lost, "
        f"{result.duplicates} twice, equal {result.converge_s} s after the last write"
    )
    assert result.differences == (), f"seed {seed}"
    assert (result.lost, result.duplicates) == (0, 0), f"seed {seed}"
    assert result.converged, f"seed {seed}"
    assert result.events == CHANGES
