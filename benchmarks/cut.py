"""A region is cut off for a minute under load: who pays, in memory, in delay, in time?

    python -m benchmarks.cut [--cut 60] [--rate 300] [--regions 3] [--mbit 20] [--rtt 100] [--json]

Regions on this machine, each with a real Kafka and a node; links of so many Mbit/s and ms. One
stock producer a region (librdkafka, acks=all), each a process of its own, writes documents at a
steady rate and notes how long each took to be acknowledged. After 20 s all links of the last region
are cut, both ways; then they are healed, and it goes on until 20 s after everybody holds what
stood in the logs at the healing.

The report has the producers' p50 and p99 before, during and after the cut, the resident memory of
every process over time, and how long catching up took beside what the wire alone asks for: the
bytes that the busiest link carried meanwhile, over its rate.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.cut_producer import ENTITIES, read_latencies
from connectors.embedded.jars import KAFKA_VERSION
from connectors.embedded.process import GuardedProcess
from connectors.kafka import KafkaLog
from dwcp.client import get_json
from dwcp.demo.cluster import ClusterSettings, DemoCluster
from schemas.errors import NodeError
from streams.topics import STATE

REGIONS = ("eu-west", "us-east", "ap-south")
STEADY_S = 20.0
WARM_UP_S = 10.0
CATCH_UP_MAX_S = 300.0
SAMPLE_S = 1.0
POLL_S = 0.2

console = Console(stderr=True)
Vector = dict[str, dict[int, int]]


@dataclass(slots=True)
class Run:
    """What is noted while it goes on; all times are of the monotonic clock.

    Attributes:
        marks: When each phase began.
        samples: Time and resident MiB of each process.
        wire_bytes: What each link had carried then.
        backlog_records: Changes written during the cut.
    """

    cluster: DemoCluster
    marks: dict[str, float] = field(default_factory=dict)
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    wire_bytes: dict[str, list[int]] = field(default_factory=dict)
    backlog_records: int = 0

    def mark(self, phase: str) -> None:
        """Begin a phase."""
        self.marks[phase] = time.monotonic()
        links = [link for links in self.cluster.links.values() for link in links]
        self.wire_bytes[phase] = [link.forward_bytes for link in links]
        console.log(phase)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cut", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=300.0, help="changes a second, all regions")
    parser.add_argument("--regions", type=int, choices=(2, 3), default=3)
    parser.add_argument("--mbit", type=float, default=20.0, help="of each link, each way")
    parser.add_argument("--rtt", type=float, default=100.0, help="milliseconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(run(options))
    for table in tables(report):
        console.print(table)
    console.print(_summary(report))
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, cut, heal, measure."""
    with tempfile.TemporaryDirectory(prefix="dwcp-cut-") as name:
        folder = Path(name)
        settings = ClusterSettings(
            REGIONS[: options.regions],
            folder,
            delay_ms=options.rtt / 2,
            rate_bytes_per_s=options.mbit * 125_000,
        )
        cluster = DemoCluster(settings)
        try:
            await cluster.start()
            noted = Run(cluster)
            async with _producers(cluster, folder, options.rate), _sampling(noted):
                await _phases(noted, options.cut)
            latencies = {r: read_latencies(folder / f"{r}.latencies") for r in cluster.regions}
        finally:
            await cluster.stop()
    return _report(options, noted, latencies)


async def _phases(noted: Run, cut_s: float) -> None:
    cluster, region = noted.cluster, list(noted.cluster.regions)[-1]
    noted.mark("warm-up")
    await asyncio.sleep(WARM_UP_S)
    noted.mark("before")
    await asyncio.sleep(STEADY_S)
    before = await _ends(cluster)
    noted.mark("cut")
    cluster.cut(region)
    await asyncio.sleep(cut_s)
    ends = await _ends(cluster)
    noted.backlog_records = _count(ends) - _count(before)
    noted.mark("catching up")
    cluster.heal(region)
    async with asyncio.timeout(CATCH_UP_MAX_S):
        await _until_covered(cluster, ends)
    noted.mark("after")
    await asyncio.sleep(STEADY_S)
    noted.mark("end")


async def _ends(cluster: DemoCluster) -> Vector:
    ends: Vector = {}
    for name, bootstrap in cluster.bootstraps.items():
        log = KafkaLog({"bootstrap_servers": bootstrap})
        ends[name] = await log.end_offsets(STATE)
        await log.close()
    return ends


def _count(ends: Vector) -> int:
    return sum(sum(positions.values()) for positions in ends.values())


async def _until_covered(cluster: DemoCluster, ends: Vector) -> None:
    """Wait until every region has folded every log up to `ends`."""
    for url in cluster.urls.values():
        while not await _covers(url, ends):  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(POLL_S)


async def _covers(url: str, ends: Vector) -> bool:
    try:
        vector = (await get_json(url, "/status"))["vector"]
    except NodeError:
        return False
    return all(
        vector.get(origin, {}).get(str(partition), 0) >= end
        for origin, positions in ends.items()
        for partition, end in positions.items()
    )


