"""What does encrypting the links cost?

    python -m benchmarks.tls_cost [--changes N] [--rate R] [--rounds N] [--json]

Two regions on this machine, a real Kafka and a node process each, in turn with mutual TLS 1.3 and
plain (plain, TLS, TLS, plain, ... so that a drift of the machine hits both alike). Each round
writes patches twice: as fast as it goes (changes a second that came to stand in both regions), and
at a rate (time from write to visible in the other region). CPU is that of both nodes, per change.
Shown are the median of the rounds and their spread, (most - least) / median.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.change_cost import machine
from dwcp.demo.cluster import ClusterSettings, DemoCluster
from dwcp.demo.generator import generate
from dwcp.demo.result import DemoResult
from dwcp.demo.run import DemoPlan, run_demo

REGIONS = ("eu-west", "us-east")
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
    parser.add_argument("--changes", type=int, default=20_000, help="as fast as it goes")
    parser.add_argument("--rate", type=float, default=1_000.0, help="changes/s of the timed part")
    parser.add_argument("--rounds", type=int, default=2, help="of each kind")
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
        fast = await _written(cluster, changes, 0.0, seed=1)
        cpu_s = _cpu_s(cluster) - before_s
    async with _cluster(kind) as cluster:  # a new one: percentiles are since its start
        timed = await _written(cluster, round(10 * rate), rate, seed=2)
    wire_bytes = sum(link.wire_bytes for link in timed.links)
    return {
        "changes_per_s": fast.sustained_events_per_s,
        "cpu_us_per_change": round(cpu_s / fast.events * 1e6, 1),
        "visible_ms_p50": timed.visible_ms_p50,
        "visible_ms_p99": timed.visible_ms_p99,
        "wire_bytes_per_change": round(wire_bytes / timed.events, 1),
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


async def _written(cluster: DemoCluster, changes: int, rate: float, seed: int) -> DemoResult:
    plan = DemoPlan(
        items=generate("patches", changes, REGIONS, seed),
        input_name=f"generated patches, seed {seed}",
        total=changes,
        rate_per_s=rate,
        cut_s=0.0,
        partition_count=4,
    )
    result = await run_demo(plan, cluster, lambda _: None)
    assert result.converged, f"the regions are not equal: {result.differences}"
    return result


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
