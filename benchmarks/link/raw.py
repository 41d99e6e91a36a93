"""The rival that sets the ceiling: blocking sockets, a thread each, nothing but bytes.

python -m benchmarks.link.raw receive HOST STREAMS
python -m benchmarks.link.raw send HOST PORT STREAMS CONTROL
"""

import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.link.encryption import link_tls
from benchmarks.link.worker import BLOCK_BYTES, ask_control, serve_marks
from transport.aio.tcp_info import read_tcp_info

Count = Callable[[int], None]


def receive(host: str, stream_count: int) -> None:
    """Take bytes and count them."""
    tls = link_tls("b")

    def take(connection: socket.socket, count: Count) -> None:
        if tls is not None:
            connection = tls.server_context().wrap_socket(connection, server_side=True)
        buffer = bytearray(BLOCK_BYTES)
        while size := connection.recv_into(buffer):
            count(size)

    take_all(host, stream_count, take)


def send(host: str, port: int, stream_count: int, control: str) -> None:
    """Send as fast as it goes."""
    block = os.urandom(BLOCK_BYTES)
    connections = [_connect(host, port, control) for _ in range(stream_count)]

    def give(connection: socket.socket) -> None:
        while True:
            connection.sendall(block)

    give_all(connections, give)


def take_all(host: str, stream_count: int, take: Callable[[socket.socket, Count], None]) -> None:
    """Take each stream on a thread of its own and answer marks; never returns.

    Args:
        host: Where to listen.
        stream_count: How many there will be.
        take: Reads one stream to its end and counts its bytes.
    """
    counts = [0] * stream_count
    listener = socket.create_server((host, 0), backlog=64)

    def counter(number: int) -> Count:
        def count(size_bytes: int) -> None:
            counts[number] += size_bytes

        return count

    def accept() -> None:
        for number in range(stream_count):
            connection, _ = listener.accept()
            arguments = (connection, counter(number))
            threading.Thread(target=take, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    serve_marks({"port": listener.getsockname()[1]}, lambda: {"bytes": sum(counts)})


def give_all(connections: list[socket.socket], give: Callable[[socket.socket], None]) -> None:
    """Fill each stream on a thread of its own and answer marks; never returns."""
    for connection in connections:
        threading.Thread(target=give, args=(connection,), daemon=True).start()
    serve_marks({"streams": len(connections)}, lambda: counters(connections))


def counters(connections: list[socket.socket]) -> dict[str, Any]:
    """Return what the kernel counts of each connection, by its port: bytes sent, and repeated."""
    counted = {}
    for connection in connections:
        reading = read_tcp_info(connection)
        if reading is not None:
            port = str(connection.getsockname()[1])
            counted[port] = (reading.sent_bytes, reading.repeated_bytes)
    return {"streams": len(connections), "counters": counted}


def _connect(host: str, port: int, control: str) -> socket.socket:
    connection = socket.socket()
    ask_control(connection, control)
    connection.connect((host, port))
    tls = link_tls("a")
    return connection if tls is None else tls.client_context().wrap_socket(connection)


if __name__ == "__main__":
    role, *words = sys.argv[1:]
    if role == "receive":
        receive(words[0], int(words[1]))
    else:
        send(words[0], int(words[1]), int(words[2]), words[3])
