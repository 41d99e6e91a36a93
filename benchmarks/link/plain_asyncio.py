"""The rival that most would write: asyncio's streams, one task a connection.

python -m benchmarks.link.plain_asyncio receive HOST STREAMS
python -m benchmarks.link.plain_asyncio send HOST PORT STREAMS CONTROL
"""

import asyncio
import os
import socket
import sys

from benchmarks.link.raw import counters
from benchmarks.link.worker import BLOCK_BYTES, answer_marks, ask_control


class _Receiver:
    def __init__(self) -> None:
        self.received = 0

    async def run(self, host: str) -> None:
        server = await asyncio.start_server(self._take, host, 0, limit=2 * BLOCK_BYTES)
        port = server.sockets[0].getsockname()[1]
        answer_marks({"port": port}, lambda: {"bytes": self.received})
        await server.serve_forever()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(BLOCK_BYTES):
            self.received += len(data)
        writer.close()


async def send(host: str, port: int, stream_count: int, control: str) -> None:
    """Send as fast as it goes."""
    block = os.urandom(BLOCK_BYTES)
    connections = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(stream_count):
            connection = socket.socket()
            ask_control(connection, control)
            connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
            _, writer = await asyncio.open_connection(sock=connection)
            connections.append(connection)
            tasks.create_task(_give(writer, block))
        answer_marks({"streams": stream_count}, lambda: counters(connections))


async def _give(writer: asyncio.StreamWriter, block: bytes) -> None:
    while True:
        writer.write(block)
        await writer.drain()


if __name__ == "__main__":
    role, *words = sys.argv[1:]
    if role == "receive":
        asyncio.run(_Receiver().run(words[0]))
    else:
        asyncio.run(send(words[0], int(words[1]), int(words[2]), words[3]))
