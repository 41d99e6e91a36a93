"""Sender and receiver over real sockets: once, in order, whatever happens on the way."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio
import xxhash

from connectors.log import NewRecord
from schemas.errors import LogUnavailableError, OutcomeUnknownError
from schemas.registry import decode_event
from streams import topics
from streams.agents import receiver as receiver_module
from streams.agents.receiver import Receiver
from streams.replication import encode_batch
from tests.support.links import (
    PARTITION_COUNT,
    SETTINGS,
    Link,
    Region,
    Relay,
    assert_same,
    has_all,
    shipping,
)
from tests.support.waiting import until
from transport.aio import door
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic
from transport.frame import HEADER, LAYOUT_VERSION, MAGIC, Frame, FrameType, encode_frame
from transport.messages import message_frame
from transport.session.control import STATE_FLOW
from transport.session.outbound import OutboundSession

WAIT_S = 10


@pytest.fixture
def ams() -> Region:
    return Region("ams")


@pytest.fixture
def iad() -> Region:
    return Region("iad")


@pytest_asyncio.fixture(loop_scope="session")
async def receiver(iad: Region) -> AsyncIterator[Receiver]:
    async with iad.listening() as listening:
        yield listening


async def arrived(target: Region, source: Region) -> None:
    await until(has_all(target, source), WAIT_S, "all records")
    assert_same(target, source)


async def up(link: Link, sessions: int = 1) -> None:
    await until(
        lambda: link.status.state == "up" and link.status.sessions >= sessions, WAIT_S, "the link"
    )


async def test_records_arrive_once_in_order_and_whole(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(200)
    odd = [
        NewRecord(None, None),
        NewRecord(b"", b""),
        NewRecord(b"k", None, (("a", b""), ("a", b"\xff"), ("", b"x"))),
        NewRecord(b"k", random.Random(1).randbytes(900_000)),  # many frames
    ]
    await ams.log.append(topics.STATE, 2, odd)
    async with shipping(ams, "iad", iad.address) as link:
        await arrived(iad, ams)
        await ams.produce(50)  # while the link stands
        await arrived(iad, ams)
        ends = {p: end for p, (_, end) in enumerate(ams.cluster.offsets(topics.STATE))}
        await until(lambda: link.status.acked == ends, WAIT_S, "acknowledgements")

        assert (link.status.state, link.status.error, link.status.rewinds) == ("up", "", 0)
        assert link.status.encoded_bytes < link.status.raw_bytes
        assert link.status.wire_bytes > link.status.encoded_bytes
        sent, taken = (
            one.flows[topics.STATE].to_json()
            for one in (link.status, receiver.status["ams", "ams-1"])
        )
        assert sum(sent.pop("choices").values()) == link.status.units
        assert taken.pop("choices") == {}
        assert sum(sent.pop("zstd_levels").values()) <= link.status.units
        assert taken.pop("zstd_levels") == {}
        for level in (*sent["levels"].values(), *taken["levels"].values()):
            assert level.pop("cpu_s") > 0  # of each end its own
        assert sent == taken
        assert sent["key_units"] == 1
        levels = sent["levels"].values()
        assert sum(one["units"] for one in levels) == link.status.units
        assert sum(one["raw_bytes"] for one in levels) == link.status.raw_bytes
        assert sum(one["encoded_bytes"] for one in levels) == link.status.encoded_bytes
        assert receiver.status["ams", "ams-1"].cursors == ends
        assert receiver.status["ams", "ams-1"].records == ams.count(topics.STATE)
    assert receiver.refused == {}


async def test_gaps_in_the_origin_s_offsets_stay_gaps(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    for n in range(20):
        ams.cluster.append(topics.STATE, 0, NewRecord(None, b"%d" % n), is_aborted=n % 3 > 0)
    async with shipping(ams, "iad", iad.address) as link:
        await arrived(iad, ams)
        await until(lambda: link.status.acked.get(0) == 20, WAIT_S, "the acknowledgement")

    assert receiver.status["ams", "ams-1"].cursors[0] == 20


async def test_heartbeats_carry_digests_and_round_trips(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    async with shipping(ams, "iad", iad.address) as link:
        await until(lambda: "ams" in iad.heard and "iad" in ams.heard, WAIT_S, "digests")
        await until(lambda: link.status.rtt_ms is not None, WAIT_S, "a round trip")
        await until(
            lambda: receiver.status["ams", "ams-1"].rtt_ms is not None, WAIT_S, "a round trip back"
        )

        assert link.status.clock_ahead_ms is not None
        assert abs(link.status.clock_ahead_ms) < 1_000


async def test_another_config_hash_is_only_noted(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    identity = replace(ams.identity, config_hash="other")
    await ams.produce(5)
    async with shipping(ams, "iad", iad.address, identity=identity):
        await arrived(iad, ams)

    assert receiver.refused == {}


async def test_a_link_goes_on_from_the_cursor_when_the_listener_comes_back(
    ams: Region, iad: Region
) -> None:
    await ams.produce(100)
    async with shipping(ams, "iad", iad.address) as link:
        async with iad.listening():
            await arrived(iad, ams)
        await until(lambda: link.status.state == "down", WAIT_S, "the end of the session")
        await ams.produce(100)
        shipped = link.status.raw_bytes
        async with iad.listening() as again:
            await up(link, sessions=2)
            await arrived(iad, ams)

            assert again.status["ams", "ams-1"].records == 100 * PARTITION_COUNT
            assert link.status.raw_bytes - shipped < 2 * shipped


async def test_a_sender_that_comes_back_goes_on_from_the_cursor(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    for round_ in range(3):
        await ams.produce(50)
        async with shipping(ams, "iad", iad.address):
            await arrived(iad, ams)
        await until(lambda: receiver.status["ams", "ams-1"].state == "down", WAIT_S, "the goodbye")
        assert receiver.status["ams", "ams-1"].sessions == round_ + 1

    assert receiver.status["ams", "ams-1"].records == 150 * PARTITION_COUNT
    assert receiver.refused == {}


def header(kind: int, length: int) -> bytes:
    """Make a header that is right in itself, whatever it announces."""
    digest = xxhash.xxh3_64_intdigest(b"")
    bare = HEADER.pack(MAGIC, LAYOUT_VERSION, kind, 1, 0, 0, length, 0, digest)
    check = xxhash.xxh3_64_intdigest(bare) & 0xFFFF
    return bare[:6] + check.to_bytes(2, "big") + bare[8:]


def flipped(data: bytes, at: int) -> bytes:
    """Turn one bit over."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(50):
        await asyncio.sleep(0)


