"""The web server's connections: bounded in number, and in how long they may say nothing.

aiohttp bounds neither. A connection waits in the crowd until one of its requests is let in; the
crowd is small and pushes out the oldest of the busiest address, so silence and wrong tokens keep
nobody else out.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web

from streams.web.access import json_error
from transport.aio.crowd import Crowd
from transport.aio.listening import Listening

log = structlog.get_logger(__name__)

WAITING_MAX: Final = 64
WAITING_S: Final = 10.0
IDLE_S: Final = 75.0


class BoundedSite(web.BaseSite):
    """Listens for the web server.

    Args:
        runner: The server's runner; set up.
        address: Host and port.
        connections_max: How many there may be, beside those in the crowd.
        context: Returns how to encrypt, asked at each connection; None: plain.
    """

    __slots__ = ("_address", "_connections_max", "_context", "_crowd", "_listening", "_tasks")

    def __init__(
        self,
        runner: "web.BaseRunner",
        address: tuple[str, int],
        connections_max: int,
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(runner)
        self._address = address
        self._connections_max = connections_max
        self._context = context
        self._crowd: Crowd[Any] = Crowd(WAITING_MAX)
        self._listening = Listening(self._connected, _not_accepted)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """Where it is."""
        host, port = self._address
        return f"{'https' if self._context else 'http'}://{host}:{port}"

    async def start(self) -> None:
        """Listen; `OSError` when that is not possible."""
        await super().start()
        await self._listening.start(*self._address)

    async def stop(self) -> None:
        """Accept nothing more; the runner ends what there is."""
        await self._listening.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    def let_in(self, request: web.Request) -> None:
        """Note that a connection has rights here."""
        self._crowd.discard(request.protocol)

    def _connected(self, connection: socket.socket, host: str) -> None:
        task = asyncio.ensure_future(self._serve(connection, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, host: str) -> None:
        server = self._runner.server
        assert isinstance(server, web.Server), "the runner was set up"
        if len(server.connections) - len(self._crowd) >= self._connections_max:
            await _turn_away(connection, f"{self._connections_max} connections are open: try later")
            return
        handler = server()
        self._crowd.add(handler, host, lambda: _hang_up(connection))
        loop = asyncio.get_running_loop()
        context = self._context() if self._context is not None else None
        timeout_s = WAITING_S if context is not None else None
        try:
            await loop.connect_accepted_socket(
                lambda: handler, connection, ssl=context, ssl_handshake_timeout=timeout_s
            )
        except OSError as error:
            self._crowd.discard(handler)
            connection.close()
            log.debug("web.not_encrypted", peer=host, error=str(error))
            return
        loop.call_later(WAITING_S, self._end_waiting, handler, connection)

    def _end_waiting(self, handler: Any, connection: socket.socket) -> None:
        if handler in self._crowd:
            self._crowd.discard(handler)
            _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    """End a connection whoever reads from it now: that one sees its end."""
    with contextlib.suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_RDWR)


async def _turn_away(connection: socket.socket, text: str) -> None:
    body = json_error(503, "TooManyConnections", text).body
    assert isinstance(body, bytes), "an error of ours is short"
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    with connection, contextlib.suppress(OSError):
        connection.send(head.encode() + body)  # it fits the kernel's buffer of a new connection


def _not_accepted(error: OSError) -> None:
    log.warning("web.not_accepted", error=str(error))
