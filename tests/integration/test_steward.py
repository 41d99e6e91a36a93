"""The steward over a log in memory: takes, loses, takes back, hands over."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from connectors.log import NewRecord, RecordRange, TopicSpec
from connectors.memory import MemoryCluster, MemoryLog
from schemas.errors import LogUnavailableError, PartitionNotHeldError
from streams import topics
from streams.agents import steward as stewards
from streams.agents.replica import Replica, writer_name
from streams.agents.steward import Steward
from tests.support.events import APPENDED_MS, event, put
from tests.support.waiting import until

WAIT_S = 10.0


class Site:
    """A node's replica and steward, and what they told."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.replica = Replica("ams", 4, MemoryLog(cluster))
        self.moves: list[list[int]] = []
        self.failures: list[BaseException] = []
        self.steward = Steward(
            self.replica,
            lambda: self.moves.append(sorted(self.steward.holds)),
            self.failures.append,
        )


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster(lambda: time.time_ns() // 1_000_000)
    for spec in topics.topic_specs(topics.TopicSettings()):
        made.create(spec)
    return made


@pytest.fixture
async def site(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(stewards, "RETAKE_S", 0.02)
    made = Site(cluster)
    yield made
    await made.steward.close()
    assert made.failures == []


async def until_holds(site: Site, *partitions: int) -> None:
    await until(lambda: site.steward.holds == set(partitions), WAIT_S, f"to hold {partitions}")


def incoming(partition: int, offset: int) -> RecordRange:
    record = NewRecord(None, event(put("e")), record_time_ms=APPENDED_MS)
    cluster = MemoryCluster(lambda: APPENDED_MS)
    cluster.create(TopicSpec("x", 1))
    cluster.append("x", 0, record)
    (found,) = cluster.read("x", 0, 0, 1).records
    return RecordRange(partition, offset, offset + 1, [found._replace(offset=offset)])


async def test_what_the_group_gives_is_held_in_one_move_and_given_up_in_one(site: Site) -> None:
    site.steward.assign({0, 1, 3})
    await until_holds(site, 0, 1, 3)
    site.steward.assign({1, 2})
    await until_holds(site, 1, 2)

    assert site.moves == [[0, 1, 3], [1], [1, 2]]
    assert site.steward.is_settled


async def test_what_was_restored_is_held_when_the_rest_of_its_move_goes_elsewhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, gate = site.replica.take, asyncio.Event()

    async def wait_for_three(partition: int) -> None:
        if partition == 3:
            await gate.wait()
        await take(partition)

    monkeypatch.setattr(site.replica, "take", wait_for_three)
    site.steward.assign({0, 3})
    await until(lambda: site.replica.held == {0}, WAIT_S, "one of two to be restored")
    assert site.moves == []
    site.steward.assign({0})
    assert site.moves == [[0]]
    gate.set()
    await until(lambda: 3 not in site.replica.held, WAIT_S, "the other to be given up")


async def test_a_rebalance_that_moves_nothing_tells_nobody(site: Site) -> None:
    site.steward.assign({0, 1})
    await until_holds(site, 0, 1)
    site.steward.assign({0, 1})

    assert site.moves == [[0, 1]]


async def test_a_fenced_partition_is_dropped_at_once_and_taken_back(
    site: Site, cluster: MemoryCluster
) -> None:
    site.steward.assign({0, 1})
    await until_holds(site, 0, 1)
    cluster.fence(writer_name("ams", 1))
    with pytest.raises(Exception, match="another node took over"):
        await site.replica.take_in("iad", incoming(1, 0))
    with pytest.raises(PartitionNotHeldError):
        await site.replica.take_in("iad", incoming(1, 0))
    await until(lambda: len(site.moves) == 3, WAIT_S, "to have it back")

    assert site.moves == [[0, 1], [0], [0, 1]]
    assert await site.replica.take_in("iad", incoming(1, 0)) == 1


async def test_a_partition_in_trouble_keeps_nobody_waiting_and_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, is_broken = site.replica.take, True

    async def fail_for_two(partition: int) -> None:
        if partition == 2 and is_broken:
            raise LogUnavailableError("no coordinator")
        await take(partition)

    monkeypatch.setattr(site.replica, "take", fail_for_two)
    site.steward.assign({0, 2})
    await until_holds(site, 0)
    assert site.steward.is_settled
    assert str(site.steward.troubles[2]) == "no coordinator"
    is_broken = False
    await until_holds(site, 0, 2)

    assert site.steward.troubles == {}


async def test_what_is_left_out_during_a_restore_is_folded_by_it(
    site: Site, cluster: MemoryCluster
) -> None:
    record = NewRecord(None, event(put("e")))
    offset = cluster.append(topics.STATE, 0, record)
    (found,) = cluster.read(topics.STATE, 0, offset, offset + 1).records
    await site.replica.fold_state(0, found)
    assert site.replica.store.partitions == {}
    site.steward.assign({0})
    await until_holds(site, 0)

    assert site.replica.store.partitions[0].vector == {"ams": 1}


async def test_a_hole_behind_a_rebalance_is_filled_from_the_log(
    site: Site, cluster: MemoryCluster
) -> None:
    """Another node folded and committed meanwhile: the consumer goes on behind it."""
    site.steward.assign({0})
    await until_holds(site, 0)
    for name in ("e", "f", "g"):
        cluster.append(topics.STATE, 0, NewRecord(None, event(put(name))))
    site.steward.assign({0})
    (last,) = cluster.read(topics.STATE, 0, 2, 3).records
    await site.replica.fold_state(0, last)

    state = site.replica.store.partitions[0]
    assert state.vector == {"ams": 3}


async def test_handing_over_leaves_a_snapshot_and_carries_nothing_any_more(
    site: Site, cluster: MemoryCluster
) -> None:
    site.steward.assign({0, 1})
    await until_holds(site, 0, 1)
    await site.replica.take_in("iad", incoming(1, 0))
    (record,) = cluster.read(topics.REPLICA, 1, 0, 1).records
    await site.replica.fold_replica(1, record)
    await site.steward.hand_over()
    assert site.moves[-1] == []
    assert 1 in site.replica.store.partitions  # readers are served to the end
    await site.steward.close()

    successor = Site(cluster)
    successor.steward.assign({1})
    await until_holds(successor, 1)
    assert successor.replica.restored[1]["records_replayed"] == 0
    assert successor.replica.cursors("iad") == {1: 1}
    await successor.steward.close()


async def test_an_error_of_ours_ends_the_node(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(_: int) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(site.replica, "take", crash)
    site.steward.assign({0})
    await until(lambda: len(site.failures) == 1, WAIT_S, "the failure")
    assert str(site.failures.pop()) == "a bug"
    await asyncio.sleep(0)


async def test_a_care_that_ends_by_a_cancellation_of_nobody_fails_the_node(
    cluster: MemoryCluster,
) -> None:
    """As when a library lets one out: else the partition would be nobody's, without a word."""
    site = Site(cluster)

    async def let_out(_partition: int) -> None:
        raise asyncio.CancelledError

    site.replica.take = let_out  # type: ignore[method-assign, assignment]
    site.steward.assign({1})
    await until(lambda: bool(site.failures), WAIT_S, "the node to be told")
    await site.steward.close()

    assert "partition 1" in str(site.failures[0])
