"""What does exactly once cost in the replica topic?

    python -m benchmarks.exactly_once [--seconds S] [--repeats N] [--json]

One real Kafka on this machine, a replica topic of four partitions, and for each partition as many
senders as there are other regions: each appends a unit (records of 100 changes, by the demo's
generator, seed 1) and waits until it is durable before its next one, as a link does. A committed
reader follows all partitions. "visible" is from the call of append until that reader has it.

The rivals, interleaved in each repeat: the idempotent producer whose cursor is read back from the
topic's tail (what DWCP did before, and what `group.exactly_once: false` does), one transaction a
unit, and transactions that units share (what DWCP does). Two loads: as fast as it goes, and paced
as links pace it by default (a unit each 25 ms and sender). Medians of the repeats, least and most
in brackets.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import __version__ as aiokafka_version
from rich.console import Console
from rich.table import Table

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.jars import KAFKA_VERSION
from connectors.kafka import KafkaLog
from connectors.kafka_writer import KafkaWriter
from connectors.log import FencedWriter, NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from connectors.producer import StateProducer
from connectors.writer import PlainWriter
from dwcp.demo.generator import generate
from dwcp.machine import machine
from streams.replication import Origin, origin_headers
from streams.topics import REPLICA, STATE, TopicSettings, topic_specs

PARTITION_COUNT = 4
SENDERS = 2  # of each partition: two other regions
CHANGES_PER_RECORD = 100
PACE_S = 0.025
RIVALS = ("idempotent", "a transaction a unit", "shared transactions")
LOADS = ("as fast as it goes", "paced")

Name = tuple[bytes, bytes, bytes]

console = Console(stderr=True)


@dataclass
class Run:
    """What one rival did under one load."""

    changes: int = 0
    appends: int = 0
    transactions: int = 0
    seconds: float = 0.0
    visible_ms: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Return the figures."""
        times = sorted(self.visible_ms)
        return {
            "changes_per_s": self.changes / self.seconds,
            "appends_per_s": self.appends / self.seconds,
            "transactions_per_s": self.transactions / self.seconds,
            "visible_p50_ms": times[len(times) // 2],
            "visible_p99_ms": times[len(times) * 99 // 100],
        }


class OneByOne:
    """A fenced writer without group commit: each append waits for the one before."""

    def __init__(self, writer: KafkaWriter) -> None:
        self.writer = writer
        self._turn = asyncio.Lock()

    async def append(self, topic: str, partition: int, records: list[NewRecord]) -> list[int]:
        """See `FencedWriter`."""
        async with self._turn:
            return await self.writer.append(topic, partition, records)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.seconds, options.repeats))
    report = {
        "machine": machine(kafka=KAFKA_VERSION, aiokafka=aiokafka_version),
        "seconds": options.seconds,
        "rows": rows,
    }
    console.print(table(rows))
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")