@contextlib.asynccontextmanager
async def _producers(cluster: DemoCluster, folder: Path, rate: float) -> AsyncIterator[None]:
    """Run a producer process a region; stopping them makes them write what they measured."""
    running = []
    try:
        for number, (name, bootstrap) in enumerate(cluster.bootstraps.items()):
            arguments = [name, bootstrap, str(rate / len(cluster.regions)), str(number)]
            command = [sys.executable, "-m", "benchmarks.cut_producer", *arguments]
            out = str(folder / f"{name}.latencies")
            running.append(await GuardedProcess.start([*command, out], stop_timeout_s=90.0))
        yield
    finally:
        codes = await asyncio.gather(*(process.stop() for process in running))
    assert not any(codes), f"a producer failed: {codes}"


@contextlib.asynccontextmanager
async def _sampling(noted: Run) -> AsyncIterator[None]:
    async def sample() -> None:
        processes = _processes(noted.cluster)
        while True:
            mib = {name: p.memory_info().rss / (1 << 20) for name, p in processes.items()}
            noted.samples.append((time.monotonic(), mib))
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])


def _processes(cluster: DemoCluster) -> dict[str, psutil.Process]:
    found = {}
    for name, region in cluster.regions.items():
        found[f"{name} Kafka"] = psutil.Process(region.broker.pid)
        for node in region.nodes:
            found[f"{name} node"] = psutil.Process(node.process.pid)
    return found


def _report(
    options: argparse.Namespace, noted: Run, latencies: Mapping[str, Sequence[tuple[float, float]]]
) -> dict[str, Any]:
    marks = noted.marks
    phases = [("before", "cut"), ("cut", "catching up"), ("catching up", "after"), ("after", "end")]
    catch_up_s = marks["after"] - marks["catching up"]
    counts = zip(noted.wire_bytes["catching up"], noted.wire_bytes["after"], strict=True)
    busiest = max(last - first for first, last in counts)
    return {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "kafka": KAFKA_VERSION,
        },
        "cut_s": options.cut,
        "rate_per_s": options.rate,
        "link": {"mbit_s": options.mbit, "rtt_ms": options.rtt},
        "entities": ENTITIES,
        "produce_ms": {
            region: {first: _quantiles(found, marks[first], marks[last]) for first, last in phases}
            for region, found in latencies.items()
        },
        "resident_mib": {
            process: {
                first: _memory(noted, process, marks[first], marks[last]) for first, last in phases
            }
            for process in noted.samples[0][1]
        },
        "backlog_changes": noted.backlog_records,
        "catch_up_s": round(catch_up_s, 2),
        "busiest_link_mib": round(busiest / (1 << 20), 2),
        "wire_alone_s": round(busiest / (options.mbit * 125_000), 2),
    }


def _quantiles(found: Sequence[tuple[float, float]], from_s: float, to_s: float) -> dict[str, Any]:
    took = sorted(ms for at_s, ms in found if from_s <= at_s < to_s)
    if not took:
        return {"count": 0}
    return {
        "count": len(took),
        "p50": round(took[len(took) // 2], 1),
        "p99": round(took[len(took) * 99 // 100], 1),
        "max": round(took[-1], 1),
    }


def _memory(noted: Run, process: str, from_s: float, to_s: float) -> dict[str, float]:
    seen = [mib[process] for at_s, mib in noted.samples if from_s <= at_s < to_s]
    if not seen:
        return {}
    return {"first": round(seen[0], 1), "last": round(seen[-1], 1), "max": round(max(seen), 1)}


def tables(report: dict[str, Any]) -> list[Table]:
    """Draw what producers saw, and the memory of every process."""
    phases = ("before", "cut", "catching up", "after")
    produced = Table(title="produce to acknowledged, ms: p50 / p99", title_justify="left", box=None)
    memory = Table(title="resident MiB: first to last (max)", title_justify="left", box=None)
    for drawn in (produced, memory):
        drawn.add_column("")
        for phase in phases:
            drawn.add_column(phase, justify="right")
    for region, found in report["produce_ms"].items():
        cells = [f"{found[p].get('p50', '-')} / {found[p].get('p99', '-')}" for p in phases]
        produced.add_row(region, *cells)
    for process, seen in report["resident_mib"].items():
        cells = [
            f"{m['first']:.0f} to {m['last']:.0f} ({m['max']:.0f})" if m else "-"
            for m in (seen[phase] for phase in phases)
        ]
        memory.add_row(process, *cells)
    return [produced, memory]


def _summary(report: dict[str, Any]) -> str:
    return (
        f"backlog {report['backlog_changes']:,} changes of {report['cut_s']:g} s, caught up in "
        f"{report['catch_up_s']:g} s; the wire alone asks for {report['wire_alone_s']:g} s"
    )


if __name__ == "__main__":
    main()
