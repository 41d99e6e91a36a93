"""Strangers at the door: what they say, and how a test hears what became of it."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final

from transport.aio.connection import split_address
from transport.aio.tls import TlsFiles

_DESCRIPTORS: Final = 4_096


def trusting(files: TlsFiles, *, shows_certificate: bool = True) -> ssl.SSLContext:
    """Return a dialler's context that believes whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if shows_certificate:
        context.load_cert_chain(files.cert, files.key)
    return context


async def said_by(address: str, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Dial, say something, and return all that is answered until the end."""
    host, port = split_address(address)
    answer = b""
    with contextlib.suppress(OSError):  # how it ends is for the other side to tell
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(data)
            while part := await reader.read(1 << 16):
                answer += part
        finally:
            writer.transport.abort()
    return answer


async def drip(address: str, data: bytes, pause_s: float) -> int:
    """Say it byte by byte; return how many bytes were taken before the end."""
    host, port = split_address(address)
    reader, writer = await asyncio.open_connection(host, port)
    ended = asyncio.ensure_future(reader.read())
    sent = 0
    try:
        for byte in data:
            writer.write(bytes([byte]))
            sent += 1
            done, _ = await asyncio.wait({ended}, timeout=pause_s)
            if done:
                break
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
        writer.transport.abort()
    return sent


@contextlib.asynccontextmanager
async def silent(
    address: str, count: int, source: str = "127.0.0.1"
) -> AsyncIterator[list[socket.socket]]:
    """Open many connections from one address and say nothing on them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _DESCRIPTORS)), hard))
    loop = asyncio.get_running_loop()
    target = split_address(address)
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            opened.append(one)
            one.setblocking(False)  # noqa: FBT003 - the socket module's signature
            one.bind((source, 0))
            await loop.sock_connect(one, target)
        yield opened
    finally:
        for one in opened:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Tap:
    """Passes bytes on between dialler and listener, and keeps what the dialler said.

    Attributes:
        said: Of each connection, what its dialler sent, in the order of dialling.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.said: list[bytearray] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen; yields the address to dial."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            said = bytearray()
            self.said.append(said)
            far_reader, far_writer = await asyncio.open_connection(*split_address(self._address))
            pumps = [
                asyncio.ensure_future(_pump(reader, far_writer, said.extend)),
                asyncio.ensure_future(_pump(far_reader, writer, lambda _: None)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                writer.transport.abort()
                far_writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], object]
) -> None:
    while data := await reader.read(1 << 16):
        note(data)
        writer.write(data)
        await writer.drain()
