"""A link steers itself: samples every so often, into the topic and for whoever asks."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.registry import decode_event
from streams import topics
from streams.agents.outgoing import Outgoing
from streams.agents.sender import run_sender
from streams.agents.status import SenderStatus
from streams.agents.steering import SAMPLES_MAX, LinkSteering, Steered
from tests.support.links import SETTINGS, Region, has_all
from tests.support.waiting import until
from transport.aio.keeper import StreamSettings
from transport.aio.options import SocketOptions, expected_control
from transport.amst.stream_count import PathEstimate, Reason, StreamLimits

OFTEN_NS = 20_000_000


@asynccontextmanager
async def steered(
    source: Region,
    address: str,
    steering: LinkSteering,
    streams: StreamSettings = StreamSettings(),  # noqa: B008 - it is frozen
) -> AsyncIterator[SenderStatus]:
    status = SenderStatus("us-east", address)
    outgoing = Outgoing(
        lambda: source.identity,
        SETTINGS,
        source.log,
        source.digest,
        lambda _peer, _digest: None,
        0,
        status,
        streams=streams,
        steer=steering.run,
    )
    running = asyncio.ensure_future(run_sender(outgoing))
    try:
        yield status
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def a_steering(
    source: Region, limits: StreamLimits, estimate: PathEstimate | None = None
) -> LinkSteering:
    steered = Steered("eu-west", "eu-west-1", "us-east", source.log, limits, estimate)
    return LinkSteering(steered, every_ns=OFTEN_NS)


async def test_samples_stand_in_the_topic_with_their_classes() -> None:
    source, target = Region("eu-west"), Region("us-east")
    steering = a_steering(source, StreamLimits(most=4))
    async with target.listening(), steered(source, target.address, steering):
        await source.produce(50, value_bytes=1_000)
        await until(has_all(target, source), 20, "the records to arrive")
        await until(lambda: len(source.stored(topics.LINKS, 0)) >= 3, 20, "three samples")
        await until(lambda: steering.samples[-1].is_app_limited, 20, "nothing more to send")
    events = [decode_event(record.value or b"") for record in source.stored(topics.LINKS, 0)]
    records = [record for name, record in events if name == "LinkSample"]
    classes = [traffic for record in records for traffic in record["class_bytes"]]
    sent = sum(sum(record["class_bytes"].values()) for record in records)

    assert len(records) == len(events)
    assert {record["peer"] for record in records} == {"us-east"}
    assert {"state", "catch_up", "log", "control", "bulk"} == set(classes)
    assert sent > 0


async def test_what_is_known_of_a_link_is_json_and_says_why() -> None:
    source, target = Region("eu-west"), Region("us-east")
    steering = a_steering(source, StreamLimits(least=3, most=4))
    async with target.listening(), steered(source, target.address, steering) as status:
        await until(lambda: bool(steering.samples), 20, "a sample")
        await until(lambda: steering.samples[-1].stream_count == 3, 20, "three data streams")
    shown = json.loads(json.dumps(steering.to_json()))

    assert shown["node"] == status.node == "us-east-1"
    assert shown["streams_wanted"] == 3
    assert shown["decisions"][0]["reason"] == Reason.START
    assert shown["samples"][-1]["at_s"] <= shown["now_s"]
    assert steering.samples.maxlen == SAMPLES_MAX


async def test_the_next_session_goes_on_with_the_count_of_the_last() -> None:
    source, target = Region("eu-west"), Region("us-east")
    steering = a_steering(source, StreamLimits(least=2, most=4))
    async with steered(source, target.address, steering) as status:
        async with target.listening():
            await until(lambda: bool(steering.samples), 20, "a sample")
            assert steering.search is not None
            steering.search.set_limits(0, StreamLimits(least=4, most=4))
        async with target.listening():
            await until(lambda: status.sessions == 2, 20, "the second session")
            await until(lambda: len(steering.search.decisions) >= 3, 20, "its start")  # type: ignore[union-attr]
    starts = [one for one in steering.search.decisions if one.reason is Reason.START]

    assert [one.after for one in starts] == [2, 4]


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="Linux's")
@pytest.mark.parametrize(("control", "expected"), [("bbr", 1), ("cubic", 15), ("no such", 15)])
async def test_the_first_count_heeds_who_steers_the_streams(control: str, expected: int) -> None:
    """400 kbyte under way and 0.4 % loss: cubic needs 15 streams and bbr one."""
    options = SocketOptions(congestion_control=(control, "cubic"))
    if control == "bbr" and expected_control(options) != "bbr":
        pytest.skip("this kernel has no bbr")
    source, target = Region("eu-west"), Region("us-east")
    estimate = PathEstimate(rate_bytes_per_s=5e6, rtt_ns=80_000_000, loss_share=0.004)
    steering = a_steering(source, StreamLimits(most=16), estimate)
    streams = StreamSettings(options=options)
    async with target.listening(), steered(source, target.address, steering, streams):
        await until(lambda: steering.search is not None, 20, "the search to begin")
    assert steering.search is not None
    assert steering.search.decisions[0].after == expected
