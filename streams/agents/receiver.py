"""The listening side of all links: takes peers' logs into our replica topic.

For each node of a peer one session at a time, and for each partition of an origin too: a newer
session ends older ones that stand in its way, and begins when they have ended. A unit is decoded
in a thread, appended with its origin in headers, and acknowledged when our Kafka has it. Cursors
come from the replica topic itself, read when we became its partition's only writer, so a crash
between append and acknowledgement leaves nothing twice.
"""

from collections import deque
from typing import Final

from schemas.errors import DwcpError, LinkClosedError, TooManyConnectionsError, UnknownSessionError
from streams.agents.incoming import Incoming
from streams.agents.status import ReceiverStatus
from streams.agents.taking import Taking
from transport.aio.door import FrontDoor
from transport.aio.wire import Wire
from transport.frame import FrameType
from transport.session.handshake import Greeting, unknown_session

# Fewer than the door lets in: whoever has a session may add data streams to it.
SESSIONS_MAX: Final = 192
DATA_STREAMS_MAX: Final = 512  # one thread each


class Receiver:
    """Listens for peers.

    Attributes:
        status: By origin region and node.
        refused: Connections turned away since the start, by reason.
    """

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.status: dict[tuple[str, str], ReceiverStatus] = {}
        self._by_token: dict[bytes, Taking] = {}
        self._past_tokens: deque[bytes] = deque(maxlen=SESSIONS_MAX)
        self._takings: list[Taking] = []
        self._door = FrontDoor(
            _greet, self._serve, incoming.tls, incoming.settings.silence_ms / 1_000
        )
        self.refused = self._door.refused

    async def start(self, address: str) -> None:
        """Listen on `host:port`; `OSError` when that is not possible."""
        await self._door.start(address)

    def end_all(self) -> None:
        """End all sessions: our partitions moved, and the peers dial again at once."""
        for taking in list(self._takings):
            taking.end("partitions moved")

    async def stop(self) -> None:
        """Stop listening and end all sessions; what is being appended is waited for."""
        await self._door.stop()

    async def _serve(self, wire: Wire, greeting: Greeting) -> None:
        if greeting.kind is FrameType.HELLO:
            if len(self._takings) >= SESSIONS_MAX:
                raise TooManyConnectionsError(f"{SESSIONS_MAX} sessions are open")
            await Taking(self.incoming, self, wire, greeting).run()
            return
        taking = self._by_token.get(greeting.token)
        if taking is None:  # of another node of ours, or the session ended a moment ago
            wire.write(unknown_session())
            if greeting.token in self._past_tokens:
                raise LinkClosedError("a data connection of a session that has ended")
            raise UnknownSessionError("a data connection with a token of no session")
        if sum(one.stream_count for one in self._takings) >= DATA_STREAMS_MAX:
            raise TooManyConnectionsError(f"{DATA_STREAMS_MAX} data streams are open")
        await taking.take(wire, greeting)

    async def open(self, taking: Taking) -> dict[int, int]:
        """Let a session in and return its cursors; older ones in its way end first."""
        session = taking.session
        # Again and again: several may have waited for the same one, and each has to be the only.
        while older := [one for one in self._takings if one.is_in_the_way_of(session)]:
            for one in older:
                one.end()
            await older[0].ended.wait()
        if self.incoming.identity().held != session.identity.held:
            raise LinkClosedError("our partitions moved during the handshake")
        self._takings.append(taking)
        self._by_token[session.token] = taking
        cursors = self.incoming.replica.cursors(session.peer_region)
        return {p: offset for p, offset in cursors.items() if p in session.partitions}

    def forget(self, taking: Taking) -> None:
        """Drop a session that ended."""
        if self._by_token.pop(taking.session.token, None) is not None:
            self._past_tokens.append(taking.session.token)
        if taking in self._takings:
            self._takings.remove(taking)

    def refuse(self, error: DwcpError, region: str) -> None:
        """Count a data stream that ended for a reason, while its session goes on."""
        self._door.refuse(error.reason, str(error), region)

    def status_of(self, taking: Taking) -> ReceiverStatus:
        """Return where the session writes what becomes of it."""
        key = (taking.session.peer_region, taking.session.peer_node)
        return self.status.setdefault(key, ReceiverStatus(*key))


async def _greet(wire: Wire) -> Greeting:
    greeting = Greeting()
    while greeting.kind is None:
        greeting.feed(await wire.read())
    return greeting