def hello(source: Region, target: str = "iad") -> bytes:
    return OutboundSession(source.identity, target, SETTINGS, time.monotonic_ns()).control_to_send()


BAD_GREETINGS: dict[str, tuple[Callable[[Region], bytes], str]] = {
    "garbage": (lambda _: b"\x00" * 64, "BadFrame"),
    "HTTP": (lambda _: b"GET /state HTTP/1.1\r\nHost: iad\r\n\r\n", "BadFrame"),
    "TLS": (lambda _: bytes.fromhex("1603010200010001fc0303") + bytes(64), "UnexpectedTls"),
    "a damaged header": (lambda r: flipped(hello(r), 20), "BadFrame"),
    "an unknown type": (lambda _: header(0x63, 0), "BadFrame"),
    "an oversized frame": (lambda _: header(1, 262_145), "FrameTooLarge"),
    "a damaged payload": (lambda r: flipped(hello(r), -1), "Checksum"),
    "a HELLO that is none": (
        lambda _: encode_frame(Frame(FrameType.HELLO, b"\xff" * 9)),
        "MalformedMessage",
    ),
    "a unit": (lambda _: encode_frame(Frame(FrameType.UNIT, b"x")), "UnexpectedMessage"),
    "a heartbeat": (
        lambda _: encode_frame(Frame(FrameType.HEARTBEAT, b"")),
        "UnexpectedMessage",
    ),
    "a token of no session": (
        lambda _: encode_frame(
            message_frame(FrameType.ATTACH, {"session_token": bytes(16), "stream": 1})
        ),
        "UnknownSession",
    ),
    "a welcome behind HELLO": (
        lambda r: hello(r) + encode_frame(Frame(FrameType.WELCOME, b"")),
        "UnexpectedMessage",
    ),
    "two HELLOs": (lambda r: hello(r) * 2, "UnexpectedMessage"),
    "nothing": (lambda _: b"", "PeerSilent"),
    "half a frame": (lambda r: hello(r)[:-1], "PeerSilent"),
}


