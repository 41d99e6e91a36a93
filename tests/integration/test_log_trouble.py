"""Logs that are not what they were: named, only that partition stops, and a way out."""

import json
import time
from collections.abc import AsyncIterator

import pytest

from connectors.log import NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from schemas.errors import ConfigError
from schemas.log_trouble import LogStoppedError, LogTroubleError, RetentionOverrunError
from streams import topics
from streams.agents import steward as stewards
from streams.agents.acceptance import accept
from streams.agents.replica import Replica
from streams.agents.steward import Steward
from streams.replication import Origin, origin_headers
from tests.support.events import event, put
from tests.support.links import Region, has_all, shipping
from tests.support.waiting import until

WAIT_S = 10.0
OTHERS = {0, 2, 3}


class Site:
    """A region's cluster and one node of it."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
        for spec in topics.topic_specs(topics.TopicSettings()):
            self.cluster.create(spec)
        self.log = MemoryLog(self.cluster)
        self.start()

    def start(self) -> None:
        self.replica = Replica("ams", 4, self.log)
        self.failures: list[BaseException] = []
        self.steward = Steward(self.replica, lambda: None, self.failures.append)

    async def hold_all(self) -> None:
        self.steward.assign(range(4))
        await self.until_held(*range(4))

    async def until_held(self, *partitions: int) -> None:
        await until(
            lambda: self.steward.is_settled and self.replica.held == set(partitions),
            WAIT_S,
            f"to hold {partitions}",
        )

    def reason(self) -> str:
        return self.steward.troubles[1].reason

    async def write(self, count: int, *, is_folded: bool = True) -> None:
        """Append to partition 1 of both topics, and fold."""
        for n in range(count):
            offset = self.cluster.append(topics.STATE, 1, NewRecord(None, event(put(f"s{n}"))))
            headers = origin_headers(Origin("iad", 1, offset))
            value = event(put(f"r{n}", origin_region="iad"))
            self.cluster.append(topics.REPLICA, 1, NewRecord(None, value, headers))
        if is_folded:
            await self.fold()

    async def fold(self) -> None:
        for topic, fold in (
            (topics.STATE, self.replica.fold_state),
            (topics.REPLICA, self.replica.fold_replica),
        ):
            start, end = self.cluster.offsets(topic)[1]
            for record in self.cluster.read(topic, 1, start, end).records:
                await fold(1, record)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(stewards, "RETAKE_S", 0.02)
    monkeypatch.setattr(stewards, "TROUBLE_S", 0.02)
    made = Site()
    await made.hold_all()
    await made.write(10)
    await made.replica.snapshot()
    await made.write(10)
    yield made
    await made.steward.close()
    assert made.failures == []


@pytest.mark.parametrize("topic", [topics.STATE, topics.REPLICA])
async def test_a_cut_log_stops_its_partition_until_somebody_accepts(site: Site, topic: str) -> None:
    site.cluster.cut_end(topic, 1, 15)
    await site.replica.watch_logs()
    await site.until_held(*OTHERS)
    assert site.reason() == "LogTruncated"
    assert "it ends at 15" in str(site.steward.troubles[1])

    found = await accept(site.log, "ams", 1, {})
    await site.until_held(*range(4))
    assert found["before"]["state_offset"] == 10
    assert site.steward.troubles == {}
    await site.write(3)
    assert site.replica.store.get("s2") is not None


async def test_a_verdict_outlives_the_node_that_found_it(site: Site) -> None:
    site.cluster.cut_end(topics.STATE, 1, 15)  # behind the snapshot: a restore alone sees nothing
    await site.replica.watch_logs()
    await site.steward.close()
    site.start()
    site.steward.assign(range(4))
    await site.until_held(*OTHERS)

    assert isinstance(site.steward.troubles[1], LogStoppedError)
    assert site.reason() == "LogTruncated"


async def test_what_arrives_while_a_restore_asks_for_the_end_is_no_cut_log(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = site.log.end_offsets

    async def ask_as_a_record_arrives(topic: str) -> dict[int, int]:
        found = await ask(topic)
        if topic == topics.STATE and 1 not in site.replica.held and found[1] == 20:
            await site.write(1)  # the consumer hands it over before we hear of the end
        return found

    monkeypatch.setattr(site.log, "end_offsets", ask_as_a_record_arrives)
    await site.replica.drop(1)
    await site.replica.take(1)

    assert site.replica.held == set(range(4))
    assert site.steward.troubles == {}
    assert site.replica.cursors("ams")[1] == 21


@pytest.mark.parametrize("topic", [topics.STATE, topics.REPLICA])
async def test_a_topic_made_anew_is_known_by_its_id(site: Site, topic: str) -> None:
    kept = site.cluster._topics[topic]
    site.cluster.recreate(topic)
    for partition in (0, 2, 3):  # the same in its other partitions: they stop as well
        assert site.cluster.offsets(topic)[partition] == (0, 0)
    await site.write(30, is_folded=False)  # it is longer than it was: offsets alone say nothing
    await site.replica.watch_logs()
    await site.until_held()
    assert {error.reason for error in site.steward.troubles.values()} == {"TopicRecreated"}
    assert kept is not site.cluster._topics[topic]

    for partition in range(4):
        await accept(site.log, "ams", partition, {})
    await site.until_held(*range(4))


async def test_a_topic_made_anew_while_we_were_away_is_known_too(site: Site) -> None:
    await site.steward.hand_over()
    await site.steward.close()
    site.cluster.recreate(topics.REPLICA)
    site.start()
    site.steward.assign(range(4))
    await site.until_held()

    assert {error.reason for error in site.steward.troubles.values()} == {"TopicRecreated"}


async def test_retention_that_overran_a_restart_is_named_and_can_be_skipped(site: Site) -> None:
    await site.steward.close()
    await site.write(10, is_folded=False)
    site.cluster.truncate(topics.STATE, 1, 25)
    site.start()
    site.steward.assign(range(4))
    await site.until_held(*OTHERS)
    assert site.reason() == "RetentionOverrun"
    assert "15 offsets are gone" in str(site.steward.troubles[1])

    await accept(site.log, "ams", 1, {})
    await site.until_held(*range(4))
    assert site.replica.store.partitions[1].vector["ams"] == 30


async def test_retention_that_overran_a_slow_consumer_is_named(site: Site) -> None:
    await site.write(10, is_folded=False)
    site.cluster.truncate(topics.STATE, 1, 25)
    await site.fold()
    await site.until_held(*OTHERS)

    assert site.reason() == "RetentionOverrun"


async def test_a_reset_of_the_groups_offsets_changes_nothing(site: Site) -> None:
    before = site.replica.store.digest()
    await site.fold()  # from the beginning, as after a reset to earliest

    assert site.replica.store.digest() == before
    assert site.steward.troubles == {}


async def test_an_origin_is_not_skipped_while_a_replay_would_bring_it_back(site: Site) -> None:
    with pytest.raises(ConfigError, match="stop the nodes in order"):
        await accept(site.log, "ams", 1, {"iad": 0})
    await site.until_held(*range(4))
    await site.steward.hand_over()
    await site.steward.close()
    found = await accept(site.log, "ams", 1, {"iad": 0})

    assert {"region": "iad", "offset": 0} in found["after"]["origins"]


async def test_a_partition_that_is_not_there_cannot_be_accepted(site: Site) -> None:
    with pytest.raises(ConfigError, match="4 partitions"):
        await accept(site.log, "ams", 9, {})


async def test_what_a_verdict_looks_like(site: Site) -> None:
    await site.replica.stop(1, RetentionOverrunError(topics.STATE, 1, 3, 9))
    start, end = site.cluster.offsets(topics.SNAPSHOTS)[1]
    last = site.cluster.read(topics.SNAPSHOTS, 1, start, end).records[-1]

    assert last.key == b"trouble"
    assert json.loads(last.value or b"")["reason"] == "RetentionOverrun"
    assert isinstance(site.steward.troubles[1], LogTroubleError)


@pytest.mark.parametrize("reason", ["LogTruncated", "RetentionOverrun"])
async def test_a_link_goes_on_without_the_partition_in_trouble(reason: str) -> None:
    ams, iad = Region("ams"), Region("iad")
    await ams.produce(20)
    async with iad.listening():
        async with shipping(ams, "iad", iad.address):
            await until(has_all(iad, ams), WAIT_S, "the first records")
        await ams.produce(10)
        if reason == "LogTruncated":
            ams.cluster.cut_end(topics.STATE, 1, 10)
        else:
            ams.cluster.truncate(topics.STATE, 1, 25)
        before = len(iad.stored(topics.REPLICA, 1))
        async with shipping(ams, "iad", iad.address) as link:
            await until(lambda: 1 in link.status.troubles, WAIT_S, "the trouble")
            for partition in OTHERS:
                await until(
                    lambda p=partition: len(iad.stored(topics.REPLICA, p)) == 30,  # type: ignore[misc]
                    WAIT_S,
                    "the others",
                )
        assert link.status.troubles[1].startswith(reason)
        assert len(iad.stored(topics.REPLICA, 1)) == before
