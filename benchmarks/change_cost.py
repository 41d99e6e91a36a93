"""Where does the time of one change go?

    python -m benchmarks.change_cost [--changes N] [--live] [--json]

First the cores, one after the other on one core, without Kafka and sockets: microseconds of each
stage per change, median of the repeats with the spread, for whole documents and for patches of two
to five fields in batches. With `--live` also a whole federation: CPU of every process per change,
and a profile of one node by the library that spent the time.
"""

import argparse
import asyncio
import json
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from connectors.log import LogRecord, RecordRange
from connectors.memory import MemoryCluster, MemoryLog
from connectors.producer import StateProducer
from dwcp.demo.cluster import ClusterSettings, DemoCluster
from dwcp.demo.generator import Kind, generate
from dwcp.demo.inputs import EntityDocument
from dwcp.demo.run import DemoPlan, run_demo
from dwcp.machine import machine
from streams.replication import decode_batch, encode_batch, read_origin, replica_records
from streams.state.partition import PartitionState
from streams.state.snapshot import encode_chunks, take_dirty
from streams.topics import SHIPPED_BYTES_MAX, STATE, TopicSettings, topic_specs
from transport.hde.flow import FlowDecoder, FlowEncoder

REGIONS = ("eu-west", "us-east", "ap-south")
KINDS: tuple[Kind, ...] = ("documents", "patches")
REPEATS = 5

console = Console(stderr=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "changes": options.changes, "cores": {}}
    for kind in KINDS:
        rows = core_rows(kind, options.changes)
        report["cores"][kind] = rows
        console.print(core_table(kind, rows))
    if options.live:
        report["live"] = {}
        for kind in KINDS:
            found = asyncio.run(live(kind, 2 * options.changes))
            report["live"][kind] = found
            console.print(live_table(kind, found))
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


def core_rows(kind: Kind, change_count: int) -> list[dict[str, Any]]:
    """Time every stage; returns name, microseconds a change and their spread."""
    times: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, seconds in _one_pass(kind, change_count).items():
            times.setdefault(name, []).append(seconds / change_count * 1e6)
    return [
        {
            "stage": name,
            "us_per_change": round(statistics.median(values), 2),
            "min": round(min(values), 2),
            "max": round(max(values), 2),
        }
        for name, values in times.items()
    ]


def _one_pass(kind: Kind, change_count: int) -> dict[str, float]:
    """Send the changes of one region and partition through all stages, in memory."""
    times: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        times[name] = time.perf_counter() - began
        return result

    items = list(generate(kind, change_count, ["eu-west"], seed=1))
    records = timed("produce: stamp, batch, Avro", lambda: asyncio.run(_produce(items)))
    own = PartitionState(0, 1)
    ranges = [RecordRange(0, r.offset, r.offset + 1, [r]) for r in records]
    timed("fold own log", lambda: _fold_all(own, "eu-west", records))
    raw = timed("pack units", lambda: [encode_batch([r], SHIPPED_BYTES_MAX) for r in ranges])
    encoder, decoder = FlowEncoder(), FlowDecoder(1 << 24)
    units = timed("encode unit", lambda: [encoder.encode(one) for one in raw])
    back = timed("decode unit, hash", lambda: [decoder.decode(one) for one in units])
    unpacked = timed("unpack units", lambda: [decode_batch(one)[0] for one in back])
    cursors = {0: 0}

    def to_replica() -> list[LogRecord]:
        made: list[LogRecord] = []
        for part in unpacked:
            for new in replica_records("eu-west", part, cursors):
                time_ms = new.record_time_ms or 0
                made.append(LogRecord(len(made), time_ms, new.key, new.value, new.headers))
            cursors[0] = part.to_offset
        return made

    replica = timed("add origin headers", to_replica)
    other = PartitionState(0, 1)
    timed("fold replica", lambda: _fold_replica(other, replica))
    timed("snapshot all", lambda: [encode_chunks(e) for e in take_dirty(other).values()])
    assert own.fingerprint == other.fingerprint, "the stages lost something"
    return times


async def _produce(items: list[EntityDocument]) -> list[LogRecord]:
    cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
    log = MemoryLog(cluster)
    await log.create_topics(topic_specs(TopicSettings(partition_count=1)))
    async with StateProducer(log, region="eu-west", name="bench", partition_count=1) as states:
        for item in items:
            if item.patch is not None:
                await states.patch(item.entity, item.patch, entity_type=item.entity_type)
            elif item.document is not None:
                await states.put(item.entity, item.document, entity_type=item.entity_type)
            else:
                await states.delete(item.entity, entity_type=item.entity_type)
        await states.flush()
    return cluster.read(STATE, 0, 0, cluster.offsets(STATE)[0][1]).records


