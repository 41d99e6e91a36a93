"""The listening side of all links: takes peers' logs into our replica topic.

For each node of a peer one session at a time, and for each partition of an origin too: a newer
session ends older ones that stand in its way, and begins when they have ended. A unit is decoded
in a thread, appended with its origin in headers, and acknowledged when our Kafka has it. Cursors
come from the replica topic itself, so a crash between append and acknowledgement leaves nothing
twice.
"""

import asyncio
from typing import Final

import structlog

from schemas.errors import DwcpError, LinkClosedError, PeerSilentError, UnexpectedMessageError
from streams.agents.status import ReceiverStatus
from streams.agents.taking import Incoming, Taking
from transport.aio.connection import Wire, read_some, split_address
from transport.frame import FrameType
from transport.session.handshake import Greeting

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 256


class Receiver:
    """Listens for peers.

    Attributes:
        status: By origin region and node.
        refused: Connections turned away since the start, by reason.
    """

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.status: dict[tuple[str, str], ReceiverStatus] = {}
        self.refused: dict[str, int] = {}
        self._by_token: dict[bytes, Taking] = {}
        self._takings: list[Taking] = []
        self._connections: dict[asyncio.Task[None], Wire] = {}
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        """Listen on `host:port`; `OSError` when that is not possible."""
        host, port = split_address(address)
        self._server = await asyncio.start_server(self._accept, host, port)

    async def stop(self) -> None:
        """Stop listening and end all sessions; what is being appended is waited for."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._connections)
        for wire in self._connections.values():
            wire.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        wire = Wire(reader, writer)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._refuse("TooManyConnections", f"{CONNECTIONS_MAX} are open")
            wire.close()
            return
        self._connections[task] = wire
        try:
            await self._serve(wire)
        except LinkClosedError as error:
            log.info("connection.closed", error=str(error))
        except DwcpError as error:
            self._refuse(error.reason, str(error))
        finally:
            del self._connections[task]
            writer.close()

    def _refuse(self, reason: str, text: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        log.warning("connection.ended", reason=reason, error=text)

    async def _serve(self, wire: Wire) -> None:
        greeting = Greeting()
        kind = None
        try:
            async with asyncio.timeout(self.incoming.settings.silence_ms / 1_000):
                while kind is None:
                    kind = greeting.feed(await read_some(wire))
        except TimeoutError as error:
            raise PeerSilentError("a connection that said nothing") from error
        if kind is FrameType.HELLO:
            await Taking(self.incoming, self, wire, greeting).run()
            return
        taking = self._by_token.get(greeting.token)
        if taking is None:
            raise UnexpectedMessageError("a data connection with a token of no session")
        await taking.take(wire, greeting)

    async def open(self, taking: Taking) -> dict[int, int]:
        """Let a session in and return its cursors; older ones in its way end first."""
        session = taking.session
        # Again and again: several may have waited for the same one, and each has to be the only.
        while older := [one for one in self._takings if one.is_in_the_way_of(session)]:
            for one in older:
                one.end()
            await older[0].ended.wait()
        self._takings.append(taking)
        self._by_token[session.token] = taking
        cursors = await self.incoming.replica.cursors(session.peer_region)
        return {p: offset for p, offset in cursors.items() if p in session.partitions}

    def forget(self, taking: Taking) -> None:
        """Drop a session that ended."""
        self._by_token.pop(taking.session.token, None)
        if taking in self._takings:
            self._takings.remove(taking)

    def status_of(self, taking: Taking) -> ReceiverStatus:
        """Return where the session writes what becomes of it."""
        key = (taking.session.peer_region, taking.session.peer_node)
        return self.status.setdefault(key, ReceiverStatus(*key))
