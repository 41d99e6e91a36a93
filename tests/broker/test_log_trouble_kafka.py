"""Log trouble on a real Kafka: topics cut, made anew, overrun, grown; one node, its own broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.kafka import KafkaLog
from connectors.log import NewRecord
from connectors.producer import StateProducer
from dwcp.client import get_json
from dwcp.demo.node import NodeProcess
from schemas.errors import NodeError
from streams.agents.acceptance import accept
from streams.topics import STATE, TopicSettings, topic_specs
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

PARTITIONS = 2
WAIT_S = 60.0


class Site:
    """A broker and a node."""

    def __init__(self, folder: Path) -> None:
        self.broker = KafkaBroker(folder / "kafka", port=free_port())
        self.node = NodeProcess("east-1", folder / "node")

    @property
    def log(self) -> KafkaLog:
        return KafkaLog({"bootstrap_servers": self.broker.bootstrap})

    async def start_node(self) -> None:
        await self.node.start(
            {
                "region": "east",
                "kafka": {"bootstrap": self.broker.bootstrap},
                "state": {"partition_count": PARTITIONS, "snapshot_interval_s": 1},
                "link": {"plain": True},
            }
        )

    async def write(self, count: int) -> None:
        log = self.log
        producer = StateProducer(log, region="east", name="test", partition_count=PARTITIONS)
        async with producer as states:
            for n in range(count):
                await (await states.put(f"e{n % 20}", {"n": n}))
        await log.close()

    async def ownership(self) -> dict[str, Any]:
        found: dict[str, Any] = (await get_json(self.node.url, "/status"))["ownership"]
        return found

    async def until_troubles(self, **reasons: str) -> None:
        expected = {name.removeprefix("p"): reason for name, reason in reasons.items()}
        found: dict[str, str] = {}

        async def are_as_expected() -> bool:
            try:
                troubles = (await self.ownership())["troubles"]
            except NodeError:
                return False
            found.clear()
            found.update({p: t["reason"] for p, t in troubles.items()})
            return found == expected

        await until(are_as_expected, WAIT_S, f"troubles {expected}, last {found}")

    async def accept(self, *partitions: int) -> None:
        log = self.log
        for partition in partitions:
            await accept(log, "east", partition, {})
        await log.close()

    async def admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        await admin.start()
        return admin


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.broker.start()
    try:
        await made.start_node()
        await made.write(40)
        yield made
    finally:
        await made.node.stop()
        await made.broker.stop()


async def test_a_topic_deleted_and_made_again_is_named_and_accepted(site: Site) -> None:
    admin = await site.admin()
    await admin.delete_topics([STATE])
    await admin.close()
    log = site.log
    specs = [s for s in topic_specs(TopicSettings(partition_count=PARTITIONS)) if s.name == STATE]

    async def is_made() -> bool:
        try:
            await log.create_topics(specs)
        except Exception:  # noqa: BLE001 - the old one is still being deleted
            return False
        return True

    await until(is_made, WAIT_S, "the new topic")
    await log.close()
    await site.until_troubles(p0="TopicRecreated", p1="TopicRecreated")
    await site.accept(0, 1)
    await site.until_troubles()
    assert (await get_json(site.node.url, "/status"))["entities"] == 20
    await site.write(20)


async def test_a_log_whose_end_was_lost_is_named_and_accepted(site: Site) -> None:
    log = site.log
    ends = await log.end_offsets(STATE)
    await log.close()
    await site.node.stop()
    await site.broker.stop()
    for path in (site.broker.data_dir / "log").glob(f"{STATE}-0/*"):
        if path.suffix in {".log", ".index", ".timeindex", ".snapshot"} or "epoch" in path.name:
            path.unlink()
    await site.broker.start()
    await site.start_node()
    await site.until_troubles(p0="LogTruncated")
    assert (await site.ownership())["holds"] == [1]
    assert ends[0] > 0
    await site.accept(0)
    await site.until_troubles()
    await site.write(20)


async def test_retention_overrun_is_named_and_skipped(site: Site) -> None:
    await site.node.stop()
    await site.write(40)
    log = site.log
    end = (await log.end_offsets(STATE))[1]
    await log.close()
    admin = await site.admin()
    place = TopicPartition(STATE, 1)
    await admin.delete_records({place: RecordsToDelete(before_offset=end - 2)})
    await admin.close()
    await site.start_node()
    await site.until_troubles(p1="RetentionOverrun")
    await site.accept(1)
    await site.until_troubles()


async def test_partitions_that_were_added_are_nobodys_and_the_others_go_on(site: Site) -> None:
    admin = await site.admin()
    await admin.create_partitions({STATE: NewPartitions(total_count=PARTITIONS + 2)})
    await admin.close()
    log = site.log

    async def is_known() -> bool:
        return len(await log.end_offsets(STATE)) == PARTITIONS + 2

    await until(is_known, WAIT_S, "the new partitions")
    await log.append(STATE, PARTITIONS + 1, [NewRecord(None, b"x")])
    await log.close()
    await site.until_troubles(p2="PartitionCountChanged", p3="PartitionCountChanged")
    await site.write(40)
    await site.node.stop()
    with pytest.raises(NodeError, match="4 partitions, 2 are configured"):
        await site.start_node()
    await asyncio.sleep(0)
