"""What does encrypting the links cost?

    python -m benchmarks.tls_cost [--changes N] [--rate R] [--rounds N] [--json]

Two regions on this machine, a real Kafka and a node process each, in turn with mutual TLS 1.3 and
plain (plain, TLS, TLS, plain, ... so that a drift of the machine hits both alike). Each round
writes patches twice: as fast as it goes (changes a second that came to stand in both regions, CPU
of both nodes and bytes on the wire per change), and then 20 s at a rate (time from write to visible
in the other region).
Shown are the median of the rounds and their spread, (most - least) / median.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from dwcp.client import get_json
from dwcp.demo.cluster import ClusterSettings, DemoCluster
from dwcp.demo.generator import generate
from dwcp.demo.inputs import spread
from dwcp.demo.result import DemoResult
from dwcp.demo.run import DemoPlan, run_demo
from dwcp.demo.writers import Writers
from dwcp.machine import machine
from streams.histogram import Histogram

REGIONS = ("eu-west", "us-east")
PARTITIONS = 4
TIMED_S = 20.0
WAIT_S = 60.0
POLL_S = 0.2
FIGURES = {
    "changes_per_s": "changes/s",
    "cpu_us_per_change": "CPU µs/change, both nodes",
    "visible_ms_p50": "visible p50, ms",
    "visible_ms_p99": "visible p99, ms",
    "wire_bytes_per_change": "bytes/change on the wire",
}

console = Console(stderr=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=60_000, help="as fast as it goes")
    parser.add_argument("--rate", type=float, default=1_000.0, help="changes/s of the timed part")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"plain": [], "tls": []}
    for number in range(options.rounds):
        for kind in ("plain", "tls") if number % 2 == 0 else ("tls", "plain"):
            found = asyncio.run(_round(kind, options.changes, options.rate))
            console.print(f"round {number + 1}, {kind}: {found}")
            rounds[kind].append(found)
    rows = [{"link": kind, **_summary(found)} for kind, found in rounds.items()]
    report = {
        "machine": machine(),
        "changes": options.changes,
        "rate_per_s": options.rate,
        "rounds": options.rounds,
        "rows": rows,
    }
    console.print(_table(rows))
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


async def _round(kind: str, changes: int, rate: float) -> dict[str, float]:
    async with _cluster(kind) as cluster:
        before_s = _cpu_s(cluster)
        fast = await _written(cluster, changes)
        cpu_s = _cpu_s(cluster) - before_s
        timed = await _timed(cluster, round(TIMED_S * rate), rate)
    wire_bytes = sum(link.wire_bytes for link in fast.links)
    return {
        "changes_per_s": fast.sustained_events_per_s,
        "cpu_us_per_change": round(cpu_s / fast.events * 1e6, 1),
        "visible_ms_p50": timed.quantile_ms(0.5),
        "visible_ms_p99": timed.quantile_ms(0.99),
        "wire_bytes_per_change": round(wire_bytes / fast.events, 1),
    }


@contextlib.asynccontextmanager
async def _cluster(kind: str) -> AsyncIterator[DemoCluster]:
    with tempfile.TemporaryDirectory(prefix="dwcp-tls-cost-") as folder:
        settings = ClusterSettings(
            REGIONS, Path(folder), delay_ms=1.0, rate_bytes_per_s=None, is_plain=kind == "plain"
        )
        cluster = DemoCluster(settings)
        try:
            await cluster.start()
            yield cluster
        finally:
            await cluster.stop()


async def _written(cluster: DemoCluster, changes: int) -> DemoResult:
    """Write as fast as it goes; the nodes are warm afterwards."""
    plan = DemoPlan(
        items=generate("patches", changes, REGIONS, 1),
        input_name="generated patches, seed 1",
        total=changes,
        rate_per_s=0.0,
        cut_s=0.0,
        partition_count=PARTITIONS,
    )
    result = await run_demo(plan, cluster, lambda _: None)
    assert result.converged, f"the regions are not equal: {result.differences}"
    return result


async def _timed(cluster: DemoCluster, changes: int, rate: float) -> Histogram:
    """Write at a rate; returns how long these changes took to be visible in the other region."""
    before = await _statuses(cluster)
    writers = Writers(cluster.bootstraps, PARTITIONS, rate)
    await writers.run(spread(generate("patches", changes, REGIONS, 2), REGIONS))
    async with asyncio.timeout(WAIT_S):
        while not _has_all(after := await _statuses(cluster), writers.ends):  # noqa: ASYNC110 - of others
            await asyncio.sleep(POLL_S)
    taken = Histogram()
    for sign, statuses in ((1, after), (-1, before)):
        for status in statuses:
            for bucket, count in status["visible_ms"]["buckets"].items():
                taken.counts[int(bucket)] += sign * count
    return taken


async def _statuses(cluster: DemoCluster) -> list[dict[str, Any]]:
    return [await get_json(url, "/status") for url in cluster.urls.values()]


def _has_all(statuses: list[dict[str, Any]], ends: Mapping[str, Mapping[int, int]]) -> bool:
    return all(
        status["vector"].get(region, {}).get(str(partition), 0) >= end
        for status in statuses
        for region, positions in ends.items()
        for partition, end in positions.items()
    )


def _cpu_s(cluster: DemoCluster) -> float:
    times = [psutil.Process(region.node.pid).cpu_times() for region in cluster.regions.values()]
    return sum(one.user + one.system for one in times)


def _summary(found: list[dict[str, float]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in FIGURES:
        values = [one[name] for one in found]
        median = statistics.median(values)
        spread = (max(values) - min(values)) / median if median else 0.0
        summary |= {name: round(median, 1), f"{name}_spread": round(spread, 3)}
    return summary


def _table(rows: list[dict[str, Any]]) -> Table:
    plain, tls = rows
    table = Table("", "plain", "TLS", "TLS / plain", box=None)
    for name, title in FIGURES.items():
        cells = [f"{row[name]:,} ±{row[f'{name}_spread']:.0%}" for row in rows]
        ratio = tls[name] / plain[name] if plain[name] else 0.0
        table.add_row(title, *cells, f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    main()
