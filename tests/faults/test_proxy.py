"""Each fault does what it says: neither less nor more, and nothing is left of it afterwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import FaultyLink, OneWay
from tests.support.proxied import Streams, World, a_world, echo
from tests.support.waiting import until

Proxied = tuple[FaultyLink, asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as one:
        yield one


async def proxied(world: World, delay_ms: float = 0) -> tuple[FaultyLink, int, Streams]:
    """Connect to an echo through a link, and make sure that it answers."""
    link, port = await world.link(await world.serve(echo), delay_ms)
    streams = await world.connect(port)
    await ask(streams, b"first")
    return link, port, streams


async def ask(streams: Streams, text: bytes) -> None:
    reader, writer = streams
    writer.write(text)
    assert await asyncio.wait_for(reader.readexactly(len(text)), 10) == text


async def reset_is_seen(streams: Streams) -> None:
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(streams[0].read(-1), 10)


class Counter(asyncio.Protocol):
    """Counts bytes; unlike a stream reader it forgets none when a reset follows at once."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.count += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc

    def is_reset(self) -> bool:
        return isinstance(self.error, ConnectionResetError)


class TestDelayAndRate:
    async def test_a_longer_delay_holds_for_what_comes_after(self, world: World) -> None:
        link, _, streams = await proxied(world)
        loop = asyncio.get_running_loop()
        link.reshape(delay_ms=80, rate_bytes_per_s=None)
        began_s = loop.time()
        await ask(streams, b"slow")

        assert loop.time() - began_s >= 0.160

    async def test_one_direction_alone(self, world: World) -> None:
        link, _, streams = await proxied(world)
        loop = asyncio.get_running_loop()
        link.reshape(delay_ms=100, rate_bytes_per_s=None, direction="backward")
        streams[1].write(b"x")
        await until(lambda: link.forward_bytes == 6, 10, "the request at the target")
        assert link.backward_bytes == 5
        began_s = loop.time()
        await streams[0].readexactly(1)

        assert loop.time() - began_s >= 0.05

    async def test_a_rate_that_collapses(self, world: World) -> None:
        link, _, streams = await proxied(world)
        loop = asyncio.get_running_loop()
        link.reshape(delay_ms=0, rate_bytes_per_s=100_000, direction="forward")
        began_s = loop.time()
        await ask(streams, bytes(50_000))

        assert loop.time() - began_s >= 0.45

    async def test_a_shorter_delay_overtakes_nobody(self, world: World) -> None:
        link, _, (reader, writer) = await proxied(world, delay_ms=100)
        writer.write(b"one")
        await until(lambda: link.queued_bytes == 3, 10, "the proxy to have read it")
        link.reshape(delay_ms=0, rate_bytes_per_s=None)
        writer.write(b"two")

        assert await asyncio.wait_for(reader.readexactly(6), 10) == b"onetwo"


class TestCutOneWay:
    async def test_forward_lets_answers_through(self, world: World) -> None:
        link, _, (reader, writer) = await proxied(world)
        link.cut("forward")
        assert link.is_cut
        writer.write(b"lost?")
        world.accepted[0].write(b"news")  # the target speaks of its own accord

        assert await asyncio.wait_for(reader.readexactly(4), 10) == b"news"
        assert link.forward_bytes == 5
        link.heal()
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"lost?"

    async def test_backward_lets_requests_through(self, world: World) -> None:
        link, _, (reader, writer) = await proxied(world)
        link.cut("backward")
        writer.write(b"heard")
        await until(lambda: link.forward_bytes == 10, 10, "the request at the target")
        await world.a_while()

        assert link.backward_bytes == 5
        link.heal()
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"heard"

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    async def test_nobody_new_is_heard_of(self, world: World, direction: OneWay) -> None:
        link, port, _ = await proxied(world)
        link.cut(direction)
        _, given_up = await world.connect(port)
        given_up.write(b"never")
        patient = await world.connect(port)
        patient[1].write(b"later")
        await world.a_while()
        known = len(world.accepted)
        given_up.close()
        await until(lambda: len(link._ends) == 3, 10, "the proxy to see that one gave up")
        link.heal()

        assert await asyncio.wait_for(patient[0].readexactly(5), 10) == b"later"
        assert len(world.accepted) == known + 1

    async def test_what_waits_for_the_target_is_bounded(self, world: World) -> None:
        link, port, _ = await proxied(world)
        link.cut("backward")
        _, writer = await world.connect(port)
        writer.write(bytes(32 << 20))
        left = -1
        while left != (left := writer.transport.get_write_buffer_size()):
            await world.a_while()

        held = sum(end.backlog_bytes for end in link._ends) + link.queued_bytes
        assert 0 < held < (2 << 20)


