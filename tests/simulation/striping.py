"""The data streams of a session: `transport.aio.sending` and `.receiving` without threads."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random

from schemas.errors import DwcpError, LinkClosedError, PeerRefusedError
from tests.simulation.network import Network, Wire
from tests.simulation.objects import content_of
from tests.simulation.timeline import Timeline
from tests.simulation.violation import Violation
from transport.amst.decoder import StreamDecoder
from transport.amst.limits import CONTROL_STREAM, SchedulerLimits
from transport.amst.objects import IncomingObject
from transport.amst.piece import Piece
from transport.amst.ranges import RangeSet
from transport.amst.reassembly import FlowReport, Reassembler, WholeUnit
from transport.amst.scheduler import SendScheduler
from transport.frame import FrameDecoder, FrameType
from transport.session.control import LOG_FLOW, LOG_WINDOW_BYTES, STATE_FLOW
from transport.session.handshake import check_attached
from transport.session.objects import ReceivedObject
from transport.session.outbound import OutboundSession

UNBOUNDED = 1 << 62  # the state flow: its credit bounds it
POLL_MS = 40.0
CONNECT_MS = 800.0
REPORT_MS = 5.0
LIMITS = SchedulerLimits(overdue_ms=150, stall_ms=1_500)


class StripeChecker:
    """What must hold of data streams, at every step."""

    def on_piece_taken(self, piece: Piece) -> None:
        """What the peer has reported is never sent again, and no two streams race by mistake."""
        where = f"frame {piece.sequence} of flow {piece.flow}"
        if piece.is_reported:
            raise Violation("what is reported is not sent again", where)
        if len(piece.holders) > 1 + piece.copies:
            raise Violation("a frame is on one stream, and on one more when overdue", where)

    def on_stream_retired(self, number: int, out: Iterable[Piece]) -> None:
        """A stream that holds a frame is not closed."""
        held = [piece.sequence for piece in out if number in piece.holders]
        if held:
            raise Violation("a stream that holds a frame is not closed", f"it holds {held}")

    def on_taken_by_retiring(self, piece: Piece) -> None:
        """A stream that retires takes nothing more."""
        raise Violation("a stream that retires takes nothing", f"it took frame {piece.sequence}")

    def on_report(self, reports: Iterable[FlowReport]) -> None:
        """A report is in order, and names nothing twice."""
        for report in reports:
            at = report.before
            for start, end in report.ranges:
                if start < at or end <= start:
                    raise Violation("reports are in order", f"{report}")
                at = end

    def on_chunk_taken(self, piece: Piece, held: RangeSet) -> None:
        """What the peer said that it holds of an object is not shipped."""
        if held.covers(piece.sequence, piece.end):
            raise Violation("what the peer holds of an object is not shipped", f"{piece.sequence}")

    def on_object(self, region: str, found: ReceivedObject) -> None:
        """Objects arrive as they were."""
        if found.data != content_of(found.label, len(found.data)):
            raise Violation("objects arrive as they were", f"{found.label} in {region}")


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an end of data streams sits.

    Attributes:
        name: Its region.
        peer: Region to dial.
        lag_ms: Mean time until the kernel takes a frame.
    """

    name: str
    peer: str
    dice: Random
    checker: StripeChecker
    network: Network
    timeline: Timeline
    lag_ms: float


