"""Data streams under uvloop, as in nodes: it makes every socket that it watches non-blocking."""

import asyncio
import socket
import threading

import uvloop

from transport.aio.options import SocketOptions
from transport.aio.sending import SendStream, SendStreams
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic
from transport.frame import HEADER_BYTES

FLOW = 1
UNITS = 128
UNIT_BYTES = 1 << 18


async def send_more_than_any_buffer_holds(
    sender: socket.socket, done: threading.Event
) -> list[str]:
    lost: list[str] = []

    def note(stream: SendStream) -> None:
        lost.append(stream.error)

    scheduler = SendScheduler()
    scheduler.open_flow(FLOW, 1 << 30)
    streams = SendStreams(scheduler, SocketOptions(()), note)
    streams.add(1, sender, "here")
    for _ in range(UNITS):
        streams.submit(FLOW, Traffic.STATE, bytes(UNIT_BYTES))
    await asyncio.to_thread(done.wait, 30)
    await streams.close()
    return lost


def test_a_full_send_buffer_makes_a_stream_wait_and_not_end() -> None:
    """The reader begins only when the writer has long been stopped by full buffers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    expected = UNITS * (UNIT_BYTES + HEADER_BYTES)
    received = 0
    done = threading.Event()

    def read() -> None:
        nonlocal received
        while received < expected and (data := receiver.recv(1 << 20)):
            received += len(data)
        done.set()

    reader = threading.Timer(0.5, read)
    reader.start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lost = runner.run(send_more_than_any_buffer_holds(sender, done))
    reader.join()
    receiver.close()

    assert lost == []
    assert received == expected


def test_a_stream_that_the_peer_closes_is_noticed_while_it_has_nothing_to_send() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()

    async def idle() -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        scheduler = SendScheduler()
        scheduler.open_flow(FLOW, 1 << 20)
        streams = SendStreams(
            scheduler, SocketOptions(()), lambda stream: ended.set_result(stream.error)
        )
        streams.add(1, sender, "here")
        receiver.close()
        error = await asyncio.wait_for(ended, 10)
        await streams.close()
        return error

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert "closed" in runner.run(idle())
