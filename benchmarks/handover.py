"""A node joins, leaves, dies, is paused: for how long do its partitions stand still?

    python -m benchmarks.handover [--entities N] [--repeats N] [--session-timeout-s S] [--json]

One region, its Kafka and two nodes on this machine, links plain, no peers. A writer puts a change
into every partition ten times a second; a reader asks the node that lives through all of it for
each partition's newest value, twenty times a second, and that node fetches what the other one
holds. The pause of a partition is the oldest that its newest readable value ever was, from the
event until both nodes (or the one that is left) hold everything again and every partition is fresh.
Moved are the partitions whose holder changed; the others show what an event costs its bystanders.

A zombie is watched for ten seconds more: it serves readers at once, but its writers are fenced, and
it takes its partitions anew when it finds out, here within two seconds, at a snapshot.

The baseline is the same measure over five quiet seconds.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.jars import KAFKA_VERSION
from connectors.kafka import KafkaLog
from connectors.producer import StateProducer
from dwcp.demo.node import NodeProcess
from dwcp.machine import machine
from schemas.partitioning import partition_of

REGION = "eu-west"
PARTITION_COUNT = 8
WRITE_S = 0.1
READ_S = 0.05
FRESH_S = 0.5
QUIET_S = 5.0
ZOMBIE_S = 10.0
EVENT_S_MAX = 90.0

console = Console(stderr=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000, help="that stand there before")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--session-timeout-s", type=float, default=6.0)
    parser.add_argument("--heartbeat-s", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    group = {
        "session_timeout_s": options.session_timeout_s,
        "heartbeat_s": options.heartbeat_s,
        "rebalance_timeout_s": 10.0,
    }
    rows = asyncio.run(measure(options.entities, options.repeats, group))
    report = {
        "machine": machine(kafka=KAFKA_VERSION),
        "settings": group,
        "entities": options.entities,
        "partitions": PARTITION_COUNT,
        "rows": rows,
    }
    console.print(table(rows, group, options.entities))
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


class Site:
    """A broker, two nodes, a writer and a reader.

    Attributes:
        ages_s: Oldest that each partition's newest readable value was, since `begin`.
    """

    def __init__(self, folder: Path, group: dict[str, float]) -> None:
        self.broker = KafkaBroker(folder / "kafka", port=free_port())
        self.nodes = [NodeProcess(f"{REGION}-{n}", folder / f"node-{n}") for n in (1, 2)]
        self.ages_s = [0.0] * PARTITION_COUNT
        self._group = group
        self._written_s = [0.0] * PARTITION_COUNT
        self._probes = probes()

    async def start_node(self, number: int) -> None:
        """Start a node and wait until it is ready."""
        await self.nodes[number].start(
            {
                "region": REGION,
                "kafka": {"bootstrap": self.broker.bootstrap},
                "state": {"partition_count": PARTITION_COUNT, "snapshot_interval_s": 2},
                "group": self._group,
                "link": {"plain": True},
            }
        )

    async def fill(self, states: StateProducer, entities: int) -> None:
        """Write what stands there before."""
        for n in range(entities):
            await states.put(f"vm-{n}", {"power": "on", "host": f"node-{n % 97}", "n": n})
        await states.flush()

    async def write(self, states: StateProducer) -> None:
        """Put a change into every partition, again and again."""
        while True:
            stored = [await states.put(name, {"at_s": time.monotonic()}) for name in self._probes]
            await asyncio.gather(*stored)
            await asyncio.sleep(WRITE_S)

    async def read(self, session: aiohttp.ClientSession, partition: int) -> None:
        """Note how old a partition's newest readable value is, again and again."""
        url = f"{self.nodes[0].url}/state/{self._probes[partition]}"
        newest_s = time.monotonic()
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.ok:
                        newest_s = max(newest_s, (await answer.json())["document"]["at_s"])
            except (aiohttp.ClientError, TimeoutError):
                pass  # it shows as age
            self._written_s[partition] = newest_s
            self.ages_s[partition] = max(self.ages_s[partition], time.monotonic() - newest_s)
            await asyncio.sleep(READ_S)

    def begin(self) -> None:
        """Forget all ages."""
        self.ages_s = [0.0] * PARTITION_COUNT

    @property
    def is_fresh(self) -> bool:
        """Whether every partition's newest readable value is young."""
        now_s = time.monotonic()
        return all(now_s - at_s < FRESH_S for at_s in self._written_s)

    async def holders(self, count: int) -> list[int]:
        """Wait until so many nodes hold everything; returns who holds each partition."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(EVENT_S_MAX):
            while True:
                found = [await _holds(session, node) for node in self.nodes[:count]]
                if sorted(p for held in found for p in held) == list(range(PARTITION_COUNT)):
                    return [
                        next(n for n, h in enumerate(found) if p in h)
                        for p in range(PARTITION_COUNT)
                    ]
                await asyncio.sleep(READ_S)


async def _holds(session: aiohttp.ClientSession, node: NodeProcess) -> list[int]:
    try:
        async with session.get(f"{node.url}/status", timeout=aiohttp.ClientTimeout(1)) as answer:
            held: list[int] = (await answer.json())["ownership"]["holds"]
            return held
    except (aiohttp.ClientError, TimeoutError):
        return []


def probes() -> list[str]:
    """Return an entity of each partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITION_COUNT:
        name = f"probe-{number}"
        found.setdefault(partition_of(name, PARTITION_COUNT), name)
        number += 1
    return [found[p] for p in range(PARTITION_COUNT)]


