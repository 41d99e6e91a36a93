"""One run: load, strikes, settling, judgement."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from confluent_kafka import KafkaException

from dwcp.demo.cluster import ClusterSettings, DemoCluster
from tests.faults.proxy import FaultyLink
from tests.faults.schedule import Strike, schedule, tally
from tests.kills import topics
from tests.kills.checker import KINDS, Verdict, judge
from tests.kills.history import Entities, Seen, Write
from tests.kills.model import canonical
from tests.kills.victims import Victims
from tests.kills.writers import HttpWriter, KafkaWriter
from tests.support.waiting import pause_s

REGIONS: Final = ("eu-west", "us-east", "ap-south")
AT_ONCE_MAX: Final = 2
PAUSE_S: Final = (0.2, 3.0)
WARM_UP_S: Final = 2.0
_RECHECK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        kills: How many faults.
        seed: Of everything that is drawn.
        region_count: Regions, 2 or 3.
        node_count: Nodes in each.
        rate_per_s: Changes a second of the Kafka writers together.
        posts_per_s: HTTP posts a second of the HTTP writers together.
        settle_s: How long all may take to get equal at the end.
    """

    kills: int
    seed: int
    region_count: int = 2
    node_count: int = 2
    rate_per_s: float = 200.0
    posts_per_s: float = 10.0
    settle_s: float = 60.0


class Load:
    """All writers of a run."""

    def __init__(self, plan: Plan, cluster: DemoCluster) -> None:
        count = len(cluster.regions)
        self._stop = asyncio.Event()
        self._kafka = [
            KafkaWriter(f"k-{name}", name, address, plan.rate_per_s / count, plan.seed * 10 + n)
            for n, (name, address) in enumerate(cluster.bootstraps.items())
        ]
        self._http = [
            HttpWriter(
                f"h-{name}",
                name,
                [node.url for node in region.nodes],
                plan.posts_per_s / count,
                plan.seed * 10 + 5 + n,
            )
            for n, (name, region) in enumerate(cluster.regions.items())
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def writes(self) -> list[Write]:
        """What they all did so far."""
        lists = [*(one.writes for one in self._kafka), *(one.writes for one in self._http)]
        return [write for writes in lists for write in writes]

    def start(self) -> None:
        """Start them."""
        for writer in self._kafka:
            writer.start()
        self._tasks = [asyncio.create_task(writer.run(self._stop)) for writer in self._http]

    async def stop(self) -> None:
        """Stop them and wait until each knows the outcome of its writes, or never will."""
        self._stop.set()
        for writer in self._kafka:
            writer.stop()
        await asyncio.gather(*self._tasks)
        for writer in self._kafka:
            await asyncio.to_thread(writer.join)


async def run(plan: Plan, folder: Path, show: Callable[[str], None]) -> dict[str, Any]:
    """Run a plan and return its report; `violations` are what must not be.

    Args:
        plan: What to do.
        folder: Where the regions keep their files.
        show: Told how it goes on.
    """
    settings = ClusterSettings(REGIONS[: plan.region_count], folder, node_count=plan.node_count)
    cluster = DemoCluster(settings, lambda port: FaultyLink("127.0.0.1", port, delay_ms=5.0))
    try:
        await cluster.start()
        return await _run(plan, cluster, show)
    finally:
        await cluster.stop()


async def _run(plan: Plan, cluster: DemoCluster, show: Callable[[str], None]) -> dict[str, Any]:
    victims, load = Victims(cluster, plan.seed), Load(plan, cluster)
    strikes = list(schedule(plan.seed, plan.kills, victims.faults, PAUSE_S))
    began_s = time.monotonic()
    supervising = asyncio.create_task(victims.supervise())
    load.start()
    try:
        await pause_s(WARM_UP_S)
        await _strike_all(victims, strikes, show)
    finally:
        await load.stop()
    stopped_s = time.monotonic()
    show(f"{len(load.writes):,} writes; waiting until all regions are equal")
    verdict, settled_s = await _settle(plan, cluster, load.writes, show)
    supervising.cancel()
    await asyncio.wait([supervising])
    seconds = stopped_s - began_s
    return _report(plan, strikes, load.writes, verdict, victims) | {
        "seconds": round(seconds, 1),
        "equal_s": None if settled_s is None else round(settled_s - stopped_s, 1),
    }


async def _strike_all(victims: Victims, strikes: list[Strike], show: Callable[[str], None]) -> None:
    """Let strikes fall one after the other; a second one may fall before the first is repaired."""
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(strike: Strike) -> None:
        async with room:
            began_s = time.monotonic()
            await victims.strike(strike)
            took_s = time.monotonic() - began_s
            show(f"{strike.number + 1:4} {strike.fault} {strike.victim}, repaired: {took_s:.1f} s")

    async with asyncio.TaskGroup() as tasks:
        for strike in strikes:
            await pause_s(strike.after_s)
            async with room:
                pass  # do not run ahead of the repairs
            tasks.create_task(one(strike))


async def _settle(
    plan: Plan, cluster: DemoCluster, writes: list[Write], show: Callable[[str], None]
) -> tuple[Verdict, float | None]:
    """Judge again and again until all is well, or the time is over."""
    deadline_s = time.monotonic() + plan.settle_s
    verdict = Verdict()
    while True:
        now_s = time.monotonic()
        try:
            verdict = await asyncio.to_thread(judge, await _look(cluster, writes))
        except (KafkaException, ValueError, aiohttp.ClientError) as error:
            verdict = Verdict()
            verdict.note("unequal", f"cannot be read: {error}")
        if verdict.is_good:
            return verdict, now_s
        if time.monotonic() > deadline_s:
            return verdict, None
        show("not yet: " + ", ".join(f"{k} {n}" for k in KINDS if (n := getattr(verdict, k))))
        await pause_s(_RECHECK_S)


async def _look(cluster: DemoCluster, writes: list[Write]) -> Seen:
    seen = Seen(writes)
    for name, region in cluster.regions.items():
        address = region.broker.bootstrap
        seen.logs[name] = await asyncio.to_thread(topics.read_state, address)
        seen.replicas[name] = await asyncio.to_thread(topics.read_replica, address)
        for node in region.nodes:
            seen.states[node.name] = await _entities(node.url)
    return seen


async def _entities(url: str) -> Entities:
    found: Entities = {}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/state") as answer:
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"{url}/state: {answer.status} {await answer.text()}")
        async for text in answer.content:
            line = json.loads(text)
            if "error" in line:  # the answer had begun: a partition moved, or its node is gone
                raise ValueError(f"{url}/state: {line['error']}")
            found[line["entity"]] = line["type"], canonical(line["document"])
    return found


def _report(
    plan: Plan, strikes: list[Strike], writes: list[Write], verdict: Verdict, victims: Victims
) -> dict[str, Any]:
    outcomes = {"acknowledged": 0, "refused": 0, "unknown": 0}
    for write in writes:
        outcomes[write.outcome] += 1
    notes = victims.notes
    return {
        "kills": len(strikes),
        "seed": plan.seed,
        "regions": plan.region_count,
        "nodes_per_region": plan.node_count,
        "faults": dict(sorted(tally(strikes).items())),
        "writes": outcomes,
        **verdict.to_json(),
        "back_s": {
            fault: {"p50": sorted(took)[len(took) // 2], "max": max(took)}
            for fault, took in sorted(notes.back_s.items())
        },
        "ended_unasked": notes.ended,
        "failed_starts": notes.failed_starts,
        "resident_mib": {n: round(mib, 1) for n, mib in sorted(notes.resident_mib.items())},
    }