def _fold_all(state: PartitionState, origin: str, records: list[LogRecord]) -> None:
    for record in records:
        folded = state.fold(origin, record.offset, record.record_time_ms, record.value)
        assert not folded.rejected, folded.rejected


def _fold_replica(state: PartitionState, records: list[LogRecord]) -> None:
    for record in records:
        origin = read_origin(record.headers)
        folded = state.fold(origin.region, origin.offset, record.record_time_ms, record.value)
        assert not folded.rejected, folded.rejected


async def live(kind: Kind, change_count: int) -> dict[str, Any]:
    """Run a federation as fast as it goes; CPU by process, and a profile of one node."""
    with tempfile.TemporaryDirectory(prefix="dwcp-bench-") as folder:
        settings = ClusterSettings(REGIONS, Path(folder), delay_ms=5.0, profiled=REGIONS[0])
        cluster = DemoCluster(settings)
        try:
            await cluster.start()
            before = _cpu_s(cluster)
            items = list(generate(kind, change_count, REGIONS, seed=1))
            plan = DemoPlan(items, kind, change_count, 0.0, 0.0, settings.partition_count)
            result = await run_demo(plan, cluster, lambda _: None)
            after = _cpu_s(cluster)
        finally:
            await cluster.stop()
        profile = pstats.Stats(str(cluster.regions[REGIONS[0]].profile_path))
    assert result.converged, result.differences
    cpu = {role: (after[role] - before[role]) / change_count * 1e6 for role in after}
    return {
        "changes_per_s": result.sustained_events_per_s,
        "cpu_us_per_change": {role: round(us, 1) for role, us in cpu.items()},
        "profile": _by_library(profile),
    }


def _cpu_s(cluster: DemoCluster) -> dict[str, float]:
    """Return CPU seconds so far: brokers, nodes (the profiled one apart), writers with proxies."""

    def used(pid: int) -> float:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)

    regions = list(cluster.regions.values())
    return {
        "3 brokers": sum(used(region.broker.pid or 0) for region in regions),
        "2 nodes": sum(used(region.node.pid) for region in regions[1:]),
        "1 node, profiled": used(regions[0].node.pid),
        "writers and link proxies": used(os.getpid()),
    }


def _by_library(profile: pstats.Stats) -> dict[str, float]:
    """Return the share of own time by library, largest first: CPU of the main thread."""
    shares: dict[str, float] = {}
    for (path, _, name), (_, _, own_s, _, _) in profile.stats.items():  # type: ignore[attr-defined] # not in the stubs
        library = _library(path, name)
        shares[library] = shares.get(library, 0.0) + own_s
    total = sum(shares.values())
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return {name: round(own_s / total, 3) for name, own_s in ranked if own_s / total > 0.01}  # noqa: PLR2004 - below it is noise


def _library(path: str, name: str) -> str:
    for part in ("site-packages/", "lib/python3"):
        if part in path:
            rest = path.split(part, 1)[1].split("/")
            return rest[0] if part == "site-packages/" else "standard library"
    ours = Path(path).parts
    for folder in ("streams", "connectors", "transport", "schemas", "dwcp"):
        if folder in ours:
            return "/".join(ours[ours.index(folder) :])
    known = ("zstd", "orjson", "xxhash")
    return next((library for library in known if library in name), "built-in functions")


def core_table(kind: str, rows: list[dict[str, Any]]) -> Table:
    """Draw the stages."""
    table = Table(title=f"cores, {kind}: microseconds a change", title_justify="left", box=None)
    table.add_column("stage")
    for name in ("median", "min", "max"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row["stage"], *(f"{row[k]:.2f}" for k in ("us_per_change", "min", "max")))
    total = sum(row["us_per_change"] for row in rows)
    table.add_row("all", f"{total:.2f}")
    return table


def live_table(kind: str, found: dict[str, Any]) -> Table:
    """Draw the processes and the profile."""
    title = f"live, {kind}: {found['changes_per_s']:,.0f} changes/s in the middle"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("where")
    table.add_column("CPU us a change", justify="right")
    table.add_column("share of the profiled node", justify="right")
    for role, us in found["cpu_us_per_change"].items():
        table.add_row(role, f"{us:.1f}", "")
    for library, share in list(found["profile"].items())[:14]:
        table.add_row(f"  {library}", "", f"{share:.1%}")
    return table


if __name__ == "__main__":
    main()