class SendWires:
    """The sending side's data streams.

    Args:
        session: Established.
        seat: Where it sits.
        target: How many streams there should be.
        end: Told of what ends the session.
    """

    def __init__(
        self,
        session: OutboundSession,
        seat: Seat,
        target: int,
        end: Callable[[DwcpError], None],
    ) -> None:
        self._session = session
        self._seat = seat
        self._dice = seat.dice
        self._checker = seat.checker
        self._timeline = seat.timeline
        self._end = end
        self.target = target
        self.scheduler = SendScheduler(LIMITS)
        self.scheduler.open_flow(STATE_FLOW, UNBOUNDED)
        self.scheduler.open_flow(LOG_FLOW, LOG_WINDOW_BYTES)
        self.wires: dict[int, Wire] = {}
        self._attached: set[int] = set()
        self._busy: set[int] = set()
        self._retiring: set[int] = set()
        self._count = 0
        self.held: dict[int, RangeSet] = {}  # of objects, as the peer said
        self.is_over = False
        self._on_poll()

    @property
    def is_attached(self) -> bool:
        """Tell whether some stream takes frames."""
        return bool(self._attached)

    def hang_up(self, how: Callable[[Wire], None]) -> None:
        """End all streams, and this object's life."""
        self.is_over = True
        for wire in self.wires.values():
            how(wire)

    def kick(self) -> None:
        """Let every stream that is free take a frame."""
        for number in sorted(self._attached):
            self._pump(number)

    def _on_poll(self) -> None:
        """Dial what is missing, retire what is too much, and look after what is overdue."""
        if self.is_over:
            return
        for number in self.scheduler.poll(self._timeline.now_ns):
            if number != CONTROL_STREAM:
                self.wires[number].reset()
                self._lose(number)
        serving = sorted(set(self.wires) - self._retiring)
        for _ in range(len(serving), self.target):
            self._dial()
        for number in [n for n in serving if n in self._attached][self.target :]:
            self._retiring.add(number)
            self.scheduler.retire_stream(number)
        self.kick()
        self._timeline.after(POLL_MS * self._dice.uniform(0.5, 1.5), self._on_poll)

    def _dial(self) -> None:
        self._count += 1
        number = self._count
        wire = self.wires[number] = self._seat.network.dial(self._seat.name, self._seat.peer)
        decoder = FrameDecoder()
        wire.on_open = lambda: wire.write(self._session.attach(number))
        wire.on_close = partial(self._lose, number)
        wire.on_data = lambda data: self._hear(number, decoder, data)
        self._timeline.after(CONNECT_MS, partial(self._give_up, number))

    def _give_up(self, number: int) -> None:
        if number in self.wires and number not in self._attached:
            self.wires[number].reset()
            self._lose(number)

    def _hear(self, number: int, decoder: FrameDecoder, data: bytes) -> None:
        for frame in decoder.feed(data):
            try:
                check_attached(frame, number)
            except PeerRefusedError:  # the peer's session ended: ours soon learns it, too
                self._end(LinkClosedError("the peer does not know the session any more"))
            else:
                self._attached.add(number)
                self.scheduler.open_stream(number, self._timeline.now_ns)
                self._pump(number)

    def _lose(self, number: int) -> None:
        if self.is_over:
            return
        self.wires.pop(number, None)
        self._attached.discard(number)
        self._retiring.discard(number)
        self.scheduler.lose_stream(number)
        self.kick()

    def _pump(self, number: int) -> None:
        if self.is_over or number in self._busy or number not in self._attached:
            return
        if self.scheduler.may_close(number):
            self._checker.on_stream_retired(number, self.scheduler._out)
            self.wires[number].close()
            self._lose(number)
            return
        piece = self.scheduler.take(number, self._timeline.now_ns)
        if piece is None:
            return
        self._checker.on_piece_taken(piece)
        if number in self._retiring:
            self._checker.on_taken_by_retiring(piece)
        if piece.type is FrameType.CHUNK:
            self._checker.on_chunk_taken(piece, self.held[piece.flow])
        self.wires[number].write(frame_of(piece))
        self._busy.add(number)
        # The kernel takes a frame at its own pace, and streams have different ones.
        self._timeline.after(
            self._dice.expovariate(1 / self._seat.lag_ms), partial(self._free, number)
        )

    def _free(self, number: int) -> None:
        self._busy.discard(number)
        self._pump(number)


def frame_of(piece: Piece) -> bytes:
    """Return what travels of a frame."""
    return piece.header() + bytes(piece.payload)


class ReceiveWires:
    """The taking side's data streams.

    Args:
        reassembler: What they feed.
        timeline: The clock.
        on_units: Told of units, whole and in order.
        on_reports: Told that there is something to report.
        on_breach: Told of what ends the session.
    """

    def __init__(
        self,
        reassembler: Reassembler,
        timeline: Timeline,
        on_units: Callable[[list[WholeUnit]], None],
        on_reports: Callable[[], None],
        on_breach: Callable[[DwcpError], None],
    ) -> None:
        self.reassembler = reassembler
        self._timeline = timeline
        self._on_units = on_units
        self._on_reports = on_reports
        self._on_breach = on_breach
        self.wires: dict[int, Wire] = {}
        self._is_due = False
        self.is_over = False

    def add(self, number: int, wire: Wire) -> None:
        """Read frames from a connection that is attached."""
        self.wires[number] = wire
        decoder = StreamDecoder(partial(self.reassembler.place, number))
        wire.on_data = lambda data: self._hear(number, decoder, data)
        wire.on_close = lambda: self.reassembler.lose_stream(number)

    def open_object(self, flow: int, incoming: IncomingObject) -> None:
        """Take chunks of an object."""
        self.reassembler.open_object(flow, incoming)

    def close_object(self, flow: int) -> None:
        """Drop later chunks of an object."""
        self.reassembler.close_object(flow)

    def hang_up(self, how: Callable[[Wire], None]) -> None:
        """End all streams."""
        self.is_over = True
        for wire in self.wires.values():
            how(wire)

    def _hear(self, number: int, decoder: StreamDecoder, data: bytes) -> None:
        if self.is_over:
            return
        units: list[WholeUnit] = []
        try:
            for header, payload in decoder.feed(data):
                units += self.reassembler.land(number, header, payload)
        except DwcpError as error:
            self._on_breach(error)
            return
        if units:
            self._on_units(units)
        if not self._is_due:
            self._is_due = True
            self._timeline.after(REPORT_MS, self._report)

    def _report(self) -> None:
        self._is_due = False
        if not self.is_over:
            self._on_reports()