async def measure(entities: int, repeats: int, group: dict[str, float]) -> list[dict[str, Any]]:
    """Let every event happen, and return the pauses by event."""
    pauses: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), group)
        await site.broker.start()
        log = KafkaLog({"bootstrap_servers": site.broker.bootstrap})
        tasks: list[asyncio.Task[None]] = []
        try:
            await site.start_node(0)
            producer = StateProducer(
                log, region=REGION, name="bench", partition_count=PARTITION_COUNT
            )
            timeout = aiohttp.ClientTimeout(total=2)
            async with producer as states, aiohttp.ClientSession(timeout=timeout) as session:
                await site.fill(states, entities)
                tasks = [asyncio.ensure_future(site.write(states))]
                tasks += [
                    asyncio.ensure_future(site.read(session, p)) for p in range(PARTITION_COUNT)
                ]
                await repeat_all(site, repeats, pauses)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await asyncio.gather(*(node.stop() for node in site.nodes))
            await log.close()
            await site.broker.stop()
    return [
        {"event": event, "partitions": which, **summary(found)}
        for event, by_kind in pauses.items()
        for which, found in by_kind.items()
        if found
    ]


async def repeat_all(site: Site, repeats: int, pauses: dict[str, dict[str, list[float]]]) -> None:
    """Join, stop, join, die, join, be paused and wake up; so many times."""
    second = site.nodes[1]

    async def quiet() -> None:
        await asyncio.sleep(QUIET_S)

    async def join() -> None:
        await site.start_node(1)

    async def kill() -> None:
        second.kill()
        await second.stop()  # lets go of what is left of it

    async def pause() -> None:
        os.kill(second.process.pid, signal.SIGSTOP)

    async def wake() -> None:
        os.kill(second.process.pid, signal.SIGCONT)
        await asyncio.sleep(ZOMBIE_S)

    events: list[tuple[str, Callable[[], Awaitable[None]], int]] = [
        ("nothing (baseline)", quiet, 1),
        ("joins", join, 2),
        ("stops in order (SIGTERM)", second.stop, 1),
        ("joins", join, 2),
        ("dies (SIGKILL)", kill, 1),
        ("joins", join, 2),
        ("is paused (SIGSTOP)", pause, 1),
        ("wakes up as a zombie (SIGCONT)", wake, 2),
        ("stops in order (SIGTERM)", second.stop, 1),
    ]
    before = await site.holders(1)
    for number in range(repeats):
        for name, event, count in events:
            await _until_fresh(site)
            site.begin()
            await event()
            after = await site.holders(count)
            await _until_fresh(site)
            by_kind = pauses.setdefault(name, {"moved": [], "stayed": []})
            for partition in range(PARTITION_COUNT):
                kind = "stayed" if before[partition] == after[partition] else "moved"
                by_kind[kind].append(site.ages_s[partition])
            console.print(f"{number + 1}: {name}", style="dim")
            before = after


async def _until_fresh(site: Site) -> None:
    async with asyncio.timeout(EVENT_S_MAX):
        while not site.is_fresh:  # noqa: ASYNC110 - readers note it, twenty times a second
            await asyncio.sleep(READ_S)


def summary(pauses_s: list[float]) -> dict[str, float]:
    """Return the figures of one kind of event."""
    return {
        "count": len(pauses_s),
        "p50_s": round(statistics.median(pauses_s), 3),
        "min_s": round(min(pauses_s), 3),
        "worst_s": round(max(pauses_s), 3),
    }


def table(rows: list[dict[str, Any]], group: dict[str, float], entities: int) -> Table:
    """Draw the rows."""
    settings = ", ".join(f"group.{name}={value:g}" for name, value in group.items())
    title = f"pause of a partition; {entities:,} entities, {PARTITION_COUNT} partitions, {settings}"
    drawn = Table(title=title, title_justify="left", box=None)
    for name in ("a node", "partitions that", "count", "p50 s", "least s", "worst s"):
        drawn.add_column(name, justify="left" if name.endswith(("node", "that")) else "right")
    for row in rows:
        figures = (f"{row[name]:.2f}" for name in ("p50_s", "min_s", "worst_s"))
        drawn.add_row(row["event"], row["partitions"], str(row["count"]), *figures)
    return drawn


if __name__ == "__main__":
    main()
