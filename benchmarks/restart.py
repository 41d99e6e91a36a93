"""What does a restart cost, as the entities grow and as the log grows?

    python -m benchmarks.restart [--entities 10000,50000,200000] [--lengths 1,4,16]
                                 [--length-entities 20000] [--repeats 3] [--json]

One node on a real Kafka of its own, links plain and without peers. Each row writes a log in rounds,
every entity once a round, with a node at work that takes a snapshot after each (as it does every 30
s in a long life). Then the node is stopped and started again, several times from its snapshots, and
once more without them (the topic deleted): it replays the whole log, as one would without
snapshots; that is the baseline. Seconds are from the start of the process until it says that it is
ready, MiB are resident memory then, CPU is of the process; "read" is what stands in the snapshot
topic.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.jars import KAFKA_VERSION
from connectors.kafka import KafkaLog
from connectors.producer import ProducerSettings, StateProducer
from dwcp.client import get_json
from dwcp.demo.node import NodeProcess
from dwcp.machine import machine
from streams.topics import SNAPSHOTS

REGION = "eu-west"
PARTITION_COUNT = 4
SNAPSHOT_S = 1
TEXT = "state of a machine that did not change since " * 4

console = Console(stderr=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entities", type=_numbers, default=[0, 10_000, 50_000, 200_000])
    parser.add_argument("--lengths", type=_numbers, default=[1, 4, 16])
    parser.add_argument("--length-entities", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = [(count, 1) for count in options.entities]
    wanted += [(options.length_entities, length) for length in options.lengths]
    rows = []
    for entities, length in wanted:
        rows.append(asyncio.run(row(entities, length, options.repeats)))
        console.print(_line(rows[-1]))
    console.print(table(rows))
    report = {"machine": machine(kafka=KAFKA_VERSION), "repeats": options.repeats, "rows": rows}
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


async def row(entities: int, rounds: int, repeats: int) -> dict[str, Any]:
    """Write all entities in rounds; start with snapshots, and at last without."""
    with tempfile.TemporaryDirectory(prefix="dwcp-restart-") as name:
        folder = Path(name)
        async with KafkaBroker(folder / "kafka", port=free_port()) as broker:
            config = {
                "region": REGION,
                "kafka": {"bootstrap": broker.bootstrap},
                "state": {"partition_count": PARTITION_COUNT, "snapshot_interval_s": SNAPSHOT_S},
                "link": {"plain": True},
            }
            node = NodeProcess(f"{REGION}-1", folder / "node")
            await node.start(config)
            written_bytes = await write(broker.bootstrap, node.url, entities, rounds)
            await node.stop()
            stored_bytes = _stored_bytes(broker)
            again = [await start_and_stop(node, config) for _ in range(repeats)]
            await _delete_snapshots(broker.bootstrap)
            replay = await start_and_stop(node, config)
    assert all(start["entities"] == entities for start in (replay, *again)), "not the same state"
    return {
        "entities": entities,
        "log_changes": entities * rounds,
        "json_mib": round(written_bytes / (1 << 20), 1),
        "snapshots_mib": round(stored_bytes / (1 << 20), 1),
        "replay": replay,
        "restart": {key: _middle([one[key] for one in again]) for key in again[0]},
        "restart_s_min": min(one["ready_s"] for one in again),
        "restart_s_max": max(one["ready_s"] for one in again),
    }


def _middle(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def _stored_bytes(broker: KafkaBroker) -> int:
    segments = broker.data_dir.glob(f"log/{SNAPSHOTS}-[0-9]*/*.log")
    return sum(path.stat().st_size for path in segments)


async def _delete_snapshots(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([SNAPSHOTS])
    finally:
        await admin.close()


async def write(bootstrap: str, url: str, entities: int, rounds: int) -> int:
    """Write the log; returns the bytes of JSON in it."""
    log = KafkaLog({"bootstrap_servers": bootstrap})
    written_bytes = 0
    settings = ProducerSettings(pending_changes_max=50_000)
    async with StateProducer(
        log, region=REGION, name="bench", partition_count=PARTITION_COUNT, settings=settings
    ) as states:
        for turn in range(rounds):
            for entity, document in changes(entities, turn):
                await states.put(entity, document, entity_type="vm")
                assert states.last_change is not None
                written_bytes += len(states.last_change["document"] or "")
            await states.flush()
            await _until_folded(url, entities * (turn + 1))
            await asyncio.sleep(2 * SNAPSHOT_S)
    await log.close()
    return written_bytes


async def _until_folded(url: str, count: int) -> None:
    async def folded() -> int:
        status = await get_json(url, "/status")
        return int(status["changes_folded"].get(REGION, 0))

    while await folded() < count:  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.1)


def changes(entities: int, turn: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a new document of every entity."""
    for number in range(entities):
        load = (number * 7919 + turn * 104_729) % 1_000
        yield (
            f"vm-{number:07}",
            {"power": "on", "load": load, "turn": turn, "host": number % 97, "text": TEXT},
        )


async def start_and_stop(node: NodeProcess, config: dict[str, Any]) -> dict[str, float]:
    """Start a node, measure it when it is ready, and stop it."""
    began_s = time.monotonic()
    await node.start(config)
    ready_s = time.monotonic() - began_s
    try:
        process = psutil.Process(node.process.pid)
        times, resident = process.cpu_times(), process.memory_info().rss
        status = await get_json(node.url, "/status")
    finally:
        await node.stop()
    return {
        "ready_s": round(ready_s, 3),
        "restored_s": status["restored"]["seconds"],
        "cpu_s": round(times.user + times.system, 3),
        "resident_mib": round(resident / (1 << 20), 1),
        "records_replayed": status["restored"]["records_replayed"],
        "entities": status["entities"],
    }


def _line(found: dict[str, Any]) -> str:
    restart, replay = found["restart"], found["replay"]
    return (
        f"{found['entities']:,} entities, {found['log_changes']:,} changes: "
        f"{replay['ready_s']:.1f} s by replay, {restart['ready_s']:.1f} s by snapshot"
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """Draw the rows."""
    drawn = Table(title="start to ready", title_justify="left", box=None)
    for name in ("entities", "changes in the log", "MiB read"):
        drawn.add_column(name, justify="right")
    for name in ("replay s", "CPU s", "MiB", "restart s (min-max)", "CPU s", "MiB"):
        drawn.add_column(name, justify="right")
    for found in rows:
        replay, restart = found["replay"], found["restart"]
        spread = f"({found['restart_s_min']:.1f}-{found['restart_s_max']:.1f})"
        drawn.add_row(
            f"{found['entities']:,}",
            f"{found['log_changes']:,}",
            f"{found['snapshots_mib']:.1f}",
            f"{replay['ready_s']:.1f}",
            f"{replay['cpu_s']:.1f}",
            f"{replay['resident_mib']:.0f}",
            f"{restart['ready_s']:.1f} {spread}",
            f"{restart['cpu_s']:.1f}",
            f"{restart['resident_mib']:.0f}",
        )
    return drawn


if __name__ == "__main__":
    main()