@pytest.mark.parametrize("case", BAD_GREETINGS)
async def test_who_speaks_another_language_is_turned_away_and_named(
    case: str, ams: Region, iad: Region, receiver: Receiver
) -> None:
    greeting, reason = BAD_GREETINGS[case]
    other = Region("fra")
    async with shipping(ams, "iad", iad.address) as link:
        await up(link)
        async with connected(iad) as (reader, writer):
            writer.write(greeting(other))
            async with asyncio.timeout(WAIT_S):
                await reader.read()  # to the end
        await until(lambda: receiver.refused == {reason: 1}, WAIT_S, reason)
        await ams.produce(10)
        await arrived(iad, ams)

        assert (link.status.state, link.status.sessions) == ("up", 1)


@contextlib.asynccontextmanager
async def connected(
    region: Region,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = region.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


REFUSED: dict[str, tuple[dict[str, object], str, str]] = {
    "region_target": ({}, "fra", "this is 'iad', you want 'fra'"),
    "region_equal": ({"region": "iad"}, "iad", "both sides call themselves 'iad'"),
    "cluster_id": ({"cluster_id": "other"}, "iad", "this is federation 'test'"),
    "partition_count": ({"partition_count": 8}, "iad", "not 8 but 4 partitions"),
}


@pytest.mark.parametrize("rule", REFUSED)
async def test_a_peer_that_breaks_a_rule_is_told_which(
    rule: str, ams: Region, iad: Region, receiver: Receiver
) -> None:
    changed, target, text = REFUSED[rule]
    identity = replace(Region("fra").identity, **changed)  # type: ignore[arg-type]
    async with shipping(ams, "iad", iad.address) as good:
        await up(good)
        async with shipping(ams, target, iad.address, identity=identity) as bad:
            await until(lambda: bad.status.state == "refused", WAIT_S, "the refusal")
        await ams.produce(10)
        await arrived(iad, ams)

        assert bad.status.error.startswith(f"PeerRefused: {rule}: ")
        assert text in bad.status.error
        assert bad.status.sessions == 0
        assert receiver.refused == {"PeerRefused": 1}
        assert good.status.sessions == 1
    assert not any(region == "fra" for region, _ in receiver.status)


async def test_too_many_connections_are_turned_away_and_the_link_goes_on(
    ams: Region, iad: Region, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "SESSIONS_MAX", 1)
    async with shipping(ams, "iad", iad.address) as link:
        await up(link)
        await ams.produce(1)
        await arrived(iad, ams)
        async with shipping(Region("fra"), "iad", iad.address) as other:
            await until(lambda: receiver.refused["TooManyConnections"] > 2, WAIT_S, "refusals")
            assert other.status.error.startswith("LinkClosed: ")
            await ams.produce(10)
            await arrived(iad, ams)
            assert link.status.sessions == 1

            await link.cut()  # and when they are gone, others may come in
            await up(other)


async def test_who_says_nothing_is_pushed_out_by_who_comes_later(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            (await stack.enter_async_context(connected(iad)))[0]
            for _ in range(door.HALF_OPEN_MAX + 3)
        ]
        async with shipping(ams, "iad", iad.address) as link:
            await up(link)
            for reader in readers[:3]:
                assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
            await until(lambda: receiver.refused["CrowdedOut"] >= 3, WAIT_S, "the oldest's end")


@contextlib.asynccontextmanager
async def hung_peer(region: Region, source: Region, *units: bytes) -> AsyncIterator[None]:
    """Shake hands, attach, ship, and never say or read anything more."""
    session = OutboundSession(source.identity, region.name, SETTINGS, time.monotonic_ns())
    async with connected(region) as (reader, writer), connected(region) as (reader_of_data, data):
        writer.write(session.control_to_send())
        while not session.is_established:
            session.receive_control(await reader.read(1 << 16), time.monotonic_ns(), 0)
        data.write(session.attach(1))
        await reader_of_data.read(1 << 16)
        scheduler = SendScheduler()
        scheduler.open_flow(STATE_FLOW, 1 << 30)
        scheduler.open_stream(1, 0)
        for raw in units:
            scheduler.submit(STATE_FLOW, Traffic.STATE, session.encode_unit(raw))
        while (piece := scheduler.take(1, 0)) is not None:
            data.write(piece.header() + bytes(piece.payload))
        yield


async def test_a_hung_peer_costs_no_connection_for_ever(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """A cut network leaves both connections half open: silence ends them both."""
    async with hung_peer(iad, ams):
        await until(lambda: receiver.refused == {"PeerSilent": 1}, WAIT_S, "the silence")
        await until(lambda: receiver._door.open_count == 0, WAIT_S, "the connections' end")

    assert receiver.status["ams", "ams-1"].state == "down"
    assert receiver.status["ams", "ams-1"].error.startswith("PeerSilent: ")


async def test_ranges_that_overlap_are_taken_once_and_holes_not_at_all(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(30)

    def unit(start: int, end: int) -> bytes:
        return encode_batch([ams.cluster.read(topics.STATE, 0, start, end)], 1 << 20)

    async with hung_peer(iad, ams, unit(0, 10), unit(5, 15), unit(0, 3), unit(16, 20)):
        await until(lambda: receiver.status["ams", "ams-1"].refused_epochs == 1, WAIT_S, "the hole")
        assert receiver.status["ams", "ams-1"].cursors[0] == 15
        assert len(iad.stored(topics.REPLICA, 0)) == 15
    async with shipping(ams, "iad", iad.address):
        await arrived(iad, ams)


async def test_a_unit_damaged_before_its_checksum_is_fetched_again(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """The frame is right and the unit in it is not: NACK, a key unit, the same session."""
    units = 0
    damage = {1: 8, 3: 8, 9: 20}  # the hash of the key unit and of another, compressed bytes

    def tamper(frame: Frame) -> bytes:
        nonlocal units
        units += frame.type is FrameType.UNIT
        if frame.type is FrameType.UNIT and units in damage:
            frame = frame._replace(payload=flipped(frame.payload, damage[units]))
        return encode_frame(frame)

    relay = Relay(iad.address, tamper)
    async with relay.listening() as address, shipping(ams, "iad", address) as link:
        for _ in range(15):
            await ams.produce(5)
            await arrived(iad, ams)

        assert link.status.sessions == 1
        assert link.status.rewinds == receiver.status["ams", "ams-1"].refused_epochs == 3
        assert link.status.flows[topics.STATE].nacks == 3
    assert receiver.refused == {}


async def test_a_unit_damaged_on_the_wire_costs_the_data_stream_and_nothing_else(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """The frame's own checksum fails: the stream cannot go on, so another one does."""
    units = 0

    def tamper(frame: Frame) -> bytes:
        nonlocal units
        units += frame.type is FrameType.UNIT
        is_hit = frame.type is FrameType.UNIT and units == 3
        return flipped(encode_frame(frame), -1) if is_hit else encode_frame(frame)

    relay = Relay(iad.address, tamper)
    async with relay.listening() as address, shipping(ams, "iad", address) as link:
        for _ in range(10):
            await ams.produce(5)
            await arrived(iad, ams)

        assert link.status.sessions == 1
    assert receiver.refused == {"Checksum": 1}


async def test_what_ended_a_session_is_told_until_the_next_one(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    def tamper(frame: Frame) -> bytes:
        data = encode_frame(frame)
        return flipped(data, -1) if frame.type is FrameType.HEARTBEAT else data

    relay = Relay(iad.address, tamper)
    await ams.produce(1)
    async with relay.listening() as address, shipping(ams, "iad", address):
        await until(lambda: receiver.refused.get("Checksum", 0) > 0, WAIT_S, "the damage")
        await until(lambda: receiver.status["ams", "ams-1"].state == "down", WAIT_S, "the end")
        assert receiver.status["ams", "ams-1"].error.startswith("Checksum: ")

    async with shipping(ams, "iad", iad.address) as link:
        await up(link)
        await arrived(iad, ams)
        assert (receiver.status["ams", "ams-1"].state, receiver.status["ams", "ams-1"].error) == (
            "up",
            "",
        )


@pytest.mark.parametrize("is_written", [True, False], ids=["written", "not written"])
async def test_an_append_of_unknown_outcome_leaves_nothing_twice(
    ams: Region, iad: Region, receiver: Receiver, *, is_written: bool
) -> None:
    error = OutcomeUnknownError("the answer never came")
    if is_written:
        iad.log.fail_after = error
    else:
        iad.log.fail_before = error
    await ams.produce(30)
    async with shipping(ams, "iad", iad.address) as link:
        await up(link, sessions=2)
        await arrived(iad, ams)
        await ams.produce(30)
        await arrived(iad, ams)

    assert receiver.refused == {"OutcomeUnknown": 1}


async def test_a_log_that_is_away_for_a_while_is_waited_for(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(30)
    async with shipping(ams, "iad", iad.address) as link:
        for session in range(2, 5):
            iad.log.fail_before = LogUnavailableError("no broker")
            await ams.produce(5)
            await up(link, sessions=session)
        await arrived(iad, ams)

    assert receiver.refused == {"LogUnavailable": 3}


async def test_a_slow_listener_is_given_no_more_than_its_credit(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """And the session lives on: what is slow is the log, not the peer."""
    for _ in range(8):
        await ams.produce(100, value_bytes=4_000)
    iad.log.gate.clear()
    async with shipping(ams, "iad", iad.address) as link:
        await until(lambda: link.status.raw_bytes >= SETTINGS.credit_bytes, WAIT_S, "the credit")
        heard = len(iad.heard)
        await until(lambda: len(iad.heard) > heard + 15, WAIT_S, "more silence than is allowed")

        unit_bytes_max = 600_000  # a tail's item and what Avro adds
        assert link.status.raw_bytes < SETTINGS.credit_bytes + unit_bytes_max
        assert iad.count(topics.REPLICA) == 0
        iad.log.gate.set()
        await arrived(iad, ams)
        assert link.status.sessions == 1
    assert receiver.refused == {}


async def test_a_new_session_waits_until_the_old_one_has_appended(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """Else its cursors would lack what is under way, and that would come twice."""
    await ams.produce(20)
    end = ams.cluster.offsets(topics.STATE)[0][1]
    unit = encode_batch([ams.cluster.read(topics.STATE, 0, 0, end)], topics.SHIPPED_BYTES_MAX)
    iad.log.gate.clear()
    async with hung_peer(iad, ams, unit):
        await until(lambda: iad.log.waiting >= 1, WAIT_S, "the append")
        old = receiver._takings[0]
        async with shipping(ams, "iad", iad.address) as new:
            await until(old._ending.is_set, WAIT_S, "the new session")
            await settle()
            assert new.status.sessions == 0
            assert iad.count(topics.REPLICA) == 0
            iad.log.gate.set()
            await up(new)
            await arrived(iad, ams)
            await ams.produce(20)
            await arrived(iad, ams)


async def test_of_sessions_that_come_at_once_one_is_served_at_a_time(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """A zombie and its successor: both ship the same log, and nothing comes twice."""
    await ams.produce(20)
    iad.log.gate.clear()
    async with shipping(ams, "iad", iad.address) as first:
        await until(lambda: iad.log.waiting >= 1, WAIT_S, "the append")
        async with (
            shipping(ams, "iad", iad.address) as second,
            shipping(ams, "iad", iad.address) as third,
        ):
            await until(lambda: receiver._door.open_count == 3, WAIT_S, "both new sessions")
            iad.log.gate.set()
            for _ in range(20):
                await ams.produce(3)
                await until(has_all(iad, ams), WAIT_S, "the records")
            await until(
                lambda: min(link.status.sessions for link in (second, third)) > 1,
                WAIT_S,
                "each to have been superseded",
            )
            await ams.produce(3)
            await until(has_all(iad, ams), WAIT_S, "the records")
        assert first.status.sessions >= 1

    assert_same(iad, ams)


async def test_two_nodes_ship_their_own_partitions_and_a_newer_claim_ends_an_older(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(20)
    first = replace(ams.identity, node="ams-1", partitions=(0, 1))
    second = replace(ams.identity, node="ams-2", partitions=(2, 3))
    async with (
        shipping(ams, "iad", iad.address, identity=first) as one,
        shipping(ams, "iad", iad.address, identity=second) as two,
    ):
        await arrived(iad, ams)
        assert (one.status.sessions, two.status.sessions) == (1, 1)
        assert set(receiver.status) == {("ams", "ams-1"), ("ams", "ams-2")}

        await two.cut()
        moved = replace(ams.identity, node="ams-3", partitions=(1, 2, 3))
        async with shipping(ams, "iad", iad.address, identity=moved) as three:
            await up(one, sessions=2)
            await up(three, sessions=2)
            await ams.produce(20)
            await until(has_all(iad, ams), WAIT_S, "the records")
    assert_same(iad, ams)


async def test_stopping_waits_for_the_append_under_way(ams: Region, iad: Region) -> None:
    await ams.produce(5)
    async with iad.listening() as receiver, shipping(ams, "iad", iad.address):
        iad.log.gate.clear()
        await until(lambda: iad.log.waiting >= 1, WAIT_S, "the append")
        stopping = asyncio.ensure_future(receiver.stop())
        await settle()
        assert not stopping.done()
        iad.log.gate.set()
        await asyncio.wait_for(stopping, WAIT_S)

        assert iad.count(topics.REPLICA) > 0
        assert receiver.status["ams", "ams-1"].state == "down"


async def test_a_record_our_topic_does_not_take_ends_as_a_dead_letter(ams: Region) -> None:
    iad = Region("iad", {topics.REPLICA: 10_000})
    large = NewRecord(b"k", b"x" * 20_000, (("h", b"1"),))
    for partition in range(PARTITION_COUNT):
        await ams.log.append(topics.STATE, partition, [NewRecord(None, b"a"), large])
        await ams.log.append(topics.STATE, partition, [NewRecord(None, b"b")])
    async with iad.listening() as receiver, shipping(ams, "iad", iad.address) as link:
        await until(lambda: iad.count(topics.DEADLETTER) == PARTITION_COUNT, WAIT_S, "the letters")
        await until(lambda: sum(link.status.acked.values()) == 12, WAIT_S, "acknowledgements")

        assert receiver.refused == {}
    letter = decode_event(iad.stored(topics.DEADLETTER, 0)[0].value or b"")[1]
    assert (letter["reason"], letter["origin_region"]) == ("RecordTooLarge", "ams")
    assert (letter["topic"], letter["offset"], letter["value"]) == (topics.STATE, 1, large.value)
    for partition in range(PARTITION_COUNT):
        assert [r.value for r in iad.stored(topics.REPLICA, partition)] == [b"a", b"b"]


async def test_a_port_that_is_taken_is_an_error(iad: Region, receiver: Receiver) -> None:
    assert receiver.refused == {}
    with pytest.raises(OSError, match=r"(?i)address already in use"):
        async with iad.listening():
            pass


WRONG_ANSWERS = {
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "BadFrame: "),
    "silence": (b"", "PeerSilent: "),
    "an oversized frame": (header(2, 1 << 30), "FrameTooLarge: "),
    "a unit": (encode_frame(Frame(FrameType.UNIT, b"x")), "UnexpectedMessage: "),
    "no WELCOME": (
        encode_frame(Frame(FrameType.WELCOME, b"\xff")),
        "MalformedMessage: ",
    ),
}


@contextlib.asynccontextmanager
async def answering(region: Region, text: bytes) -> AsyncIterator[None]:
    """Answer every connection with a text, in the listener's place."""
    writers: list[asyncio.StreamWriter] = []

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(text)

    host, _, port = region.address.rpartition(":")
    server = await asyncio.start_server(answer, host, int(port))
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@pytest.mark.parametrize("case", WRONG_ANSWERS)
async def test_a_sender_names_what_answers_it_and_tries_again(
    case: str, ams: Region, iad: Region
) -> None:
    text, error = WRONG_ANSWERS[case]
    await ams.produce(5)
    async with shipping(ams, "iad", iad.address) as link:
        async with answering(iad, text):
            await until(lambda: link.status.error.startswith(error), WAIT_S, error)
            assert link.status.state == "down"
        async with iad.listening():
            await arrived(iad, ams)
            assert (link.status.state, link.status.error) == ("up", "")


async def test_a_sender_waits_for_a_peer_that_is_not_there_yet(ams: Region, iad: Region) -> None:
    await ams.produce(5)
    async with shipping(ams, "iad", iad.address) as link:
        await until(lambda: link.status.error.startswith("LinkClosed: "), WAIT_S, "the error")
        assert iad.address in link.status.error
        async with iad.listening():
            await arrived(iad, ams)


async def test_a_log_that_retention_cut_is_named(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(10)
    ams.cluster.truncate(topics.STATE, 1, 5)
    async with shipping(ams, "iad", iad.address) as link:
        await until(lambda: 1 in link.status.troubles, WAIT_S, "the trouble")

        assert link.status.troubles[1].startswith("RetentionOverrun: dwcp.state/1: it begins at 5")
    assert receiver.refused == {}