async def measure(seconds: float, repeats: int) -> list[dict[str, Any]]:
    """Run every rival under every load, interleaved."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with KafkaBroker(Path(folder), port=free_port()) as broker:
            log = KafkaLog({"bootstrap_servers": broker.bootstrap})
            await log.create_topics(topic_specs(TopicSettings(partition_count=PARTITION_COUNT)))
            values = await record_values()
            await one_run(log, RIVALS[-1], LOADS[0], values, 2.0)  # warms broker and client up
            for repeat in range(repeats):
                for load in LOADS:
                    for rival in RIVALS:
                        run = await one_run(log, rival, load, values, seconds)
                        found.setdefault((load, rival), []).append(run.row())
                        console.print(f"{repeat + 1}: {load}, {rival}", style="dim")
            await log.close()
    return [
        {
            "load": load,
            "rival": rival,
            **{name: spread([r[name] for r in runs]) for name in runs[0]},
        }
        for (load, rival), runs in found.items()
    ]


def spread(values: list[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


async def record_values() -> list[bytes]:
    """Make records of 100 changes each, as a producer of one region makes them."""
    log = MemoryLog(MemoryCluster(lambda: time.time_ns() // 1_000_000))
    await log.create_topics(topic_specs(TopicSettings(partition_count=1)))
    producer = StateProducer(log, region="us-east", name="bench", partition_count=1)
    async with producer as states:
        for item in generate("documents", 20 * CHANGES_PER_RECORD, ["us-east"], seed=1):
            document = item.document if item.document is not None else {}
            await states.put(item.entity, document, entity_type=item.entity_type)
            if int(states.last_change["change_id"].rpartition("/")[2]) % CHANGES_PER_RECORD == 0:  # type: ignore[index] # there is one
                await states.flush()
    end = (await log.end_offsets(STATE))[0]
    return [r.value for r in (await log.read(STATE, 0, 0, end)).records if r.value is not None]


async def one_run(log: KafkaLog, rival: str, load: str, values: list[bytes], seconds: float) -> Run:
    """Append for some seconds and follow what becomes visible."""
    run = Run()
    called: dict[Name, float] = {}
    done = asyncio.Event()
    writers = [await log.open_writer(f"bench-{p}") for p in range(PARTITION_COUNT)]
    reading = asyncio.ensure_future(
        follow(log, await log.end_offsets(REPLICA), (called, run.visible_ms), done)
    )
    before = sum(writer.transactions for writer in writers)
    began = time.perf_counter()
    senders = [
        send(rival_of(rival, log, writers[p]), (p, s), iter_records(values, p, s), run, called)
        for p in range(PARTITION_COUNT)
        for s in range(SENDERS)
    ]
    pace_s = PACE_S if load == "paced" else 0.0
    await asyncio.gather(*(sender(began + seconds, pace_s) for sender in senders))
    run.seconds = time.perf_counter() - began
    run.transactions = sum(writer.transactions for writer in writers) - before
    done.set()
    if called:
        await asyncio.wait_for(reading, 30)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    for writer in writers:
        await writer.close()
    return run


def rival_of(name: str, log: KafkaLog, writer: KafkaWriter) -> Any:
    """Return who appends."""
    if name == "idempotent":
        return PlainWriter(log)
    return OneByOne(writer) if name == "a transaction a unit" else writer


def iter_records(values: list[bytes], partition: int, sender: int) -> Iterator[NewRecord]:
    """Yield records for ever, each with its origin."""
    number = 0
    while True:
        headers = origin_headers(Origin(f"region-{sender}", partition, number))
        yield NewRecord(None, values[number % len(values)], headers, time.time_ns() // 1_000_000)
        number += 1


def send(
    writer: FencedWriter,
    place: tuple[int, int],
    records: Iterator[NewRecord],
    run: Run,
    called: dict[Name, float],
) -> Any:
    """Return a sender: appends a record, waits, appends the next."""

    async def sender(until: float, pace_s: float) -> None:
        while (now := time.perf_counter()) < until:
            record = next(records)
            called[_name(record.headers)] = now
            await writer.append(REPLICA, place[0], [record])
            run.appends += 1
            run.changes += CHANGES_PER_RECORD
            await asyncio.sleep(max(0.0, now + pace_s - time.perf_counter()))

    return sender


async def follow(
    log: KafkaLog,
    positions: dict[int, int],
    noted: tuple[dict[Name, float], list[float]],
    done: asyncio.Event,
) -> None:
    """Note when each record becomes visible to a committed reader, until all have and `done`."""
    called, visible_ms = noted
    async with contextlib.aclosing(log.tail(REPLICA, positions)) as tail:
        async for ranges in tail:
            now = time.perf_counter()
            for part in ranges:
                for record in part.records:
                    at = called.pop(_name(record.headers), None)
                    if at is not None:
                        visible_ms.append((now - at) * 1_000)
            if done.is_set() and not called:
                return


def _name(headers: Any) -> Name:
    region, partition, offset = (value for _, value in headers)
    return region, partition, offset


def table(rows: list[dict[str, Any]]) -> Table:
    """Draw the rows."""
    drawn = Table(box=None)
    columns = {
        "changes_per_s": "changes/s",
        "appends_per_s": "units/s",
        "transactions_per_s": "transactions/s",
        "visible_p50_ms": "visible p50 ms",
        "visible_p99_ms": "p99 ms",
    }
    for name in ("load", "rival", *columns.values()):
        drawn.add_column(name, justify="left" if name in {"load", "rival"} else "right")
    for row in rows:
        cells = [row[key] for key in columns]
        drawn.add_row(
            row["load"],
            row["rival"],
            *(
                f"{c['median']:,.1f} [{c['min']:,.0f}-{c['max']:,.0f}]".replace("[", "(").replace(
                    "]", ")"
                )
                for c in cells
            ),
        )
    return drawn


if __name__ == "__main__":
    main()
