"""Baselines travel to the peer, and a new link begins where the old one ended."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any

from connectors.log import NewRecord
from connectors.producer import StateProducer
from schemas.registry import decode_event
from streams import topics
from streams.agents.baselines import Baselines, BaselineSettings
from streams.agents.incoming import Incoming
from streams.agents.outgoing import Outgoing
from streams.agents.receiver import Receiver
from streams.agents.sender import run_sender
from streams.agents.status import SenderStatus
from tests.support.links import PARTITION_COUNT, SETTINGS, Region
from tests.support.waiting import until
from transport.session.objects import Shelf

WAIT_S = 20
LIMITS = BaselineSettings(baseline_bytes=100_000)
DICE = random.Random(1)
DOCUMENTS: dict[str, dict[str, Any]] = {
    f"vm-{n}": {"id": f"{DICE.getrandbits(256):064x}", "state": "on", "n": 0} for n in range(300)
}


class Node:
    """A region's node as far as links and baselines go."""

    def __init__(self, name: str, limits: BaselineSettings = LIMITS) -> None:
        self.region = Region(name)
        self.senders: list[Outgoing] = []
        self.baselines = Baselines(
            self.region.replica, f"{name}-1", self.region.log, self.senders, limits
        )

    async def start(self) -> None:
        await self.region.replica.restore()
        await self.baselines.load()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        region = self.region
        receiver = Receiver(
            Incoming(
                lambda: region.identity,
                SETTINGS,
                region.log,
                region.replica,
                region.digest,
                lambda peer, _: region.heard.append(peer),
                None,
                Shelf(1 << 24),
                self.baselines.on_object,
                find=self.baselines.directory.find,
            )
        )
        await receiver.start(region.address)
        try:
            yield receiver
        finally:
            # A door that is shut while it opens loses sight of who is in it.
            await until(lambda: receiver._door.open_count == 0, WAIT_S, "all have left")
            await receiver.stop()

    @contextlib.asynccontextmanager
    async def shipping_to(self, peer: "Node") -> AsyncIterator[SenderStatus]:
        """Run one life of a link; what waits for the peer outlives it."""
        region = self.region
        status = SenderStatus(peer.region.name, peer.region.address)
        outgoing = Outgoing(
            lambda: region.identity,
            SETTINGS,
            region.log,
            region.digest,
            lambda peer, _: region.heard.append(peer),
            0,
            status,
            baseline=self.baselines.baseline,
        )
        if self.senders:  # the same sender dials again
            outgoing = self.senders[0]
            status = outgoing.status
        else:
            self.senders.append(outgoing)
        running = asyncio.ensure_future(run_sender(outgoing))
        try:
            yield status
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def write(self, number: int) -> None:
        """Change every document, and fold the changes."""
        region = self.region
        before = [end for _, end in region.cluster.offsets(topics.STATE)]
        async with StateProducer(
            region.log, region=region.name, name=f"w{number}", partition_count=PARTITION_COUNT
        ) as states:
            for entity, document in DOCUMENTS.items():
                await states.put(entity, document | {"n": number}, entity_type="vm")
            await states.flush()
        for partition, offset in enumerate(before):
            for record in region.stored(topics.STATE, partition)[offset:]:
                await region.replica.fold_state(partition, record)

    def arrived_from(self, other: "Node") -> bool:
        return self.region.count(topics.REPLICA) == other.region.count(topics.STATE)


@contextlib.asynccontextmanager
async def pair(limits: BaselineSettings = LIMITS) -> AsyncIterator[tuple[Node, Node]]:
    ams, iad = Node("ams"), Node("iad", limits)
    await ams.start()
    await iad.start()
    async with iad.listening():
        yield ams, iad


async def test_a_new_link_begins_with_what_the_peer_has_taken() -> None:
    async with pair() as (ams, iad):
        await ams.write(1)
        async with ams.shipping_to(iad) as status:
            await until(lambda: iad.arrived_from(ams), WAIT_S, "the first documents")
            made = await ams.baselines.make()
            await until(lambda: not ams.senders[0].objects, WAIT_S, "the baseline")
        cold_bytes = status.encoded_bytes
        await ams.write(2)
        async with ams.shipping_to(iad) as status:
            await until(lambda: iad.arrived_from(ams), WAIT_S, "the second documents")

        warm_bytes = status.encoded_bytes - cold_bytes
        flow = status.flows[topics.STATE]
        assert made["documents"] == 300
        assert made["baseline"]
        assert flow.baseline_refreshes == 1
        assert flow.nacks == 0
        assert warm_bytes * 4 < cold_bytes
        names = {one["name"] for one in iad.baselines.to_json()["held"]}
        assert made["baseline"] in names
        # It stands in both topics, for restarts.
        for node in (ams, iad):
            stored = [
                decode_event(record.value)[1]["region"]
                for record in node.region.stored(topics.BASELINES, 0)
                if record.value
            ]
            assert stored == ["ams"]


async def test_a_peer_that_lost_everything_is_served_without() -> None:
    async with pair() as (ams, iad):
        await ams.write(1)
        async with ams.shipping_to(iad) as status:
            await ams.baselines.make()
            await until(lambda: not ams.senders[0].objects, WAIT_S, "the baseline")
            await until(lambda: iad.arrived_from(ams), WAIT_S, "the first documents")
        for one in iad.baselines.to_json()["held"]:
            iad.baselines.directory.forget(int(one["name"], 16))
        await ams.write(2)
        async with ams.shipping_to(iad) as status:
            await until(lambda: iad.arrived_from(ams), WAIT_S, "the second documents")

        assert status.flows[topics.STATE].nacks == 1
        assert status.rewinds == 1


async def test_what_a_peer_had_to_forget_is_not_built_on() -> None:
    small = BaselineSettings(baseline_bytes=100_000, memory_bytes=40_000)
    async with pair(small) as (ams, iad), ams.listening():
        await ams.write(1)
        async with ams.shipping_to(iad), iad.shipping_to(ams):
            await until(lambda: iad.arrived_from(ams), WAIT_S, "the first documents")
            first = await ams.baselines.make()
            await until(lambda: not ams.senders[0].objects, WAIT_S, "the first baseline")
            await ams.write(2)
            await ams.baselines.make()
            await until(
                lambda: any(
                    one["name"] == first["baseline"]
                    for one in ams.baselines.to_json()["evicted_by_peers"]
                ),
                WAIT_S,
                "the word that the first one is gone",
            )


async def test_a_restart_knows_what_stands_in_the_topic() -> None:
    ams = Node("ams")
    await ams.start()
    await ams.write(1)
    made = await ams.baselines.make()
    await ams.write(2)
    await ams.baselines.make()
    held = ams.baselines.to_json()["held"]
    again = Baselines(ams.region.replica, "ams-1", ams.region.log, [], LIMITS)

    await again.load()

    assert [one["name"] for one in again.to_json()["held"]] == [one["name"] for one in held]
    assert made["baseline"] in {one["name"] for one in held}


async def test_garbage_in_the_topic_is_named_and_skipped() -> None:
    ams = Node("ams")
    await ams.start()
    await ams.region.log.append(topics.BASELINES, 0, [NewRecord(b"x" * 8, b"rubbish")])
    again = Baselines(ams.region.replica, "ams-1", ams.region.log, [], LIMITS)
    await again.load()

    assert again.to_json()["held"] == []
    assert json.dumps(again.to_json())
