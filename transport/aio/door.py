"""Where peers come in: listens, encrypts, and lets nobody wait in the door for long.

A connection is half open until it has shown a certificate (where the link is encrypted) and its
first frame. All of that has one deadline, whether somebody says nothing or a byte a second.
Half-open connections are few: one more pushes out the oldest of the address that has most, so
silent strangers never keep a peer out, and one at another address is never pushed out for them.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import structlog

from schemas.errors import CrowdedOutError, DwcpError, LinkClosedError, PeerSilentError
from transport.aio.connection import split_address
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 256
HALF_OPEN_MAX: Final = 64
BACKLOG: Final = 512
QUIET_S: Final = 1.0  # one line in the log for each reason
NO_DESCRIPTORS_S: Final = 0.5  # as asyncio does: what is short now may not be then

G = TypeVar("G")


class FrontDoor(Generic[G]):
    """Listens on one address.

    Args:
        greet: Reads a connection's first frame.
        serve: Serves a connection that has said who it is.
        tls: How to encrypt; None: plain.
        timeout_s: From being accepted to the whole first frame.

    Attributes:
        refused: Connections turned away or ended for a reason, by reason.
    """

    def __init__(
        self,
        greet: Callable[[Wire], Awaitable[G]],
        serve: Callable[[Wire, G], Awaitable[None]],
        tls: LinkTls | None,
        timeout_s: float,
    ) -> None:
        self._greet = greet
        self._serve = serve
        self._tls = tls
        self._timeout_s = timeout_s
        self.refused: Counter[str] = Counter()
        self._quiet_until_s: dict[str, float] = {}
        self._half_open: dict[Wire, str] = {}  # the oldest first
        self._open: dict[asyncio.Task[None], Wire] = {}
        self._listening: list[asyncio.Task[None]] = []

    @property
    def half_open_count(self) -> int:
        """How many have not said yet who they are."""
        return len(self._half_open)

    @property
    def open_count(self) -> int:
        """How many connections there are, half-open ones included."""
        return len(self._open)

    async def start(self, address: str) -> None:
        """Listen on `host:port`; `OSError` when that is not possible."""
        loop = asyncio.get_running_loop()
        host, port = split_address(address)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listeners: list[socket.socket] = []
        try:
            for family, _, _, _, target in dict.fromkeys(found):
                listeners.append(_listen(family, target))
        except OSError:
            for listener in listeners:
                listener.close()
            raise
        self._listening = [asyncio.ensure_future(self._accept_all(one)) for one in listeners]

    async def stop(self) -> None:
        """Stop listening, end all connections, and wait for what serves them."""
        for listening in self._listening:
            listening.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        tasks = list(self._open)
        for wire in self._open.values():
            wire.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, address = await loop.sock_accept(listener)
                except OSError as error:  # no descriptors left, or the caller is gone already
                    self.refuse("NotAccepted", str(error), "")
                    await asyncio.sleep(NO_DESCRIPTORS_S)
                else:
                    self._admit(Wire(connection), str(address[0]))

    def _admit(self, wire: Wire, host: str) -> None:
        if len(self._open) - len(self._half_open) >= CONNECTIONS_MAX:
            self.refuse("TooManyConnections", f"{CONNECTIONS_MAX} are open", host)
            wire.close()
            return
        if len(self._half_open) >= HALF_OPEN_MAX:
            self._push_out()
        self._half_open[wire] = host
        task = asyncio.ensure_future(self._receive(wire, host))
        self._open[task] = wire
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection.failed", exc_info=error)  # a bug of ours

    def _push_out(self) -> None:
        ((busiest, _),) = Counter(self._half_open.values()).most_common(1)
        oldest = next(wire for wire, host in self._half_open.items() if host == busiest)
        del self._half_open[oldest]
        oldest.close(CrowdedOutError(f"{HALF_OPEN_MAX} others had not said either who they are"))

    async def _receive(self, wire: Wire, host: str) -> None:
        try:
            greeting = await self._greeting(wire)
            await self._serve(wire, greeting)
        except LinkClosedError as error:
            log.info("connection.closed", peer=host, error=str(error))
        except DwcpError as error:
            self.refuse(error.reason, str(error), host)
        finally:
            await wire.finish()
            self._half_open.pop(wire, None)

    async def _greeting(self, wire: Wire) -> G:
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._tls is not None:
                    context = self._tls.server_context()
                    wire.peer = self._tls.accepted(await wire.shake_hands(context, is_server=True))
                greeting = await self._greet(wire)
        except TimeoutError as error:
            text = f"a connection did not say within {self._timeout_s:g} s who it is"
            raise PeerSilentError(text) from error
        self._half_open.pop(wire, None)
        return greeting

    def refuse(self, reason: str, text: str, host: str) -> None:
        """Count a connection that was turned away or ended, and say so."""
        self.refused[reason] += 1
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._quiet_until_s.get(reason, now_s):  # a flood must not fill the disk
            self._quiet_until_s[reason] = now_s + QUIET_S
            count = self.refused[reason]
            log.warning("connection.ended", reason=reason, peer=host, error=text, count=count)


def _listen(family: int, target: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        listener.bind(target)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
