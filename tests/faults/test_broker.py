"""Faults between a client and a real broker: every append stands there once, or we say otherwise.

Also the library's example: what is tested comes by the link, what checks passes it by.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.fetch import FetchRequest

from connectors.kafka import KafkaLog
from connectors.log import NewRecord
from schemas.errors import LogUnavailableError, OutcomeUnknownError
from tests.faults.broker import FrontedBroker, fronted_broker
from tests.faults.signals import paused
from tests.support.clusters import new_topic
from tests.support.waiting import until

pytestmark = pytest.mark.broker

REQUEST_MS = 2_000
DATA = random.Random(1).randbytes(100_000)  # no codec makes it smaller


@pytest.fixture(scope="module")
async def fronted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FrontedBroker]:
    async with fronted_broker(tmp_path_factory.mktemp("fronted")) as one:
        yield one


@pytest.fixture
async def log(fronted: FrontedBroker) -> AsyncIterator[KafkaLog]:
    """A log that comes by the link; its time-out is short, because tests wait for it."""
    one = KafkaLog({"bootstrap_servers": fronted.bootstrap, "request_timeout_ms": REQUEST_MS})
    yield one
    fronted.link.heal()
    fronted.link.swallow_no_more()
    await one.close()


async def stored(fronted: FrontedBroker, topic: str) -> list[bytes | None]:
    """Read a topic past the link."""
    log = KafkaLog({"bootstrap_servers": fronted.broker.bootstrap})
    try:
        ends = await log.end_offsets(topic)
        return [record.value for record in (await log.read(topic, 0, 0, ends[0])).records]
    finally:
        await log.close()


async def test_clients_stay_behind_the_link(fronted: FrontedBroker, log: KafkaLog) -> None:
    topic = await new_topic(log)
    before = fronted.link.forward_bytes
    await log.append(topic, 0, [NewRecord(None, DATA)])

    assert fronted.link.forward_bytes - before > len(DATA)


async def test_a_swallowed_answer_leaves_one_record(fronted: FrontedBroker, log: KafkaLog) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    fronted.link.swallow("backward")
    appending = asyncio.ensure_future(log.append(topic, 0, [NewRecord(None, b"second")]))
    await until(lambda: fronted.link.swallowed_bytes > 0, 10, "the answer to be swallowed")
    assert await stored(fronted, topic) == [b"first", b"second"]
    assert not appending.done()
    fronted.link.swallow_no_more()

    assert await appending == [1]
    assert await stored(fronted, topic) == [b"first", b"second"]


@pytest.mark.parametrize("direction", ["forward", "backward"])
async def test_a_reset_in_mid_frame_leaves_one_record(
    fronted: FrontedBroker, log: KafkaLog, direction: str
) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    if direction == "forward":
        fronted.link.reset_after(1_000, "forward")
    else:
        fronted.link.reset_after(10, "backward")

    assert await log.append(topic, 0, [NewRecord(None, DATA)]) == [1]
    assert not fronted.link.is_armed, "the reset came"
    assert await stored(fronted, topic) == [b"first", DATA]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
async def test_a_cut_is_waited_for(fronted: FrontedBroker, log: KafkaLog, direction: str) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    fronted.link.cut(direction)  # type: ignore[arg-type] # pytest's parameters are text
    appending = asyncio.ensure_future(log.append(topic, 0, [NewRecord(None, b"second")]))
    await until(lambda: fronted.link.queued_bytes > 0, 10, "bytes to be stuck")
    assert not appending.done()
    fronted.link.heal()

    assert await appending == [1]
    assert await stored(fronted, topic) == [b"first", b"second"]


async def test_half_open_connections_are_given_up(fronted: FrontedBroker, log: KafkaLog) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    assert fronted.link.half_open(gone="target") > 0

    assert await log.append(topic, 0, [NewRecord(None, b"second")]) == [1]
    assert await stored(fronted, topic) == [b"first", b"second"]


async def test_a_paused_broker_is_waited_for(fronted: FrontedBroker, log: KafkaLog) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    assert fronted.broker.pid is not None
    before = fronted.link.forward_bytes
    with paused(fronted.broker.pid):
        appending = asyncio.ensure_future(log.append(topic, 0, [NewRecord(None, b"second")]))
        await until(lambda: fronted.link.forward_bytes > before, 10, "the request to be sent")
        assert not appending.done()

    assert await appending == [1]
    assert await stored(fronted, topic) == [b"first", b"second"]


async def test_an_outcome_that_is_never_told_is_unknown_and_not_sent_later(
    fronted: FrontedBroker,
) -> None:
    client = {"bootstrap_servers": fronted.bootstrap, "request_timeout_ms": REQUEST_MS}
    log = KafkaLog(client, append_timeout_s=3.0)
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    fronted.link.cut("forward")
    with pytest.raises(OutcomeUnknownError):
        await log.append(topic, 0, [NewRecord(None, b"lost on the way")])
    fronted.link.reset()
    fronted.link.heal()

    assert await log.append(topic, 0, [NewRecord(None, b"third")]) == [1]
    assert await stored(fronted, topic) == [b"first", b"third"]
    await log.close()


async def test_a_fetcher_that_ends_by_itself_ends_the_tail(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(log)
    await log.append(topic, 0, [NewRecord(None, b"first")])
    send, is_broken = AIOKafkaConnection.send, False

    def break_fetches(self: AIOKafkaConnection, request: Any, **rest: bool) -> Any:
        if is_broken and isinstance(request, FetchRequest):
            raise ValueError("what aiokafka does not expect")
        return send(self, request, **rest)

    monkeypatch.setattr(AIOKafkaConnection, "send", break_fetches)
    async with contextlib.aclosing(log.tail(topic, {0: 0})) as tail:
        await anext(tail)
        is_broken = True
        with pytest.raises(LogUnavailableError, match="fetcher has ended"):
            await asyncio.wait_for(anext(tail), 10)
