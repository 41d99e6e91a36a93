"""Where peers come in: listens, encrypts, and lets nobody wait in the door for long.

A connection is half open until it has shown a certificate (where the link is encrypted) and its
first frame. All of that has one deadline, whether somebody says nothing or a byte a second.
Half-open connections are few: see `transport.aio.crowd` for who has to go when more come.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import structlog

from schemas.errors import CrowdedOutError, DwcpError, LinkClosedError, PeerSilentError
from transport.aio.connection import split_address
from transport.aio.crowd import Crowd
from transport.aio.listening import Listening
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 256
HALF_OPEN_MAX: Final = 64
QUIET_S: Final = 1.0  # one line in the log for each reason

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
        self._half_open: Crowd[Wire] = Crowd(HALF_OPEN_MAX)
        self._open: dict[asyncio.Task[None], Wire] = {}
        self._listening = Listening(self._admit, self._not_accepted)

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
        await self._listening.start(*split_address(address))

    async def stop(self) -> None:
        """Stop listening, end all connections, and wait for what serves them."""
        await self._listening.stop()
        tasks = list(self._open)
        for wire in self._open.values():
            wire.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _not_accepted(self, error: OSError) -> None:
        self.refuse("NotAccepted", str(error), "")

    def _admit(self, connection: socket.socket, host: str) -> None:
        wire = Wire(connection)
        if len(self._open) - len(self._half_open) >= CONNECTIONS_MAX:
            self.refuse("TooManyConnections", f"{CONNECTIONS_MAX} are open", host)
            wire.close()
            return
        text = f"{HALF_OPEN_MAX} others had not said either who they are"
        self._half_open.add(wire, host, lambda: wire.close(CrowdedOutError(text)))
        task = asyncio.ensure_future(self._receive(wire, host))
        self._open[task] = wire
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection.failed", exc_info=error)  # a bug of ours

    async def _receive(self, wire: Wire, host: str) -> None:
        try:
            greeting = await self._greeting(wire)
            await self._serve(wire, greeting)
        except LinkClosedError as error:
            self._say(error.reason, peer=host, error=str(error))
        except DwcpError as error:
            self.refuse(error.reason, str(error), host)
        finally:
            await wire.finish()
            self._half_open.discard(wire)

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
        self._half_open.discard(wire)
        return greeting

    def refuse(self, reason: str, text: str, host: str) -> None:
        """Count a connection that was turned away or ended, and say so."""
        self.refused[reason] += 1
        self._say(reason, peer=host, error=text, count=self.refused[reason])

    def _say(self, reason: str, **what: object) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._quiet_until_s.get(reason, now_s):  # a flood must not fill the disk
            self._quiet_until_s[reason] = now_s + QUIET_S
            log.warning("connection.ended", reason=reason, **what)
