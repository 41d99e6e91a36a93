"""Servers, proxied links and connections of one test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.faults.proxy import FaultyLink

MIB = 1 << 20
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(MIB):
        writer.write(data)
        await writer.drain()


class World:
    """Servers, links and connections of one test, all closed at its end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._talks: list[asyncio.Task[None]] = []
        self.accepted: list[asyncio.StreamWriter] = []

    async def serve(self, talk: Talk) -> int:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted.append(writer)
            self._talks.append(asyncio.create_task(self._converse(talk, reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._stack.push_async_callback(server.wait_closed)
        self._stack.callback(server.close)
        self._stack.push_async_callback(self._hang_up)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def link(
        self, port: int, delay_ms: float = 0, rate_bytes_per_s: float | None = None
    ) -> tuple[FaultyLink, int]:
        link = FaultyLink("127.0.0.1", port, delay_ms=delay_ms, rate_bytes_per_s=rate_bytes_per_s)
        self._stack.push_async_callback(link.stop)
        return link, await link.start()

    async def connect(self, port: int) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._stack.push_async_callback(_close, writer)
        self._stack.callback(writer.transport.abort)
        return reader, writer

    async def a_while(self) -> None:
        """Wait for a round trip over a link of its own, long after what should not happen."""
        if not hasattr(self, "_clock"):
            _, port = await self.link(await self.serve(echo), delay_ms=30)
            self._clock = await self.connect(port)
        reader, writer = self._clock
        writer.write(b"?")
        assert await reader.readexactly(1) == b"?"

    async def _converse(
        self, talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            await _close(writer)

    async def _hang_up(self) -> None:
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)
