"""Both ends of a link that carries changes: what `levels` compares.

    python -m benchmarks.link.levels_ends take HOST
    python -m benchmarks.link.levels_ends give HOST PORT CHANGES_PER_S SECONDS IS_TYPED RATE_MBIT_S

A node's own agents, timers, streams, steering and TLS, on logs in memory. The giver makes so many
seconds of documents (`synthetic-vm`) beforehand and appends them as producers do, ten in a batch,
each record stamped with the time of its append. Commands: `delays FROM_MS` of the taker gives the
time from append to append, ms, of each record stamped since then; `mark` of the giver its status.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from benchmarks.link.node_ends import node_region, run_end, taking_region
from benchmarks.link.worker import answer_marks
from connectors.log import NewRecord
from dwcp.config import HdeConfig, LinkConfig
from dwcp.hde.events import document_events
from dwcp.hde.streams import Plan, open_stream
from dwcp.link_settings import session_settings, stream_limits, stream_settings
from schemas.registry import encode_event
from streams import topics
from streams.agents.outgoing import Outgoing
from streams.agents.sender import run_sender
from streams.agents.status import SenderStatus
from streams.agents.steering import LinkSteering, Steered
from tests.support.links import PARTITION_COUNT, Region
from transport.hde.dictionary import Dictionaries

ENTITIES: Final = 2_000
BATCH: Final = 10
TICK_S: Final = 0.01
STREAM: Final = "synthetic-vm"
FLUSH_MS: Final = 25
LINK: Final = LinkConfig()


async def take(host: str) -> None:
    """Take a log in until the parent ends."""
    region, port = taking_region(host)
    seen: list[tuple[int, float]] = []

    def delays(words: list[str]) -> dict[str, Any]:
        since_ms = int(words[0])
        return {"delays": [at - told for told, at in seen if told >= since_ms]}

    async with region.listening(session_settings(LINK, HdeConfig(), Dictionaries(0))):
        answer_marks({"port": port}, dict, {"delays": delays})
        async for ranges in region.log.tail(
            topics.REPLICA, dict.fromkeys(range(PARTITION_COUNT), 0)
        ):
            at_ms = time.time() * 1_000
            seen += [(record.record_time_ms, at_ms) for part in ranges for record in part.records]


async def give(host: str, port: str, changes_per_s: str, seconds: str, *levels: str) -> None:
    """Ship what is appended until the parent ends."""
    region = node_region("a")
    is_typed, rate_mbit_s = levels
    batches_per_s = int(changes_per_s) / BATCH
    values = list(islice(_values(), int(float(seconds) * batches_per_s)))
    hde = HdeConfig(typed=is_typed == "True", rate_mbit_s=float(rate_mbit_s))
    steering = LinkSteering(Steered("a", "a-1", "b", region.log, stream_limits(LINK)))
    outgoing = Outgoing(
        lambda: region.identity,
        session_settings(LINK, hde, Dictionaries(0)),
        region.log,
        region.digest,
        lambda *_: None,
        FLUSH_MS,
        SenderStatus("b", f"{host}:{port}"),
        region.tls,
        stream_settings(LINK),
        steer=steering.run,
    )
    answer_marks({}, outgoing.status.to_json)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_sender(outgoing))
        tasks.create_task(_append(region, values, batches_per_s))


async def _append(region: Region, values: list[bytes], batches_per_s: float) -> None:
    began_s, count = time.monotonic(), 0
    while count < len(values):
        await asyncio.sleep(TICK_S)
        due = min(int((time.monotonic() - began_s) * batches_per_s), len(values))
        for number in range(count, due):
            record = NewRecord(None, values[number], (), time.time_ns() // 1_000_000)
            await region.log.append(topics.STATE, number % PARTITION_COUNT, [record])
        count = due


def _values() -> Iterator[bytes]:
    stream = open_stream(STREAM, Plan(ENTITIES, 1 << 40))
    source = iter(document_events(stream.items))
    while events := list(islice(source, BATCH)):
        changes = [event.change for event in events]
        yield encode_event("StateBatch", {"producer": "bench", "changes": changes})


if __name__ == "__main__":
    run_end(take, give)
