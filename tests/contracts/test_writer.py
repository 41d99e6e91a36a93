"""The promise of `connectors.log.FencedWriter`, kept by every implementation alike."""

import asyncio

import pytest
from aiokafka.errors import KafkaError

from connectors.kafka_writer import KafkaWriter
from connectors.log import FencedWriter, Log, NewRecord
from schemas.errors import (
    LogError,
    LogUnavailableError,
    RecordTooLargeError,
    WriterFencedError,
)
from tests.support.clusters import OnKafka, flat, new_topic, take, values
from tests.support.kafka import unique_topic


async def committed(log: Log, topic: str, partition: int = 0, told: int = -1) -> list[bytes | None]:
    """Return the values that a committed reader sees, once it sees the offset that was told.

    A transaction is answered before its markers stand in the partitions, so an end that is asked
    for at once may lie below what was told.
    """
    end = max((await log.end_offsets(topic))[partition], told + 1)
    items = await take(log, topic, {partition: 0}, {partition: end})
    return [r.value for r in flat(items, partition)]


async def test_appends_are_read_back_in_order_with_their_offsets(log: Log) -> None:
    topic = await new_topic(log)
    writer = await log.open_writer(unique_topic("writer"))
    first = await writer.append(topic, 0, values("a", "b"))
    second = await writer.append(topic, 0, values("c"))
    nothing = await writer.append(topic, 0, [])
    await writer.close()

    end = second[-1] + 1
    records = flat(await take(log, topic, {0: 0}, {0: end}))
    assert nothing == []
    assert [(r.offset, r.value) for r in records] == list(
        zip([*first, *second], [b"a", b"b", b"c"], strict=True)
    )


async def test_headers_times_and_tombstones_are_kept(log: Log) -> None:
    topic = await new_topic(log)
    writer = await log.open_writer(unique_topic("writer"))
    sent = NewRecord(b"k", None, (("n", b"1"), ("n", b"")), 1_234_567_890_123)
    (offset,) = await writer.append(topic, 0, [sent])
    await writer.close()

    (record,) = flat(await take(log, topic, {0: 0}, {0: offset + 1}))
    assert record[1:] == (1_234_567_890_123, b"k", None, (("n", b"1"), ("n", b"")))


async def test_appends_at_the_same_time_all_arrive_each_in_order(log: Log) -> None:
    topic = await new_topic(log, 2)
    writer = await log.open_writer(unique_topic("writer"))
    sent = [[f"{call}/{n}" for n in range(5)] for call in range(40)]
    offsets = await asyncio.gather(
        *(writer.append(topic, call % 2, values(*texts)) for call, texts in enumerate(sent))
    )
    await writer.close()

    for partition in range(2):
        found = await committed(log, topic, partition, max(map(max, offsets[partition::2])))
        calls = zip(offsets[partition::2], sent[partition::2], strict=True)
        assert found == [text.encode() for _, texts in sorted(calls) for text in texts]
    assert all(list(one) == list(range(one[0], one[0] + 5)) for one in offsets)


async def test_a_newer_writer_fences_the_older_one(log: Log) -> None:
    topic = await new_topic(log)
    name = unique_topic("writer")
    older = await log.open_writer(name)
    await older.append(topic, 0, values("older"))
    newer = await log.open_writer(name)
    with pytest.raises(WriterFencedError):
        await older.append(topic, 0, values("zombie"))
    await newer.append(topic, 0, values("newer"))
    with pytest.raises(WriterFencedError):
        await older.append(topic, 0, values("zombie again"))
    await older.close()
    (last,) = await newer.append(topic, 0, values("last"))
    await newer.close()

    assert await committed(log, topic, told=last) == [b"older", b"newer", b"last"]


async def test_writers_of_other_names_do_not_fence_each_other(log: Log) -> None:
    topic = await new_topic(log)
    writers = [await log.open_writer(unique_topic("writer")) for _ in range(2)]
    for writer in writers:
        await writer.append(topic, 0, values("x"))
    for writer in writers:
        (last,) = await writer.append(topic, 0, values("y"))
    for writer in writers:
        await writer.close()

    found = await committed(log, topic, told=last)
    assert sorted(found) == [b"x", b"x", b"y", b"y"]  # type: ignore[type-var]


