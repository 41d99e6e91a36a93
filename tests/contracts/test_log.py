"""The promise of `connectors.log.Log`, kept by every implementation alike."""

import asyncio
import random
import time

import pytest
import pytest_asyncio

from connectors.log import Headers, Log, NewRecord, TopicSpec
from schemas.errors import (
    LogError,
    LogUnavailableError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    TopicMismatchError,
)
from tests.support.clusters import Cluster, InMemory, OnKafka, flat, new_topic, take, values
from tests.support.kafka import unique_topic

MISSING = "contract-that-nobody-created"


async def test_a_missing_topic_is_created_and_can_be_used_at_once(log: Log) -> None:
    names = [unique_topic("created") for _ in range(3)]
    warnings = await log.create_topics([TopicSpec(name, 3) for name in names])

    assert warnings == []
    for name in names:
        assert await log.end_offsets(name) == {0: 0, 1: 0, 2: 0}
        assert await log.append(name, 2, values("x")) == [0]


async def test_nothing_asked_for_is_nothing_done(log: Log) -> None:
    assert await log.create_topics([]) == []


async def test_an_equal_topic_is_taken_as_it_is(log: Log) -> None:
    settings = {"cleanup.policy": "compact", "retention.ms": "3600000"}
    spec = TopicSpec(unique_topic("equal"), 2, settings=settings)
    await log.create_topics([spec])
    await log.append(spec.name, 1, [NewRecord(b"k", b"v")])

    assert await log.create_topics([spec]) == []
    assert await log.end_offsets(spec.name) == {0: 0, 1: 1}


async def test_two_that_create_the_same_topics_at_once_both_succeed(log: Log) -> None:
    specs = [TopicSpec(unique_topic("race"), 2) for _ in range(3)]

    assert await asyncio.gather(*(log.create_topics(specs) for _ in range(3))) == [[], [], []]


async def test_another_partition_count_is_refused(log: Log) -> None:
    name = await new_topic(log, 2)

    with pytest.raises(TopicMismatchError, match=rf"{name} has 2 partitions, 3 "):
        await log.create_topics([TopicSpec(name, 3)])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime")],
)
async def test_another_setting_that_must_match_is_refused(
    log: Log, setting: str, value: str
) -> None:
    name = await new_topic(log)

    with pytest.raises(TopicMismatchError, match=rf"{name} has {setting} = .*{value}"):
        await log.create_topics([TopicSpec(name, 1, settings={setting: value})])


async def test_another_setting_is_a_warning(log: Log) -> None:
    name = await new_topic(log, retention_ms="3600000")
    warnings = await log.create_topics([TopicSpec(name, 1, settings={"retention.ms": "7200000"})])

    assert warnings == [f"{name} has retention.ms = 3600000, configured is 7200000"]


async def test_fewer_copies_than_asked_for_are_a_warning(log: Log) -> None:
    name = await new_topic(log)

    assert await log.create_topics([TopicSpec(name, 1, replication_factor=3)]) == [
        f"{name} has 1 copies, 3 are configured"
    ]


async def test_offsets_follow_each_other(log: Log) -> None:
    topic = await new_topic(log, 2)

    assert await log.append(topic, 0, values("a", "b", "c")) == [0, 1, 2]
    assert await log.append(topic, 0, values("d")) == [3]
    assert await log.append(topic, 1, values("e")) == [0]
    assert await log.append(topic, 0, []) == []
    assert await log.end_offsets(topic) == {0: 4, 1: 1}
    assert await log.start_offsets(topic) == {0: 0, 1: 0}


