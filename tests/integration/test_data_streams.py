"""Data streams over real sockets: many, killed, scaled, paced; objects; paths."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from streams.agents.outgoing import PeerLinks
from streams.agents.receiver import Receiver
from streams.agents.shaping import Shape
from tests.support.links import Link, Region, Relay, assert_same, has_all, shipping
from tests.support.waiting import until
from transport.aio.keeper import StreamSettings
from transport.aio.options import SocketOptions, congestion_control, pace, tune
from transport.aio.sending import SendStream
from transport.amst.objects import OutgoingObject
from transport.amst.traffic import DEFAULT_SHARES, Traffic
from transport.frame import Frame, encode_frame
from transport.session.objects import Shelf

WAIT_S = 10


@pytest.fixture
def ams() -> Region:
    return Region("ams")


@pytest.fixture
def iad() -> Region:
    return Region("iad")


@pytest_asyncio.fixture(loop_scope="session")
async def receiver(iad: Region) -> AsyncIterator[Receiver]:
    iad.shelf = Shelf(64 << 20)
    async with iad.listening() as listening:
        yield listening


async def arrived(target: Region, source: Region) -> None:
    await until(has_all(target, source), WAIT_S, "all records")
    assert_same(target, source)


def streams_of(link: Link) -> dict[int, SendStream]:
    return link.session.keeper.streams.streams


def has_streams(link: Link, count: int) -> Callable[[], bool]:
    return lambda: bool(link.sessions) and len(streams_of(link)) == count


def with_streams(count: int, **more: Any) -> StreamSettings:
    return StreamSettings(count=count, drain_ms=500, **more)


def break_off(stream: SendStream) -> None:
    """Cut a connection from below, as the network would."""
    stream.connection.shutdown(socket.SHUT_RDWR)


async def test_a_session_has_as_many_streams_as_it_is_told(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    async with shipping(ams, "iad", iad.address, streams=with_streams(4)) as link:
        await until(has_streams(link, 4), WAIT_S, "4 streams")
        for count in (1, 16, 3):
            link.session.keeper.set_data_streams(count)
            await ams.produce(20, value_bytes=5_000)
            await until(has_streams(link, count), WAIT_S, f"{count} streams")
        await arrived(iad, ams)
        await until(lambda: receiver._takings[0].stream_count == 3, WAIT_S, "the peer's view")

        assert link.status.sessions == 1
        assert sum(link.session.keeper.streams.scheduler.counters.again.values()) == 0
    assert receiver.refused == {}


async def test_streams_die_and_the_session_lives(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    dice = Random(1)
    async with shipping(ams, "iad", iad.address, streams=with_streams(4)) as link:
        await until(has_streams(link, 4), WAIT_S, "4 streams")
        for round_ in range(10):
            await ams.produce(10, value_bytes=20_000)
            streams = list(streams_of(link).values())
            victims = streams if round_ % 3 == 2 else dice.sample(streams, min(2, len(streams)))
            for stream in victims:
                break_off(stream)
            await until(has_streams(link, 4), WAIT_S, "4 streams again")
        await arrived(iad, ams)

        assert link.status.sessions == 1
        assert link.status.rewinds == 0
    assert receiver.refused == {}


async def test_a_link_that_stops_lets_arrive_what_is_under_way(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    await ams.produce(50, value_bytes=10_000)
    async with shipping(ams, "iad", iad.address, streams=with_streams(2)) as link:
        await until(lambda: link.status.units > 0, WAIT_S, "something under way")
        scheduler = link.session.keeper.streams.scheduler
        await link.cut()

        assert scheduler.is_drained
    await until(lambda: not receiver._takings, WAIT_S, "the goodbye")
    assert receiver.refused == {}


async def test_urgent_units_go_ahead_on_the_control_connection(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    async with shipping(ams, "iad", iad.address) as link:
        await until(has_streams(link, 1), WAIT_S, "the stream")
        small = [b"%d" % number for number in range(50)]
        for unit in small:
            link.session.send(Traffic.LOG, unit)
        large = b"x" * 500_000
        link.session.send(Traffic.LOG, large)
        await until(lambda: len(iad.log_units) == 51, WAIT_S, "the units")

        assert iad.log_units == [*small, large]
        assert link.session.keeper.streams.scheduler.counters.sent[Traffic.LOG] >= 500_000
    assert receiver.refused == {}


def thing(number: int, size: int) -> OutgoingObject:
    data = Random(number).randbytes(size)
    return OutgoingObject(b"%016d" % number, f"image {number}", data, 65_536)


async def test_objects_arrive_whole_beside_the_log(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    things = [thing(1, 5_000_001), thing(2, 0), thing(3, 100)]
    async with shipping(
        ams, "iad", iad.address, streams=with_streams(3), objects=list(things)
    ) as link:
        await ams.produce(20, value_bytes=1_000)
        await until(lambda: len(iad.objects) == 3, WAIT_S, "the objects")
        await arrived(iad, ams)
        await until(lambda: not link.outgoing.objects, WAIT_S, "the answers")

    found = {one.label: one.data for one in iad.objects}
    assert found == {one.label: one._data for one in things}
    assert receiver.refused == {}


async def test_an_object_goes_on_where_the_last_session_stopped(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    one = thing(1, 20_000_000)
    shelf = receiver.incoming.shelf
    assert shelf is not None

    def held_bytes() -> int:
        return sum(found.held.size for found in shelf.standing.values())

    for round_ in range(1, 3):
        slow: dict[str, Any] = {"links": PeerLinks(Shape(4e6)), "streams": with_streams(2)}
        async with shipping(ams, "iad", iad.address, objects=[one], **slow):
            least = round_ * 2_000_000
            await until(lambda least=least: held_bytes() > least, WAIT_S, "some of it")  # type: ignore[misc]
    await until(lambda: not receiver._takings, WAIT_S, "the end")
    before = held_bytes()

    async with shipping(ams, "iad", iad.address, objects=[one]) as link:
        await until(lambda: len(iad.objects) == 1, WAIT_S, "the object")
        sent = link.session.keeper.streams.scheduler.counters.sent[Traffic.BULK]
        assert sent == one.size_bytes - before
    assert iad.objects[0].data == one._data


@contextlib.asynccontextmanager
async def two_paths(
    ams: Region, iad: Region, second: str, count: int
) -> AsyncIterator[tuple[Link, Link]]:
    shared: dict[str, Any] = {"links": PeerLinks(), "streams": with_streams(count, connect_ms=500)}
    async with (
        shipping(ams, "iad", iad.address, **shared) as first_link,
        shipping(ams, "iad", second, **shared) as second_link,
    ):
        yield first_link, second_link


def spread(link: Link) -> dict[str, int]:
    paths = [stream.path for stream in streams_of(link).values() if not stream.is_retiring]
    return {path: paths.count(path) for path in link.session.keeper.paths}


async def test_two_addresses_of_one_node_are_paths_of_one_session(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """The second path dies and comes back, while the session goes on."""
    relay = Relay(iad.address, encode_frame)
    async with contextlib.AsyncExitStack() as stack:
        second = await stack.enter_async_context(relay.listening())
        link, other = await stack.enter_async_context(two_paths(ams, iad, second, 4))
        await until(lambda: bool(link.sessions or other.sessions), WAIT_S, "the session")
        if not link.sessions:
            link, other = other, link
        await until(
            lambda: sorted(spread(link).values()) == [2, 2], WAIT_S, "two streams on each path"
        )
        await ams.produce(20, value_bytes=5_000)
        await arrived(iad, ams)

        assert {link.status.state, other.status.state} == {"up", "path"}
        assert receiver.refused == {}
        assert other.status.node == "iad-1"
        assert link.status.sessions == 1


async def test_a_path_dies_and_comes_back(ams: Region, iad: Region, receiver: Receiver) -> None:
    relay = PathRelay(iad.address)
    async with shipping(
        ams, "iad", iad.address, links=(links := PeerLinks()), streams=with_streams(4)
    ) as link:
        await until(has_streams(link, 4), WAIT_S, "the streams")
        await relay.start()
        async with shipping(ams, "iad", relay.address, links=links) as other:
            await until(
                lambda: sorted(spread(link).values()) == [2, 2], WAIT_S, "two streams on each"
            )
            await relay.stop()
            await until(lambda: spread(link)[iad.address] == 4, WAIT_S, "all on the first path")
            await ams.produce(20, value_bytes=5_000)
            await arrived(iad, ams)
            await relay.start()
            await until(
                lambda: sorted(spread(link).values()) == [2, 2], WAIT_S, "two streams on each again"
            )
            await ams.produce(20, value_bytes=5_000)
            await arrived(iad, ams)

            assert (link.status.sessions, other.status.sessions) == (1, 0)
        await relay.stop()
    assert receiver.refused == {}


class PathRelay:
    """Another way to the same listener, at a fixed address, that can go away and come back."""

    def __init__(self, target: str) -> None:
        self._relay = Relay(target, encode_frame)
        self._stack = contextlib.AsyncExitStack()
        self.address = ""

    async def start(self) -> None:
        self.address = await self._stack.enter_async_context(self._relay.listening(self.address))

    async def stop(self) -> None:
        await self._stack.aclose()


async def test_a_session_goes_on_by_another_path_when_its_own_dies(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    relay = PathRelay(iad.address)
    await relay.start()
    links = PeerLinks()
    async with shipping(ams, "iad", relay.address, links=links, streams=with_streams(2)) as first:
        await until(has_streams(first, 2), WAIT_S, "the first session")
        async with shipping(ams, "iad", iad.address, links=links) as second:
            await until(lambda: second.status.state == "path", WAIT_S, "the second path")
            await relay.stop()
            await ams.produce(20)
            await until(lambda: second.status.state == "up", WAIT_S, "a session by the other path")
            await arrived(iad, ams)
            await relay.start()
            await until(lambda: first.status.state == "path", WAIT_S, "the first path again")
            await ams.produce(20)
            await arrived(iad, ams)
            assert len(receiver._takings) == 1
        await relay.stop()


async def test_a_stream_that_is_damaged_is_replaced(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    """Half of all data streams carry damage once; the frames go again on others."""
    frames = 0

    def tamper(frame: Frame) -> bytes:
        nonlocal frames
        data = bytearray(encode_frame(frame))
        frames += frame.flow > 0
        if frame.flow > 0 and frames % 9 == 5:
            data[-1] ^= 1
        return bytes(data)

    relay = Relay(iad.address, tamper)
    async with (
        relay.listening() as address,
        shipping(ams, "iad", address, streams=with_streams(3)) as link,
    ):
        for _ in range(20):
            await ams.produce(3, value_bytes=3_000)
            await until(has_all(iad, ams), WAIT_S, "the records")
        assert link.status.sessions == 1
    assert_same(iad, ams)
    assert set(receiver.refused) == {"Checksum"}


def test_options_that_are_missing_are_named_and_nothing_fails() -> None:
    with socket.socket() as connection:
        granted = tune(connection, SocketOptions(congestion_control=("no such",)))
        assert "TCP_CONGESTION" in granted.missing
        assert granted.congestion_control == congestion_control(connection)
        kept = tune(connection, SocketOptions(congestion_control=()))
        assert "TCP_CONGESTION" not in kept.missing
        assert pace(connection, 1e6) == ("SO_MAX_PACING_RATE" not in kept.missing)
        assert pace(connection, None) == ("SO_MAX_PACING_RATE" not in kept.missing)
    assert not pace(connection, 1e6)
    assert congestion_control(connection) == ""


async def test_pacing_is_shared_among_streams_and_changes_while_running(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    async with shipping(ams, "iad", iad.address, streams=with_streams(2)) as link:
        await until(has_streams(link, 2), WAIT_S, "the streams")
        streams = link.session.keeper.streams

        for rate in (1e6, None, 5e6):
            is_paced = streams.set_pacing(rate)
            missing = {name for one in streams.streams.values() for name in one.granted.missing}
            assert is_paced == ("SO_MAX_PACING_RATE" not in missing)
            assert streams.pacer.bytes_per_s == rate
    assert receiver.refused == {}


async def test_the_rate_to_a_peer_is_shared_among_sessions_with_its_nodes(
    ams: Region, iad: Region, receiver: Receiver
) -> None:
    other = Region("iad")
    other.identity = replace(other.identity, node="iad-2")
    links = PeerLinks(Shape(6e6, {**DEFAULT_SHARES, Traffic.BULK: 3}))

    def kept(link: Link) -> tuple[float | None, int]:
        streams = link.session.keeper.streams
        return streams.pacer.bytes_per_s, streams.scheduler.shares.shares[Traffic.BULK]

    async with other.listening(), shipping(ams, "iad", iad.address, links=links) as first:
        await until(has_streams(first, 1), WAIT_S, "the first session")
        assert kept(first) == (6e6, 3)
        async with shipping(ams, "iad", other.address, links=links) as second:
            await until(has_streams(second, 1), WAIT_S, "the second session")
            assert kept(first) == kept(second) == (3e6, 3)
            links.keep_to(Shape())
            assert kept(first) == kept(second) == (None, 1)
            links.keep_to(Shape(8e6))
        assert kept(first) == (8e6, 1)
    assert receiver.refused == {}
