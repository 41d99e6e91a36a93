"""What a sender needs, and what the senders of one peer's addresses share."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.log import Log
from schemas.registry import Record
from streams.agents.moves import Moves
from streams.agents.shaping import Shape
from streams.agents.status import SenderStatus
from transport.aio.keeper import StreamKeeper, StreamSettings
from transport.aio.tls import LinkTls
from transport.amst.objects import OutgoingObject
from transport.amst.traffic import Traffic
from transport.session.events import Identity, LinkSettings


class LinkSession(Protocol):
    """One session of a sender, for whoever steers it.

    Attributes:
        keeper: Its data streams; `keeper.streams` has their sockets, counters and queues.
        status: Peer, address, and what comes of it.
        ended: Set when the session is over.
    """

    keeper: StreamKeeper
    status: SenderStatus
    ended: asyncio.Event

    def send(self, traffic: Traffic, unit: bytes) -> None:
        """Ship one unit of the log flow, ahead of everything else."""
        ...

    def offer_objects(self) -> None:
        """Offer what was put into `Outgoing.objects` meanwhile."""
        ...


class PeerLinks:
    """All sessions with the nodes of one peer.

    Args:
        shape: What they keep to, all together.

    Attributes:
        shape: As it is now.
        opening: Held while a session is opened: two addresses may lead to the same node, and a
            second session with it would end the first.
        opened_count: Sessions opened so far.
    """

    def __init__(self, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.opening = asyncio.Lock()
        self.opened_count = 0
        self._sessions: list[LinkSession] = []

    def add(self, shipping: LinkSession) -> None:
        """Note a session that is open."""
        self._sessions.append(shipping)
        self.opened_count += 1
        self.keep_to(self.shape)

    def remove(self, shipping: LinkSession) -> None:
        """Forget a session."""
        if shipping in self._sessions:
            self._sessions.remove(shipping)
            self.keep_to(self.shape)

    def keep_to(self, shape: Shape) -> None:
        """Give each session an equal part of the rate, and its classes their shares."""
        self.shape = shape
        rate = shape.bytes_per_s
        for shipping in self._sessions:
            streams = shipping.keeper.streams
            streams.set_pacing(rate and rate / len(self._sessions))
            streams.set_shares(shape.shares)

    def offer_objects(self) -> None:
        """Let every session offer what waits."""
        for shipping in self._sessions:
            shipping.offer_objects()

    async def join(self, path: str) -> LinkSession | None:
        """Make an address one more path of a session; None when it leads to another node.

        Raises:
            LinkError: Nobody answers there.
        """
        for shipping in list(self._sessions):
            if not shipping.ended.is_set() and await shipping.keeper.join(path):
                return shipping
        return None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a sender needs.

    Attributes:
        identity: Who we are at the moment: a new session may hold other partitions.
        settings: Limits and timers.
        log: Our log.
        digest: Says what we hold.
        on_digest: Told what the peer holds.
        flush_ms: Least time between units, so that small batches travel together.
        status: Peer, address, and what comes of it.
        tls: How to encrypt; None: plain.
        streams: What the data streams should be.
        links: Sessions with this peer's nodes; shared by the senders of all its addresses.
        objects: Bulk objects to ship; one that the peer has taken is removed.
        moves: Moves of our partitions: each ends the session, the next one names what we hold.
        steer: Run beside every session, to steer its data streams.
        baseline: What the peer holds by name, to begin a flow with.
    """

    identity: Callable[[], Identity]
    settings: LinkSettings
    log: Log
    digest: Callable[[], Record]
    on_digest: Callable[[str, Record], None]
    flush_ms: int
    status: SenderStatus
    tls: LinkTls | None = None
    streams: StreamSettings = field(default_factory=StreamSettings)
    links: PeerLinks = field(default_factory=PeerLinks)
    objects: list[OutgoingObject] = field(default_factory=list)
    moves: Moves = field(default_factory=Moves)
    steer: Callable[[LinkSession], Coroutine[Any, Any, None]] | None = None
    baseline: Callable[["Outgoing"], bytes] = lambda _: b""