HEADERS: dict[str, Headers] = {
    "none": (),
    "order": (("b", b"1"), ("a", b"2"), ("c", b"3")),
    "duplicates": (("a", b"1"), ("a", b"2"), ("a", b"1")),
    "empty value": (("a", b""),),
    "empty name": (("", b"x"),),
    "name beyond ASCII": (("größe", bytes(range(256))),),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("value", [None, b"", b"v\x00\xff"], ids=["null", "empty", "bytes"])
@pytest.mark.parametrize("key", [None, b"", b"k\x00\xff"], ids=["null", "empty", "bytes"])
async def test_a_record_comes_back_as_it_went(
    cluster: Cluster, shared_topic: str, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    log = cluster.log
    (offset,) = await log.append(shared_topic, 0, [NewRecord(key, value, headers, 1_234_567)])
    (record,) = (await log.read(shared_topic, 0, offset, offset + 1)).records

    assert record == (offset, 1_234_567, key, value, headers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_topic(cluster: Cluster) -> str:
    """For tests that look only at what they appended."""
    return await new_topic(cluster.log)


async def test_create_time_is_kept_and_made_where_there_is_none(log: Log) -> None:
    topic = await new_topic(log, message_timestamp_type="CreateTime")
    before_ms = time.time_ns() // 1_000_000
    await log.append(topic, 0, [NewRecord(None, b"", (), 0), NewRecord(None, b"")])
    old, new = (await log.read(topic, 0, 0, 2)).records

    assert old.record_time_ms == 0
    assert before_ms <= new.record_time_ms <= time.time_ns() // 1_000_000


async def test_append_time_is_stamped_whatever_the_record_says(log: Log) -> None:
    topic = await new_topic(log, message_timestamp_type="LogAppendTime")
    before_ms = time.time_ns() // 1_000_000
    await log.append(topic, 0, [NewRecord(None, b"", (), 0)])
    (record,) = (await log.read(topic, 0, 0, 1)).records

    assert before_ms <= record.record_time_ms <= time.time_ns() // 1_000_000


async def test_a_large_append_keeps_its_order(log: Log) -> None:
    """Several batches of Kafka's."""
    topic = await new_topic(log)
    dice = random.Random(1)
    records = [NewRecord(b"%d" % n, dice.randbytes(1_000)) for n in range(1_500)]

    assert await log.append(topic, 0, records) == list(range(1_500))
    found = await log.read(topic, 0, 0, 1_500)
    assert [(r.key, r.value) for r in found.records] == [(r.key, r.value) for r in records]


async def test_appends_at_the_same_time_all_arrive_each_in_order(log: Log) -> None:
    topic = await new_topic(log, 2)
    tasks = [
        log.append(topic, p, values(*(f"{n}/{i}" for i in range(5))))
        for p in (0, 1)
        for n in range(8)
    ]
    offsets = await asyncio.gather(*tasks)

    for partition, given in ((0, offsets[:8]), (1, offsets[8:])):
        records = (await log.read(topic, partition, 0, 40)).records
        by_offset = {r.offset: r.value for r in records}
        assert sorted(by_offset) == list(range(40))
        for n, mine in enumerate(given):
            assert mine == sorted(mine)
            assert [by_offset[o] for o in mine] == [b"%d/%d" % (n, i) for i in range(5)]


@pytest.mark.parametrize("where", ["value", "key", "header"])
async def test_a_record_over_the_limit_is_refused_and_the_next_ones_work(
    log: Log, where: str
) -> None:
    topic = await new_topic(log, max_message_bytes="20000")
    blob = random.Random(2).randbytes(20_001)
    large = {
        "value": NewRecord(None, blob),
        "key": NewRecord(blob, b""),
        "header": NewRecord(None, b"", (("h", blob),)),
    }[where]
    await log.append(topic, 0, values("a"))
    for _ in range(2):
        with pytest.raises(RecordTooLargeError, match="20,000"):
            await log.append(topic, 0, [*values("b"), large])

    assert RecordTooLargeError.is_definite
    assert await log.append(topic, 0, values("c", "d")) == [1, 2]


async def test_many_records_may_together_be_larger_than_one_may_be(log: Log) -> None:
    topic = await new_topic(log, max_message_bytes="20000")
    dice = random.Random(3)
    records = [NewRecord(None, dice.randbytes(6_000)) for _ in range(20)]

    assert await log.append(topic, 0, records) == list(range(20))


async def test_a_range_is_what_stands_in_it(log: Log) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, values(*"abcde"))

    for start, end in ((0, 5), (1, 4), (4, 5), (0, 0), (3, 3), (5, 5)):
        found = await log.read(topic, 0, start, end)
        assert (found.partition, found.from_offset, found.to_offset) == (0, start, end)
        assert [r.offset for r in found.records] == list(range(start, end))


async def test_what_is_not_yet_in_the_log_is_out_of_range(log: Log) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))

    for start, end in ((0, 2), (1, 2), (2, 2), (5, 6)):
        with pytest.raises(OffsetOutOfRangeError):
            await log.read(topic, 0, start, end)
    tail = log.tail(topic, {0: 2})
    with pytest.raises(OffsetOutOfRangeError):
        await anext(tail)


async def test_what_is_no_longer_in_the_log_is_out_of_range(cluster: Cluster) -> None:
    log = cluster.log
    topic = await new_topic(log)
    await log.append(topic, 0, values(*"abcde"))
    await cluster.truncate(topic, 0, 3)

    assert await log.start_offsets(topic) == {0: 3}
    assert await log.end_offsets(topic) == {0: 5}
    assert [r.value for r in (await log.read(topic, 0, 3, 5)).records] == [b"d", b"e"]
    for start, end in ((0, 5), (2, 2), (2, 4)):
        with pytest.raises(OffsetOutOfRangeError):
            await log.read(topic, 0, start, end)
    tail = log.tail(topic, {0: 2})
    with pytest.raises(OffsetOutOfRangeError):
        await anext(tail)


