"""The demo's writers: one producer a region, and a memory of what Kafka acknowledged."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping

from connectors.kafka import KafkaLog
from connectors.producer import ProducerSettings, StateProducer
from dwcp.demo.expected import Expected
from dwcp.demo.inputs import EntityDocument
from schemas.changes import StateChange
from schemas.errors import DwcpError
from schemas.ids import Dot, Version


class Writers:
    """Writes changes into all regions and notes what became durable where.

    Args:
        bootstraps: Kafka of each region.
        partition_count: Partitions of the state topic.
        rate_per_s: Changes a second in all; 0 for as fast as it goes.
        diff_bytes: Documents that each producer remembers, to send what changed; 0: whole ones.

    Attributes:
        produced: Changes handed over.
        stored: Changes acknowledged.
        failed: Messages of changes that were refused or whose outcome is unknown.
        raw_bytes: JSON text of the documents and patches written, by region.
        records: Changes in each record that Kafka acknowledged, by (region, partition, offset).
        ends: Next offset after the last acknowledged one, by region and partition.
        expected: What all regions have to hold in the end.
    """

    def __init__(
        self,
        bootstraps: Mapping[str, str],
        partition_count: int,
        rate_per_s: float,
        diff_bytes: int = 0,
    ) -> None:
        self._settings = ProducerSettings(diff_bytes=diff_bytes)
        self._bootstraps = bootstraps
        self._partition_count = partition_count
        self._rate_per_s = rate_per_s
        self.produced = 0
        self.stored = 0
        self.failed: list[str] = []
        self.raw_bytes = dict.fromkeys(bootstraps, 0)
        self.records: dict[tuple[str, int, int], int] = {}
        self.ends: dict[str, dict[int, int]] = {region: {} for region in bootstraps}
        self.expected = Expected()
        self.first_s = 0.0
        self.last_s = 0.0

    async def run(self, items: Iterable[tuple[str, EntityDocument]]) -> None:
        """Write everything; done when all of it is durable or has failed."""
        async with contextlib.AsyncExitStack() as stack:
            producers = {region: await self._producer(stack, region) for region in self._bootstraps}
            self.first_s = time.monotonic()
            for region, item in items:
                await self._write(region, producers[region], item)
                await self._keep_pace()
            for producer in producers.values():
                await producer.flush()

    async def _producer(self, stack: contextlib.AsyncExitStack, region: str) -> StateProducer:
        log = KafkaLog({"bootstrap_servers": self._bootstraps[region]})
        stack.push_async_callback(log.close)
        producer = StateProducer(
            log,
            region=region,
            name=f"demo-{region}",
            partition_count=self._partition_count,
            settings=self._settings,
        )
        return await stack.enter_async_context(producer)

    async def _write(self, region: str, producer: StateProducer, item: EntityDocument) -> None:
        kind = item.entity_type
        if item.patch is not None:
            stored = await producer.patch(item.entity, item.patch, entity_type=kind)
        elif item.document is not None:
            stored = await producer.put(item.entity, item.document, entity_type=kind)
        else:
            stored = await producer.delete(item.entity, entity_type=kind)
        change = producer.last_change
        assert change is not None, "a change was handed over"
        self.produced += 1
        stored.add_done_callback(lambda done: self._settle(region, change, done))

    def _settle(self, region: str, change: StateChange, stored: "asyncio.Future[Dot]") -> None:
        error = stored.exception()
        if error is not None:
            if not isinstance(error, DwcpError):
                raise error
            self.failed.append(str(error))
            return
        dot = stored.result()
        self.stored += 1
        self.last_s = time.monotonic()
        self.raw_bytes[region] += _raw_bytes(change)
        place = (region, dot.partition, dot.offset)
        self.records[place] = self.records.get(place, 0) + 1
        ends = self.ends[region]
        ends[dot.partition] = max(ends.get(dot.partition, 0), dot.offset + 1)
        stamp = change["hybrid_timestamp"]
        assert stamp is not None, "our producer stamps"
        self.expected.note(change, Version(stamp, region, dot.offset, dot.change_index))

    async def _keep_pace(self) -> None:
        if not self._rate_per_s:
            return
        ahead_s = self.first_s + self.produced / self._rate_per_s - time.monotonic()
        if ahead_s > 0.005:  # noqa: PLR2004 - timers are not finer than that
            await asyncio.sleep(ahead_s)


def _raw_bytes(change: StateChange) -> int:
    """Return the size of what a service would have sent as compact JSON, without any envelope."""
    if change["document"] is not None:
        return len(change["document"].encode())
    size = 2
    for delta in change["deltas"]:
        value = delta["value"]
        text = value["json"] if isinstance(value, dict) else value
        size += len(delta["path"]) + len(str(text)) + 4
    return size
