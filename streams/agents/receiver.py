"""The listening side of all links: takes peers' logs into our replica topic.

For each node of a peer one session at a time, and for each partition of an origin too: a newer
session ends older ones that stand in its way, and begins when they have ended. A unit is decoded
in a thread, appended with its origin in headers, and acknowledged when our Kafka has it. Cursors
come from the replica topic itself, read when we became its partition's only writer, so a crash
between append and acknowledgement leaves nothing twice.
"""

from schemas.errors import UnexpectedMessageError
from streams.agents.status import ReceiverStatus
from streams.agents.taking import Incoming, Taking
from transport.aio.door import FrontDoor
from transport.aio.wire import Wire
from transport.frame import FrameType
from transport.session.handshake import Greeting


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
        self._takings: list[Taking] = []
        self._door = FrontDoor(
            _greet, self._serve, incoming.tls, incoming.settings.silence_ms / 1_000
        )
        self.refused = self._door.refused

    async def start(self, address: str) -> None:
        """Listen on `host:port`; `OSError` when that is not possible."""
        await self._door.start(address)

    async def stop(self) -> None:
        """Stop listening and end all sessions; what is being appended is waited for."""
        await self._door.stop()

    async def _serve(self, wire: Wire, greeting: Greeting) -> None:
        if greeting.kind is FrameType.HELLO:
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
        cursors = self.incoming.replica.cursors(session.peer_region)
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


async def _greet(wire: Wire) -> Greeting:
    greeting = Greeting()
    while greeting.kind is None:
        greeting.feed(await wire.read())
    return greeting
