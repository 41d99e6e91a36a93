"""Snapshots of one partition that want to run at the same time."""

import asyncio
import time
from collections.abc import Sequence

from connectors.log import NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from schemas.partitioning import partition_of
from streams import topics
from streams.agents.replica import Replica
from tests.support.events import event, put

ENTITIES = [name for name in map(str, range(200)) if partition_of(name, 4) == 1]


async def test_a_last_snapshot_has_what_one_under_way_had_taken_and_never_wrote() -> None:
    """As when the timer's snapshot is cancelled by a stop, which takes the last one itself."""
    cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
    for spec in topics.topic_specs(topics.TopicSettings()):
        cluster.create(spec)
    replica = await holding(cluster)
    for name in ENTITIES:
        cluster.append(topics.STATE, 1, NewRecord(None, event(put(name))))
    for record in cluster.read(topics.STATE, 1, 0, len(ENTITIES)).records:
        await replica.fold_state(1, record)
    is_writing = hold_the_first_append(replica)

    by_timer = asyncio.create_task(replica.snapshot_partition(1))
    await is_writing.wait()
    last = asyncio.create_task(replica.snapshot_partition(1))
    by_timer.cancel()
    await asyncio.wait({by_timer, last}, timeout=30)

    assert by_timer.cancelled()
    assert last.result() > 1
    restored = await holding(cluster)
    assert restored.store.partitions[1].entities.keys() == set(ENTITIES)


async def holding(cluster: MemoryCluster) -> Replica:
    replica = Replica("ams", 4, MemoryLog(cluster))
    await replica.take(1)
    return replica


def hold_the_first_append(replica: Replica) -> asyncio.Event:
    """Let the writer's next append wait for ever; the event says that it does."""
    writer = replica._holdings[1].writer
    append = writer.append
    is_writing = asyncio.Event()

    async def held(topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        if not is_writing.is_set():
            is_writing.set()
            await asyncio.Event().wait()
        return await append(topic, partition, records)

    writer.append = held  # type: ignore[method-assign]
    return is_writing
