"""The proxy that plays the wide-area link: same bytes, later, slower, or not at all."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
import uvloop

from dwcp.demo.shaper import QUEUE_BYTES_MAX
from tests.support.proxied import MIB, World, a_world, echo
from tests.support.waiting import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as one:
        yield one


async def write_in_chunks(writer: asyncio.StreamWriter, data: bytes, dice: random.Random) -> None:
    at = 0
    while at < len(data):
        size = dice.choice((1, 100, 1_448, 20_000, 70_000, 300_000))
        writer.write(data[at : at + size])
        await writer.drain()
        at += size
    writer.write_eof()


async def check_both_ways(world: World, delay_ms: float, rate: float | None, seed: int) -> None:
    dice = random.Random(seed)
    up, down = dice.randbytes(3 * MIB), dice.randbytes(2 * MIB)
    received: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await write_in_chunks(writer, down, random.Random(seed + 1))
        received.append(await reader.read(-1))

    link, port = await world.link(await world.serve(talk), delay_ms, rate)
    reader, writer = await world.connect(port)
    _, got_down = await asyncio.gather(write_in_chunks(writer, up, dice), reader.read(-1))
    await until(lambda: bool(received), 10, "all bytes at the target")

    assert got_down == down
    assert received == [up]
    assert (link.forward_bytes, link.backward_bytes) == (len(up), len(down))
    assert link.queued_bytes == 0


@pytest.mark.parametrize(
    ("delay_ms", "rate"), [(0, None), (0, 20e6), (3, None), (15, 30e6), (0.5, 10e6)]
)
async def test_the_same_bytes_arrive_both_ways(
    world: World, delay_ms: float, rate: float | None
) -> None:
    await check_both_ways(world, delay_ms, rate, seed=int(delay_ms))


async def test_both_ends_of_stream_close_the_connection(world: World) -> None:
    """A half-closed connection still answers; afterwards nothing is left of it."""
    link, port = await world.link(await world.serve(echo), delay_ms=5)
    reader, writer = await world.connect(port)
    writer.write(b"last words")
    writer.write_eof()

    assert await reader.read(-1) == b"last words"
    await until(lambda: not link._ends, 10, "both sides closed")


async def test_no_byte_is_early(world: World) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=25)
    reader, writer = await world.connect(port)
    round_trips_ms = []
    for number in range(12):
        start_s = time.monotonic()
        writer.write(bytes([number]))
        assert await reader.readexactly(1) == bytes([number])
        round_trips_ms.append((time.monotonic() - start_s) * 1000)

    assert min(round_trips_ms) >= 50
    assert min(round_trips_ms) < 100, "generous: the machine may be busy, but not twelve times"
    assert link.forward_bytes == link.backward_bytes == 12


class Scale:
    """A server that swallows bytes and knows at which rate they came."""

    def __init__(self) -> None:
        self._arrivals: list[tuple[float, int]] = []

    async def talk(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while data := await reader.read(MIB):
            self._arrivals.append((time.monotonic(), len(data)))

    @property
    def total_bytes(self) -> int:
        return sum(count for _, count in self._arrivals)

    @property
    def rate_bytes_per_s(self) -> float:
        (first_s, first_bytes), (last_s, _) = self._arrivals[0], self._arrivals[-1]
        return (self.total_bytes - first_bytes) / (last_s - first_s)


async def test_the_rate_is_shared_by_all_connections(world: World) -> None:
    rate, scale = 4e6, Scale()
    _, port = await world.link(await world.serve(scale.talk), delay_ms=5, rate_bytes_per_s=rate)
    for _ in range(2):
        _, writer = await world.connect(port)
        writer.write(bytes(MIB))
    await until(lambda: scale.total_bytes == 2 * MIB, 30, "all bytes")

    assert scale.rate_bytes_per_s <= 1.15 * rate
    assert scale.rate_bytes_per_s >= 0.5 * rate, "generous: the machine may be busy"


async def test_a_long_link_is_kept_full(world: World) -> None:
    """It takes more when there is room behind what is in flight, not when it is half empty."""
    rate, scale = 10e6, Scale()
    _, port = await world.link(await world.serve(scale.talk), delay_ms=250, rate_bytes_per_s=rate)
    _, writer = await world.connect(port)
    writer.write(bytes(8 * MIB))
    await until(lambda: scale.total_bytes == 8 * MIB, 30, "all bytes")

    assert scale.rate_bytes_per_s >= 0.85 * rate


async def test_a_cut_holds_and_healing_releases(world: World) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=1)
    reader, writer = await world.connect(port)
    writer.write(b"before")
    assert await reader.readexactly(6) == b"before"

    link.cut()
    writer.write(b"during")
    answer = asyncio.create_task(reader.readexactly(6))
    await until(lambda: link.queued_bytes == 6, 10, "the proxy to have read it")
    await world.a_while()

    assert link.is_cut
    assert not answer.done()
    assert (link.forward_bytes, link.backward_bytes) == (6, 6)

    link.heal()
    assert not link.is_cut
    assert await answer == b"during"


async def test_a_cut_stops_what_is_on_its_way(world: World) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=200)
    reader, writer = await world.connect(port)
    writer.write(b"x")
    await until(lambda: link.queued_bytes == 1, 10, "the proxy to have read it")
    link.cut()
    for _ in range(5):  # 300 ms
        await world.a_while()
    assert link.forward_bytes == 0

    start_s = time.monotonic()
    link.heal()
    assert await reader.readexactly(1) == b"x"
    assert time.monotonic() - start_s >= 0.400, "after the cut it makes its way once more"


async def test_who_connects_during_a_cut_is_accepted_but_unknown_until_it_heals(
    world: World,
) -> None:
    link, port = await world.link(await world.serve(echo))
    link.cut()
    reader, writer = await world.connect(port)
    writer.write(b"hello?")
    await until(lambda: link.queued_bytes == 6, 10, "the proxy to have read it")
    await world.a_while()
    known_count = len(world.accepted)
    assert known_count == 1, "only the clock's connection"

    link.heal()
    assert await reader.readexactly(6) == b"hello?"
    assert len(world.accepted) == known_count + 1


async def test_who_gave_up_during_a_cut_is_never_heard_of(world: World) -> None:
    link, port = await world.link(await world.serve(echo))
    link.cut()
    _, writer = await world.connect(port)
    writer.write(b"stale hello")
    await until(lambda: link.queued_bytes == 11, 10, "the proxy to have read it")
    writer.close()
    await until(lambda: not link._ends, 10, "both sides closed")
    await world.a_while()
    known_count = len(world.accepted)

    link.heal()
    reader, writer = await world.connect(port)
    writer.write(b"fresh")
    assert await reader.readexactly(5) == b"fresh"
    assert len(world.accepted) == known_count + 1
    assert link.forward_bytes == 5
    assert link.queued_bytes == 0


async def test_the_end_of_a_connection_is_cut_off_too(world: World) -> None:
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        ended.set()

    link, port = await world.link(await world.serve(listen))
    _, writer = await world.connect(port)
    await until(lambda: len(world.accepted) == 1, 10, "the target to accept")
    link.cut()
    writer.close()
    await world.a_while()
    assert not ended.is_set()

    link.heal()
    await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.parametrize("is_cut", [False, True])
async def test_reset_aborts_both_sides_mid_frame(world: World, *, is_cut: bool) -> None:
    lost: list[type[Exception]] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(1_000)
        except OSError as error:
            lost.append(type(error))

    link, port = await world.link(await world.serve(listen), delay_ms=5)
    reader, writer = await world.connect(port)
    writer.write(b"half a frame")
    await until(lambda: link.forward_bytes == 12, 10, "half a frame at the target")
    if is_cut:
        link.cut()
    link.reset()

    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    await until(lambda: lost == [ConnectionResetError], 10, "the target to see a reset")
    assert link.queued_bytes == 0

    link.heal()
    _, writer = await world.connect(port)
    writer.write(b"again")
    await until(lambda: link.forward_bytes == 17, 10, "a new connection to work")


async def test_reset_drops_what_is_queued_both_ways(world: World) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=50, rate_bytes_per_s=2e6)
    _, writer = await world.connect(port)
    writer.write(bytes(MIB))
    await until(lambda: link._backward.queued_bytes > 0, 10, "an answer on its way")
    link.reset()

    assert link.queued_bytes == 0


async def test_a_client_that_dies_is_aborted_at_the_target(world: World) -> None:
    lost: list[type[Exception]] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            await reader.read(-1)
        except OSError as error:
            lost.append(type(error))

    _, port = await world.link(await world.serve(listen), delay_ms=2)
    _, writer = await world.connect(port)
    await until(lambda: len(world.accepted) == 1, 10, "the target to accept")
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()

    await until(lambda: lost == [ConnectionResetError], 10, "the target to see a reset")


async def test_a_target_that_is_not_there_closes_the_client(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, port = await world.link(taken.getsockname()[1])
    reader, _ = await world.connect(port)

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(-1), 10)


async def test_a_stalled_receiver_stops_the_sender_but_no_other_connection(world: World) -> None:
    go_on = asyncio.Event()
    received: list[int] = []

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"e":
            writer.write(first)
            return
        await go_on.wait()
        received.append(len(await reader.read(-1)) + 1)

    size = 64 * MIB
    link, port = await world.link(await world.serve(stall), delay_ms=1)
    _, stalled = await world.connect(port)
    stalled.write(bytes(size))
    stalled.write_eof()
    left = size
    while left != (left := stalled.transport.get_write_buffer_size()):
        await world.a_while()

    assert size - left < 24 * MIB, "ours plus four kernel buffers"
    assert link.queued_bytes < QUEUE_BYTES_MAX + MIB

    reader, writer = await world.connect(port)
    writer.write(b"e")
    assert await reader.readexactly(1) == b"e"

    go_on.set()
    await until(lambda: received == [size], 60, "all bytes at the target")


@pytest.mark.parametrize("is_cut", [False, True])
async def test_the_queue_of_a_slow_or_cut_link_is_bounded(world: World, *, is_cut: bool) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=10, rate_bytes_per_s=1e6)
    if is_cut:
        link.cut()
    for _ in range(3):
        _, writer = await world.connect(port)
        writer.write(bytes(8 * MIB))
    await until(lambda: link.queued_bytes > QUEUE_BYTES_MAX, 10, "a full queue")
    await world.a_while()

    assert link.queued_bytes <= QUEUE_BYTES_MAX + 10_000 + 2 * (1 << 18)


async def test_stopping_leaves_nothing(world: World) -> None:
    link, port = await world.link(await world.serve(echo), delay_ms=5)
    reader, writer = await world.connect(port)
    writer.write(bytes(MIB))
    await until(lambda: link.forward_bytes > 0, 10, "bytes to arrive")
    await link.stop()

    assert not link._ends
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await link.stop()


def test_it_works_on_uvloop_too() -> None:
    async def run(check: Callable[[World], Coroutine[None, None, None]]) -> None:
        async with a_world() as world:
            await check(world)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(lambda world: check_both_ways(world, 3, 30e6, seed=1)))
        runner.run(run(test_no_byte_is_early))
        runner.run(run(test_a_cut_holds_and_healing_releases))
        runner.run(run(lambda world: test_reset_aborts_both_sides_mid_frame(world, is_cut=False)))
