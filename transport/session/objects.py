"""Who has which bulk object, on both ends: offers, what is wanted, sums, what survives a session.

An outgoing object is offered in every session until it is taken; the peer says what it holds of it,
so only the rest travels. An incoming object stays on the shelf between sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from schemas.errors import UnexpectedMessageError
from transport.amst.objects import CHUNK_BYTES_MIN, IncomingObject, OutgoingObject
from transport.amst.piece import Piece
from transport.amst.ranges import RangeSet
from transport.frame import CHUNK_BYTES_MAX
from transport.session.events import ObjectTaken, Offered, SumKnown, Wanted
from transport.session.inbound import InboundSession
from transport.session.outbound import OutboundSession

_ID_BYTES = 16


class ChunkQueue(Protocol):
    """Where chunks wait to be sent: the scheduler, behind its lock."""

    def open_object(self, flow: int, size_bytes: int, pieces: list[Piece]) -> None:
        """Queue chunks of an object."""
        ...

    def close_flow(self, flow: int) -> None:
        """Forget a flow."""
        ...

    def is_flow_done(self, flow: int) -> bool:
        """Tell whether all of a flow is reported."""
        ...


class ChunkSink(Protocol):
    """Where chunks arrive: the reassembler, behind its lock."""

    def open_object(self, flow: int, incoming: IncomingObject) -> None:
        """Take chunks of an object."""
        ...

    def close_object(self, flow: int) -> None:
        """Drop later chunks of an object."""
        ...


class OutgoingObjects:
    """What one session ships of the objects that wait.

    Args:
        session: Whose control connection carries offers and sums.
        queue: Where chunks wait.
        waiting: Objects to ship, the first first; one that is taken is removed.
    """

    def __init__(
        self, session: OutboundSession, queue: ChunkQueue, waiting: list[OutgoingObject]
    ) -> None:
        self._session = session
        self._queue = queue
        self._waiting = waiting
        self._offered: dict[int, OutgoingObject] = {}
        self._wanted: set[int] = set()
        self.refusals: dict[bytes, str] = {}

    def offer(self) -> None:
        """Offer what was not offered yet."""
        offered = [id(one) for one in self._offered.values()]
        for one in self._waiting:
            if id(one) not in offered and one.object_id not in self.refusals:
                self._offered[self._session.offer(one)] = one

    def on_wanted(self, event: Wanted) -> None:
        """Queue what the peer lacks; a refused object waits for another session."""
        one = self._find(event.flow)
        if event.refusal:
            self.refusals[one.object_id] = event.refusal
            del self._offered[event.flow]
            return
        pieces = list(one.pieces(event.flow, RangeSet(event.held)))
        self._queue.open_object(event.flow, one.size_bytes, pieces)
        self._wanted.add(event.flow)

    def sums_due(self) -> list[tuple[int, OutgoingObject]]:
        """Return objects that the peer has all of, once; tell it their sums."""
        done = [flow for flow in sorted(self._wanted) if self._queue.is_flow_done(flow)]
        self._wanted.difference_update(done)
        return [(flow, self._offered[flow]) for flow in done]

    def on_taken(self, event: ObjectTaken) -> OutgoingObject | None:
        """Forget an object that arrived and return it; one that did not is offered again."""
        one = self._find(event.flow)
        del self._offered[event.flow]
        self._queue.close_flow(event.flow)
        if not event.is_whole:
            self.offer()
            return None
        self._waiting.remove(one)
        return one

    def _find(self, flow: int) -> OutgoingObject:
        one = self._offered.get(flow)
        if one is None:
            raise UnexpectedMessageError(f"an answer about flow {flow}, which was not offered")
        return one


@dataclass(slots=True)
class Shelf:
    """Incoming objects of all peers, between their first chunk and their sum.

    Attributes:
        bytes_max: Size of all of them together; what does not fit is declined.
        count_max: How many there may be.
    """

    bytes_max: int
    count_max: int = 64
    standing: dict[tuple[str, bytes], IncomingObject] = field(default_factory=dict)

    def find(self, region: str, offer: Offered) -> IncomingObject | str:
        """Return where an object goes, with what is there of it already, or why it cannot."""
        key = (region, offer.object_id)
        found = self.standing.get(key)
        if found is not None and found.size_bytes == offer.size_bytes:
            if found.chunk_bytes == offer.chunk_bytes:
                return found
            del self.standing[key]
        used = sum(one.size_bytes for one in self.standing.values())
        if len(self.standing) >= self.count_max or used + offer.size_bytes > self.bytes_max:
            return (
                f"{offer.size_bytes:,} bytes do not fit: {used:,} of {self.bytes_max:,} are "
                f"taken by {len(self.standing)} objects"
            )
        self.standing[key] = IncomingObject(offer.label, offer.size_bytes, offer.chunk_bytes)
        return self.standing[key]

    def remove(self, region: str, object_id: bytes) -> None:
        """Forget an object."""
        self.standing.pop((region, object_id), None)


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """An object that is whole and whose sum was right."""

    region: str
    object_id: bytes
    label: str
    data: bytearray


class IncomingObjects:
    """What one session takes in of the objects that its peer offers.

    Args:
        session: Whose control connection carries the answers.
        sink: Where chunks arrive.
        shelf: Where objects stand meanwhile; None declines all.
        deliver: Told of every object that is whole.
    """

    def __init__(
        self,
        session: InboundSession,
        sink: ChunkSink,
        shelf: Shelf | None,
        deliver: Callable[[ReceivedObject], None],
    ) -> None:
        self._session = session
        self._sink = sink
        self._shelf = shelf
        self._deliver = deliver
        self._open: dict[int, tuple[Offered, IncomingObject]] = {}
        self._sums: dict[int, bytes] = {}

    def on_offered(self, event: Offered) -> None:
        """Answer an offer.

        Raises:
            UnexpectedMessageError: It cannot be an offer of ours.
        """
        is_size = event.size_bytes >= 0 and CHUNK_BYTES_MIN <= event.chunk_bytes <= CHUNK_BYTES_MAX
        if not is_size or len(event.object_id) != _ID_BYTES:
            raise UnexpectedMessageError(f"an offer of {event}")
        if self._shelf is None:
            self._session.decline(event.flow, "nobody takes objects here")
            return
        found = self._shelf.find(self._session.peer_region, event)
        if isinstance(found, IncomingObject) and any(
            one is found for _, one in self._open.values()
        ):
            found = "it is under way already"
        if isinstance(found, str):
            self._session.decline(event.flow, found)
            return
        self._sink.open_object(event.flow, found)
        self._open[event.flow] = (event, found)
        self._session.want(event.flow, list(found.held))

    def on_sum(self, event: SumKnown) -> None:
        """Learn an object's sum."""
        if event.flow not in self._open:
            raise UnexpectedMessageError(f"the sum of flow {event.flow}, which is not open")
        self._sums[event.flow] = event.sum
        self.check()

    def check(self) -> None:
        """Finish objects that are whole and whose sums are known."""
        assert self._shelf is not None or not self._open, "objects without a shelf"
        for flow in [flow for flow in self._sums if self._open[flow][1].is_whole]:
            offer, found = self._open.pop(flow)
            is_whole = self._sums.pop(flow) == found.sum()
            self._sink.close_object(flow)
            self._session.take_object(flow, is_whole=is_whole)
            if not is_whole:
                found.forget()
                continue
            if self._shelf is not None:
                self._shelf.remove(self._session.peer_region, offer.object_id)
            region = self._session.peer_region
            self._deliver(ReceivedObject(region, offer.object_id, offer.label, found.data))