async def test_aborted_records_leave_gaps_and_are_never_read(cluster: Cluster) -> None:
    log = cluster.log
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    await cluster.abort(topic, 0, values("x", "y"))
    (second,) = await log.append(topic, 0, values("b"))
    await cluster.abort(topic, 0, values("z"))
    ends = await log.end_offsets(topic)

    assert second > 2
    assert ends[0] > second + 1
    found = await log.read(topic, 0, 0, ends[0])
    assert [(r.offset, r.value) for r in found.records] == [(0, b"a"), (second, b"b")]
    assert (await log.read(topic, 0, 1, second)).records == []
    assert [r.value for r in flat(await take(log, topic, {0: 1}, ends))] == [b"b"]


@pytest.mark.parametrize("start", [0, 2, 4])
async def test_a_tail_goes_on_with_what_is_appended_later(log: Log, start: int) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, values(*"abcd"))
    taking = asyncio.ensure_future(take(log, topic, {0: start}, {0: 8}))
    for text in "efgh":
        await log.append(topic, 0, values(text))
    items = await asyncio.wait_for(taking, 10)

    assert [r.offset for r in flat(items)] == list(range(start, 8))
    assert b"".join(r.value or b"" for r in flat(items)) == b"abcdefgh"[start:]


async def test_a_tail_follows_several_partitions_and_only_those(log: Log) -> None:
    topic = await new_topic(log, 4)
    for partition in range(4):
        await log.append(topic, partition, values(*(f"{partition}{n}" for n in range(50))))
    items = await take(log, topic, {0: 0, 1: 10, 3: 49}, {0: 50, 1: 50, 3: 50})

    assert [r.value for r in flat(items, 0)] == [b"0%d" % n for n in range(50)]
    assert [r.offset for r in flat(items, 1)] == list(range(10, 50))
    assert [r.offset for r in flat(items, 3)] == [49]
    assert flat(items, 2) == []


@pytest.mark.parametrize("partition_count", [1, 3])
async def test_an_item_of_a_tail_is_about_as_large_as_asked_for(
    log: Log, partition_count: int
) -> None:
    """At most one record over the edge, and one larger record passes alone or last."""
    topic = await new_topic(log, partition_count)
    dice = random.Random(4)
    sizes = [500] * 40 + [30_000] + [500] * 40
    for partition in range(partition_count):
        records = [NewRecord(None, dice.randbytes(size)) for size in sizes]
        await log.append(topic, partition, records)
    starts, ends = dict.fromkeys(range(partition_count), 0), await log.end_offsets(topic)
    items = await take(log, topic, starts, ends, bytes_max=5_000)

    for partition in range(partition_count):
        assert [len(r.value or b"") for r in flat(items, partition)] == sizes
    for ranges in items:
        each = [r.size_bytes for part in ranges for r in part.records]
        assert sum(each) - max(each) <= 5_000
    assert len(items) >= 8 * partition_count


async def test_a_closed_tail_lets_go_of_everything(log: Log) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, values("a"))
    before = asyncio.all_tasks()
    unused, used, waiting = (log.tail(topic, {0: 0}) for _ in range(3))
    await anext(used)
    await anext(waiting)
    pending = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)
    for tail in (unused, used, waiting):
        await tail.aclose()

    assert asyncio.all_tasks() == before
    with pytest.raises(StopAsyncIteration):
        await anext(used)


async def ask(log: Log, call: str, topic: str, partition: int) -> None:
    match call:
        case "append":
            await log.append(topic, partition, values("a"))
        case "read":
            await log.read(topic, partition, 0, 1)
        case "tail":
            await anext(log.tail(topic, {partition: 0}))
        case _:
            await getattr(log, call)(topic)


@pytest.mark.parametrize("call", ["append", "read", "tail", "start_offsets", "end_offsets"])
async def test_an_unknown_topic_is_unavailable(log: Log, call: str) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(LogUnavailableError):
            await ask(log, call, MISSING, 0)


@pytest.mark.parametrize("call", ["append", "read", "tail"])
async def test_an_unknown_partition_is_unavailable(log: Log, call: str) -> None:
    topic = await new_topic(log, 2)
    async with asyncio.timeout(20):
        with pytest.raises(LogUnavailableError):
            await ask(log, call, topic, 2)

    assert await log.append(topic, 1, values("a")) == [0]
    assert LogUnavailableError.is_definite
    assert issubclass(LogUnavailableError, LogError)


async def test_closing_twice_is_closing(bootstrap: str | None) -> None:
    cluster: Cluster = InMemory() if bootstrap is None else OnKafka(bootstrap)
    topic = await new_topic(cluster.log)
    await cluster.log.append(topic, 0, values("a"))
    before = {task.get_name() for task in asyncio.all_tasks()}
    await cluster.log.close()
    await cluster.log.close()

    assert {task.get_name() for task in asyncio.all_tasks()} <= before