class TestHalfOpen:
    async def test_the_target_is_gone_and_the_client_is_not_told(self, world: World) -> None:
        link, port, (reader, writer) = await proxied(world)
        assert link.half_open(gone="target") == 1
        await until(world.accepted[0].is_closing, 10, "the target to see a reset")
        writer.write(b"anybody?")
        answer = asyncio.ensure_future(reader.read(1))
        await until(lambda: link.forward_bytes == 13, 10, "the request to be lost")
        await world.a_while()

        assert not answer.done()
        answer.cancel()
        await ask(await world.connect(port), b"new ones work")

    async def test_the_client_is_gone_and_the_target_is_not_told(self, world: World) -> None:
        link, _, streams = await proxied(world)
        assert link.half_open(gone="client") == 1
        await reset_is_seen(streams)
        world.accepted[0].write(b"into the void")
        await until(lambda: link.backward_bytes == 18, 10, "the answer to be lost")
        await world.a_while()

        assert not world.accepted[0].is_closing()

    async def test_the_survivor_can_hang_up(self, world: World) -> None:
        link, _, (_, writer) = await proxied(world)
        link.half_open(gone="target")
        writer.close()

        await until(lambda: not link._ends, 10, "nothing to be left")

    async def test_it_counts_nobody_who_is_half_connected(self, world: World) -> None:
        link, port, _ = await proxied(world)
        await until(lambda: link.connection_count == 1, 10, "the target's side to be there")
        link.cut()
        await world.connect(port)

        assert link.half_open(gone="target") == 1
        assert link.half_open(gone="target") == 0


class TestSwallow:
    async def test_requests_are_carried_out_and_answers_are_lost(self, world: World) -> None:
        link, _, streams = await proxied(world)
        link.swallow()
        streams[1].write(b"do it")
        await until(lambda: link.swallowed_bytes == 5, 10, "the answer to be swallowed")
        assert link.forward_bytes == 10

        link.swallow_no_more()
        await reset_is_seen(streams)

    async def test_whoever_lost_nothing_goes_on(self, world: World) -> None:
        link, port, loser = await proxied(world)
        other = await world.connect(port)
        await ask(other, b"quiet")
        link.swallow("forward")
        loser[1].write(b"lost")
        await until(lambda: link.swallowed_bytes == 4, 10, "the request to be swallowed")
        link.swallow_no_more()

        await reset_is_seen(loser)
        await ask(other, b"still here")

    async def test_the_end_of_a_stream_is_lost_too(self, world: World) -> None:
        link, _, streams = await proxied(world)
        link.swallow()
        world.accepted[0].write_eof()
        await world.a_while()

        assert not streams[0].at_eof()
        link.swallow_no_more()
        await reset_is_seen(streams)


class TestAtAByte:
    @pytest.mark.parametrize("at", [0, 1, 499, 70_000, 199_999])
    async def test_reset_forward(self, world: World, at: int) -> None:
        target = Counter()
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: target, "127.0.0.1", 0) as server:
            link, port = await world.link(server.sockets[0].getsockname()[1])
            streams = await world.connect(port)
            link.reset_after(at)
            assert link.is_armed
            streams[1].write(bytes(200_000))
            await reset_is_seen(streams)
            await until(target.is_reset, 10, "the target to see the reset")

        assert target.count == at
        assert not link.is_armed
        assert link.forward_bytes >= at

    @pytest.mark.parametrize("at", [0, 3, 99_999])
    async def test_reset_backward(self, world: World, at: int) -> None:
        link, port, bystander = await proxied(world)
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(Counter, "127.0.0.1", port)
        link.reset_after(at, "backward")
        client.transport.write(bytes(100_000))
        await until(client.is_reset, 10, "the client to see the reset")

        assert client.count == at
        await ask(bystander, b"unharmed")
        await ask(await world.connect(port), b"a new one works")

    async def test_whoever_does_not_read_is_reset_at_the_end(self, world: World) -> None:
        """The reset waits until the far side has its bytes; stopping the link does not."""
        link, port, _ = await proxied(world)
        link.reset_after(30 << 20, "backward")
        _, client = await asyncio.get_running_loop().create_connection(Counter, "127.0.0.1", port)
        client.transport.pause_reading()
        client.transport.write(bytes(40 << 20))
        await until(lambda: link.backward_bytes > (1 << 20), 10, "answers to pile up")
        await link.stop()
        client.transport.resume_reading()

        await until(client.is_reset, 10, "the client to see the reset")

    async def test_a_flipped_bit_is_one_bit(self, world: World) -> None:
        link, _, (reader, writer) = await proxied(world)
        link.flip_after(70_001, "backward")
        sent = bytes(100_000)
        writer.write(sent)
        got = await asyncio.wait_for(reader.readexactly(len(sent)), 10)

        assert [(at, byte) for at, byte in enumerate(got) if byte] == [(70_001, 1)]
