"""Documents become patches in the log, and every fold shows the documents."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from connectors.log import NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from connectors.producer import ProducerSettings, StateProducer
from schemas.partitioning import partition_of
from schemas.registry import Record, decode_event, encode_event
from streams import topics
from streams.agents.replica import Replica
from tests.support.waiting import until

PARTITIONS = 4
PADDING = "x" * 300


class Region:
    """A log, a node's fold of it, and a service that writes documents."""

    def __init__(self, log: MemoryLog, cluster: MemoryCluster, replica: Replica) -> None:
        self.log = log
        self.cluster = cluster
        self.replica = replica

    def changes(self) -> list[Record]:
        """Return all changes of the log."""
        found: list[Record] = []
        for partition, (start, end) in enumerate(self.cluster.offsets(topics.STATE)):
            for record in self.cluster.read(topics.STATE, partition, start, end).records:
                found += decode_event(record.value or b"")[1]["changes"]
        return found

    def shows(self, entity: str) -> Any:
        found = self.replica.store.get(entity)
        return found.materialise() if found is not None else None

    async def until_shown(self, entity: str, document: Any) -> None:
        await until(lambda: self.shows(entity) == document, 10, f"{entity} shows {document}")

    def producer(self, **settings: int) -> StateProducer:
        limits = ProducerSettings(**{"linger_ms": 1, "diff_bytes": 1 << 20, **settings})
        return StateProducer(
            self.log, region="eu", name="svc", partition_count=PARTITIONS, settings=limits
        )


@pytest_asyncio.fixture(loop_scope="session")
async def region() -> AsyncIterator[Region]:
    cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
    log = MemoryLog(cluster)
    await log.create_topics(topics.topic_specs(topics.TopicSettings(partition_count=PARTITIONS)))
    replica = Replica("eu", PARTITIONS, log)
    await replica.restore()

    async def fold() -> None:
        start = dict.fromkeys(range(PARTITIONS), 0)
        async with contextlib.aclosing(log.tail(topics.STATE, start)) as tail:
            async for ranges in tail:
                for part in ranges:
                    for record in part.records:
                        await replica.fold_state(part.partition, record)

    folding = asyncio.ensure_future(fold())
    yield Region(log, cluster, replica)
    folding.cancel()
    await asyncio.gather(folding, return_exceptions=True)


async def test_the_log_holds_patches_and_readers_see_documents(region: Region) -> None:
    async with region.producer() as states:
        for number in range(5):
            await (await states.put("vm-1", {"n": number, "p": PADDING}, entity_type="vm"))
        await (await states.patch("vm-1", {"/own": 1}, entity_type="vm"))
        await (await states.put("vm-1", {"n": 9, "p": PADDING}, entity_type="vm"))

    operations = [one["operation"] for one in region.changes()]
    assert operations == ["put", *["patch"] * 6]
    await region.until_shown("vm-1", {"n": 9, "p": PADDING})
    assert region.replica.letters.written == {}


async def test_two_producers_of_one_name_do_not_build_on_each_other(region: Region) -> None:
    async with region.producer() as one, region.producer() as other:
        await (await one.put("vm-1", {"n": 1, "p": PADDING}))
        await (await other.put("vm-1", {"m": 2, "p": PADDING}))
        await (await one.put("vm-1", {"n": 3, "p": PADDING}))

    assert [change["operation"] for change in region.changes()] == ["put", "put", "patch"]
    await region.until_shown("vm-1", {"n": 3, "p": PADDING})


async def test_a_fold_that_lacks_the_base_gets_the_whole_document(region: Region) -> None:
    async with region.producer() as states:
        await (await states.put("vm-1", {"n": 1, "p": PADDING}, entity_type="vm"))
        first = region.changes()[0]
        batch = {"producer": _producer_of(region), "changes": [_delete(first)]}
        partition = partition_of("vm-1", PARTITIONS)
        # Somebody of the same name deletes what it builds on: no process of ours would.
        region.cluster.append(
            topics.STATE, partition, NewRecord(None, encode_event("StateBatch", batch))
        )
        await (await states.put("vm-1", {"n": 2, "p": PADDING}, entity_type="vm"))

        await region.until_shown("vm-1", {"n": 2, "p": PADDING})
        assert region.replica.letters.written == {"UnknownBase": 1}
        await (await states.put("vm-1", {"n": 3, "p": PADDING}, entity_type="vm"))
        await region.until_shown("vm-1", {"n": 3, "p": PADDING})

    operations = [one["operation"] for one in region.changes()]
    assert operations == ["put", "delete", "patch", "put", "patch"]
    again = region.changes()[3]
    assert again["hybrid_timestamp"] == region.changes()[2]["hybrid_timestamp"]


def _producer_of(region: Region) -> str:
    (record,) = region.cluster.read(topics.STATE, partition_of("vm-1", PARTITIONS), 0, 1).records
    name: str = decode_event(record.value or b"")[1]["producer"]
    return name


def _delete(change: Record) -> Record:
    return change | {"operation": "delete", "document": None, "base_version": None}
