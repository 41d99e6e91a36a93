"""Kills on a real link: data streams and the sending process, over loopback sockets."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from streams import topics
from streams.agents.receiver import Receiver
from tests.support.giver import record
from tests.support.links import PARTITION_COUNT, Region
from tests.support.waiting import until

WAIT_S: Final = 30.0
PACED_BYTES_PER_S: Final = 4e6  # some eight units a second
KINDS: Final = ("stream", "all streams", "process")


@dataclass
class KillReport:
    """What came of it.

    Attributes:
        back_ms: By kind, times from the kill to the next record that was made durable.
        wrong: What was lost, came twice or out of order.
    """

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    back_ms: dict[str, list[float]] = field(
        default_factory=lambda: {kind: [] for kind in ("nothing", *KINDS)}
    )
    sessions: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    records: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


@contextlib.asynccontextmanager
async def giving(address: str, count: int, bytes_per_s: float) -> AsyncIterator[int]:
    """Run a sending process, and return its id; it is gone in the end."""
    arguments = (address, str(count), "3", str(bytes_per_s))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.giver",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def run_kills(kill_count: int, seed: int, count: int = 6_000) -> KillReport:
    """Ship `count` records a partition through so many kills, and check what arrived.

    The sender is paced, so that the kills strike while records go; the last one is not.
    """
    report, dice, began = KillReport(), Random(seed), time.monotonic()
    iad = Region("iad")
    async with iad.listening() as receiver:
        while sum(report.kills.values()) < kill_count:
            async with giving(iad.address, count, PACED_BYTES_PER_S) as pid:
                await _next_record(iad)
                while sum(report.kills.values()) < kill_count:
                    began_ns = time.monotonic_ns()
                    await _next_record(iad)
                    report.back_ms["nothing"].append((time.monotonic_ns() - began_ns) / 1e6)
                    kind = KINDS[sum(report.kills.values()) % len(KINDS)]
                    report.kills[kind] += 1
                    killed = time.monotonic()
                    if kind == "process":
                        os.kill(pid, signal.SIGKILL)
                        break
                    _break_streams(receiver, dice, are_all=kind == "all streams")
                    await _next_record(iad)
                    report.back_ms[kind].append((time.monotonic() - killed) * 1_000)
        async with giving(iad.address, count, 0):
            total = count * PARTITION_COUNT
            await until(lambda: iad.count(topics.REPLICA) >= total, WAIT_S, "all records")
        report.sessions = sum(status.sessions for status in receiver.status.values())
        report.refused = dict(receiver.refused)
    report.records = iad.count(topics.REPLICA)
    report.wrong = _differences(iad, count)
    report.seconds = time.monotonic() - began
    return report


def _break_streams(receiver: Receiver, dice: Random, *, are_all: bool) -> None:
    """Cut data streams from below, wherever they are in a frame."""
    streams = [s for taking in receiver._takings for s in taking._streams.streams.values()]
    for stream in streams if are_all else dice.sample(streams, min(1, len(streams))):
        with contextlib.suppress(OSError):
            stream.connection.shutdown(2)


async def _next_record(iad: Region) -> None:
    before = iad.count(topics.REPLICA)
    await until(lambda: iad.count(topics.REPLICA) > before, WAIT_S, "the next record")


def _differences(iad: Region, count: int) -> list[str]:
    wrong = []
    for partition in range(PARTITION_COUNT):
        found = iad.stored(topics.REPLICA, partition)
        expected = [record(partition, number) for number in range(count)]
        if [(r.key, r.value) for r in found] != [(r.key, r.value) for r in expected]:
            wrong.append(f"partition {partition}: {len(found)} records, not the {count} given")
    return wrong
