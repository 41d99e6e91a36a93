"""A large frame's reader is woken seldom, and yet never waits for what comes behind the frame."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from transport.aio import receiving
from transport.aio.options import wake_at
from transport.aio.receiving import ReceiveStreams
from transport.amst.reassembly import FlowLimits, Reassembler, WholeUnit
from transport.frame import FLAG_LAST, Frame, FrameType, encode_frame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux' options")

WAIT_S = 5.0
FLOW = 3
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            yield near, far


def wakes_at(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def buffer_bytes(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_buffer_that_could_not_grow_any_more_is_left_alone(pair: Pair) -> None:
    _, far = pair
    before = buffer_bytes(far)

    assert wake_at(far, before // 4)
    assert wakes_at(far) == before // 4
    assert wake_at(far, 1)
    assert not wake_at(far, before // 2)
    assert (wakes_at(far), buffer_bytes(far)) == (1, before)


async def test_the_last_bytes_of_a_frame_are_enough(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come alone, and nothing comes behind them."""
    near, far = pair
    wake_bytes = min(16_384, buffer_bytes(far) // 8)
    monkeypatch.setattr(receiving, "WAKE_BYTES", wake_bytes)
    monkeypatch.setattr(receiving, "SELDOM_WOKEN_BYTES", 2 * wake_bytes)
    asked: list[int] = []

    def spy(connection: socket.socket, size_bytes: int) -> bool:
        asked.append(size_bytes)
        return wake_at(connection, size_bytes)

    monkeypatch.setattr(receiving, "wake_at", spy)
    arrived: asyncio.Queue[WholeUnit] = asyncio.Queue()

    def keep(units: list[WholeUnit]) -> None:
        for unit in units:
            arrived.put_nowait(unit)

    reassembler = Reassembler({FLOW: FlowLimits(1 << 30, 1 << 30)})
    streams = ReceiveStreams(reassembler, keep, lambda _: None, lambda _: None)
    streams.add(1, far.dup())
    loop = asyncio.get_running_loop()
    near.setblocking(False)  # noqa: FBT003 - the socket module's signature
    try:
        for sequence in range(3):
            payload = os.urandom(12 * wake_bytes + 7)
            data = encode_frame(Frame(FrameType.UNIT, payload, FLOW, sequence, FLAG_LAST))
            for part in (data[: 6 * wake_bytes], data[6 * wake_bytes : -5], data[-5:]):
                await loop.sock_sendall(near, part)
            unit = await asyncio.wait_for(arrived.get(), WAIT_S)
            assert bytes(unit.payload) == payload
    finally:
        await streams.close()
    assert asked == [wake_bytes, 1] * 3