async def test_a_record_over_the_limit_is_refused_and_the_writer_goes_on(log: Log) -> None:
    topic = await new_topic(log, max_message_bytes="10000")
    writer = await log.open_writer(unique_topic("writer"))
    with pytest.raises(RecordTooLargeError):
        await writer.append(topic, 0, [NewRecord(None, b"x" * 20_000)])
    (last,) = await writer.append(topic, 0, values("small"))
    await writer.close()

    assert await committed(log, topic, told=last) == [b"small"]


async def test_a_place_that_is_not_there_is_unavailable(log: Log) -> None:
    topic = await new_topic(log)
    writer = await log.open_writer(unique_topic("writer"))
    with pytest.raises(LogUnavailableError):
        await writer.append(topic, 7, values("x"))
    await writer.close()


async def test_a_closed_writer_writes_no_more(log: Log) -> None:
    topic = await new_topic(log)
    writer = await log.open_writer(unique_topic("writer"))
    (last,) = await writer.append(topic, 0, values("x"))
    await writer.close()
    await writer.close()
    with pytest.raises(LogError):
        await writer.append(topic, 0, values("late"))

    assert await committed(log, topic, told=last) == [b"x"]


async def test_who_opens_a_writer_sees_all_that_its_predecessor_was_told(log: Log) -> None:
    """The markers of an answered transaction may come later than the answer; not for us."""
    topic = await new_topic(log)
    name = unique_topic("writer")
    told: list[bytes] = []
    dead: list[FencedWriter] = []
    for round_ in range(10):
        writer = await log.open_writer(name)
        assert await committed(log, topic) == told
        for n in range(3):
            text = f"{round_}/{n}"
            await writer.append(topic, 0, values(text))
            told.append(text.encode())
        dead.append(writer)  # not closed: its process died
    for writer in dead:
        await writer.close()


@pytest.mark.broker
async def test_many_small_appends_share_transactions(kafka_broker: object) -> None:
    cluster = OnKafka(kafka_broker.bootstrap)  # type: ignore[attr-defined]
    topic = await new_topic(cluster.log)
    writer = await cluster.log.open_writer(unique_topic("writer"))
    await asyncio.gather(*(writer.append(topic, 0, values("x")) for _ in range(200)))
    await writer.close()
    await cluster.close()

    assert isinstance(writer, KafkaWriter)
    assert writer.transactions < 20


@pytest.mark.broker
async def test_what_a_killed_owner_had_under_way_is_decided_when_its_successor_is_open(
    kafka_broker: object,
) -> None:
    """Its records stand in the log, but not committed: no reader sees them, then or later."""
    cluster = OnKafka(kafka_broker.bootstrap)  # type: ignore[attr-defined]
    topic, name = await new_topic(cluster.log), unique_topic("writer")
    killed = await cluster.log.open_writer(name)
    assert isinstance(killed, KafkaWriter)
    await killed.append(topic, 0, values("told"))
    producer = killed._producer
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"under way", partition=0)  # killed before the end

    successor = await cluster.log.open_writer(name)
    assert await committed(cluster.log, topic) == [b"told"]
    with pytest.raises(KafkaError):  # mostly ProducerFenced
        await producer.commit_transaction()
    (last,) = await successor.append(topic, 0, values("after"))
    assert await committed(cluster.log, topic, told=last) == [b"told", b"after"]
    await killed.close()
    await successor.close()
    await cluster.close()


@pytest.mark.broker
async def test_an_answer_that_got_lost_leaves_its_records_once(
    kafka_broker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction ended, its owner never heard: the successor finds all of it, and no more."""
    cluster = OnKafka(kafka_broker.bootstrap)  # type: ignore[attr-defined]
    topic, name = await new_topic(cluster.log), unique_topic("writer")
    killed = await cluster.log.open_writer(name)
    assert isinstance(killed, KafkaWriter)
    commit, has_ended = killed._producer.commit_transaction, asyncio.Event()

    async def unheard() -> None:
        await commit()
        has_ended.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(killed._producer, "commit_transaction", unheard)
    appending = asyncio.ensure_future(killed.append(topic, 0, values("a", "b")))
    async with asyncio.timeout(10):
        await has_ended.wait()
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)
    await killed.close()

    successor = await cluster.log.open_writer(name)
    assert await committed(cluster.log, topic) == [b"a", b"b"]
    (last,) = await successor.append(topic, 0, values("c"))
    assert await committed(cluster.log, topic, told=last) == [b"a", b"b", b"c"]
    await successor.close()
    await cluster.close()
