"""Both ends of a link as nodes run them, on logs in memory: what `recovery` cuts.

    python -m benchmarks.link.recovery_ends take HOST
    python -m benchmarks.link.recovery_ends give HOST PORT MIB

A node's own agents, timers, streams, steering and TLS; the codec is off, so that bytes are bytes.
The giver's log holds so many MiB from the start. Commands of the taker: `arrivals` gives all times
(s) at which more had come, looked at every 5 ms, with the bytes that its data streams had read by
then, repeated ones too, and the records that its log held; `mark` gives sessions.
"""

import asyncio
import os
import time
from typing import Any, Final

from benchmarks.link.node_ends import node_region, run_end, taking_region
from benchmarks.link.worker import answer_marks
from connectors.log import NewRecord
from dwcp.config import LinkConfig
from dwcp.link_settings import stream_limits, stream_settings
from streams import topics
from streams.agents.receiver import Receiver
from streams.agents.steering import LinkSteering, Steered
from tests.support.links import PARTITION_COUNT, shipping
from transport.aio.receiving import ReceiveStream
from transport.hde.settings import FlowSettings
from transport.session.events import LinkSettings

RECORD_BYTES: Final = 16_384
POOL: Final = 64
LOOK_S: Final = 0.005
LINK: Final = LinkConfig()
SETTINGS: Final = LinkSettings(
    heartbeat_ms=LINK.heartbeat_ms,
    silence_ms=LINK.silence_ms,
    credit_bytes=LINK.credit_mib << 20,
    flow=FlowSettings(level=0, is_typed=False),
)
READ: Final[dict[ReceiveStream, int]] = {}  # bytes, of every stream so far


async def take(host: str) -> None:
    """Take a log in until the parent ends."""
    region, port = taking_region(host)
    seen: list[tuple[float, int, int]] = []
    async with region.listening(SETTINGS) as receiver:

        def snapshot() -> dict[str, Any]:
            return {"sessions": sum(status.sessions for status in receiver.status.values())}

        answer_marks({"port": port}, snapshot, {"arrivals": lambda _: {"arrivals": seen}})
        while True:
            _look(receiver, seen)
            await asyncio.sleep(LOOK_S)


def _look(receiver: Receiver, seen: list[tuple[float, int, int]]) -> None:
    """Note what has come, if more has."""
    for taking in receiver._takings:  # noqa: SLF001 - no status of a node is as fine as this
        for stream in taking._streams.streams.values():  # noqa: SLF001
            READ[stream] = stream.received_bytes
    found = sum(READ.values()), sum(status.records for status in receiver.status.values())
    if not seen or found != seen[-1][1:]:
        seen.append((time.monotonic(), *found))


async def give(host: str, port: str, mib: str) -> None:
    """Ship a log until the parent ends."""
    region = node_region("a")
    pool = [os.urandom(RECORD_BYTES) for _ in range(POOL)]
    for partition in range(PARTITION_COUNT):
        count = (int(mib) << 20) // RECORD_BYTES // PARTITION_COUNT
        records = [NewRecord(b"%d" % n, pool[n % POOL]) for n in range(count)]
        await region.log.append(topics.STATE, partition, records)
    steering = LinkSteering(Steered("a", "a-1", "b", region.log, stream_limits(LINK)))
    streams = stream_settings(LINK)
    async with shipping(
        region,
        "b",
        f"{host}:{port}",
        settings=SETTINGS,
        streams=streams,
        steer=steering.run,
    ) as link:
        answer_marks({}, lambda: {"sessions": link.status.sessions})
        await asyncio.Event().wait()


if __name__ == "__main__":
    run_end(take, give)
