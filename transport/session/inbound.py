"""The end of a session that takes a peer's log in."""

from collections.abc import Iterable, Mapping, Sequence

from schemas.errors import CreditExceededError, PeerRefusedError
from schemas.registry import Record
from transport.amst.decoder import Payload
from transport.amst.reassembly import FlowLimits, FlowReport
from transport.frame import Frame, FrameType, Header
from transport.hde.flow import Find, FlowDecoder
from transport.hde.unit import FLAG_KEY, read_unit_header, unit_bytes_max
from transport.messages import PROTOCOL_MAX, positions, ranges, read_message
from transport.session.control import (
    LOG_FLOW,
    LOG_UNIT_BYTES_MAX,
    LOG_WINDOW_BYTES,
    STATE_FLOW,
    ControlConnection,
)
from transport.session.events import (
    CertifiedPeer,
    Event,
    HelloReceived,
    Identity,
    LinkSettings,
    Offered,
    SumKnown,
    Unit,
    Urgent,
)
from transport.session.handshake import broken_rule


class InboundSession(ControlConnection):
    """The end that takes a peer's log in.

    Args:
        identity: Who we are.
        settings: Limits and timers.
        token: 16 unguessable bytes for data connections.
        now_ns: Monotonic time.
        certified: Whom the peer's certificate names, on an encrypted link.

    Attributes:
        partitions: What both nodes hold; known after HELLO, as are `peer_region` and `peer_node`.
    """

    def __init__(
        self,
        identity: Identity,
        settings: LinkSettings,
        token: bytes,
        now_ns: int,
        certified: CertifiedPeer | None = None,
    ) -> None:
        super().__init__(identity, settings, now_ns)
        self._certified = certified
        self.peer_region = ""
        self.peer_node = ""
        self.partitions: frozenset[int] = frozenset()
        self.token = token
        self.encoded_bytes = 0
        self._has_hello = False
        self._sequence = 0
        self._received_bytes = 0
        self._credit_bytes = settings.credit_bytes
        self._dead_epoch: int | None = None
        self._flow = FlowDecoder(settings.unit_bytes_max, settings.flow, settings.dictionaries)

    def receive_control(self, data: bytes, now_ns: int, wall_ms: int) -> list[Event]:
        """Take bytes of the control connection.

        Raises:
            ProtocolError: The peer broke the protocol.
            PeerRefusedError: We do not want this peer; the refusal is queued.
        """
        events: list[Event] = []
        for frame in self._control_frames(data, now_ns):
            if frame.type is FrameType.HELLO and not self._has_hello:
                self._has_hello = True
                events.append(self._on_hello(read_message(frame)))
            else:
                events.append(self._step(frame, now_ns, wall_ms))
        return events

    def use_held(self, find: Find) -> None:
        """Let flows begin with baselines that are held here, by name."""
        one = self.settings
        self._flow = FlowDecoder(one.unit_bytes_max, one.flow, one.dictionaries, find)

    def welcome(self, cursors: Mapping[int, int]) -> None:
        """Let the peer in; `cursors` say from where its log is wanted."""
        assert cursors.keys() <= self.partitions, "cursors of partitions that are not shared"
        self.is_established = True
        record = {
            "protocol": PROTOCOL_MAX,
            "region": self.identity.region,
            "node": self.identity.node,
            "config_hash": self.identity.config_hash,
            "session_token": self.token,
            "cursors": positions(cursors),
            "credit_bytes": self._credit_bytes,
        }
        self._send(FrameType.WELCOME, record)

    def take_unit(self, payload: Payload) -> Unit:
        """Check a unit of the state flow that is whole and in its turn.

        Raises:
            CreditExceededError: It is more than was granted, or than encoding can have made.
        """
        payload = bytes(payload)
        header = read_unit_header(payload)
        self._sequence += 1
        self.encoded_bytes += len(payload)
        if len(payload) > unit_bytes_max(header.raw_bytes):
            raise CreditExceededError(
                f"unit {self._sequence} has {len(payload):,} bytes for {header.raw_bytes:,} raw"
            )
        if self._received_bytes >= self._credit_bytes:
            raise CreditExceededError(
                f"unit {self._sequence} came when all {self._credit_bytes:,} bytes were spent"
            )
        self._received_bytes += header.raw_bytes
        return Unit(self._sequence, payload, header.raw_bytes)

    def report(self, reports: Iterable[FlowReport]) -> None:
        """Say what was received and need not be sent again."""
        flows = [
            {"flow": report.flow, "before": report.before, "ranges": ranges(report.ranges)}
            for report in reports
        ]
        if flows:
            self._send(FrameType.RECEIVED, {"flows": flows})

    def want(self, flow: int, held: Iterable[tuple[int, int]]) -> None:
        """Ask for an object that was offered, but for the byte ranges that are here."""
        self._send(FrameType.WANT, {"flow": flow, "held": ranges(held), "refusal": ""})

    def decline(self, flow: int, refusal: str) -> None:
        """Say why an object that was offered is not wanted now."""
        self._send(FrameType.WANT, {"flow": flow, "held": [], "refusal": refusal})

    def take_object(self, flow: int, *, is_whole: bool) -> None:
        """Say that an object is here and its sum right; or wrong, so that all comes again."""
        self._send(FrameType.TAKEN, {"flow": flow, "is_whole": is_whole})

    def decode(self, unit: Unit) -> bytes | None:
        """Give a unit's raw bytes back; None when its epoch was refused before.

        A dropped unit is acknowledged like any other, with the cursors as they are: so its bytes
        are granted anew.

        Raises:
            BadUnitError: It cannot be decoded: answer with `refuse_epoch`.
        """
        header = read_unit_header(unit.payload)
        if header.epoch == self._dead_epoch:
            if not header.flags & FLAG_KEY:
                return None
            # A refused unit may have lied about its epoch: this is the sender's new one.
            self._dead_epoch = None
        return self._flow.decode(unit.payload)

    def acknowledge(self, units: Sequence[Unit], cursors: Mapping[int, int]) -> None:
        """Say that units, one or more, are durable up to `cursors`; grant their bytes anew."""
        self._credit_bytes += sum(unit.raw_bytes for unit in units)
        record = {
            "sequence": units[-1].sequence,
            "cursors": positions(cursors),
            "credit_bytes": self._credit_bytes,
        }
        self._send(FrameType.ACK, record)

    def refuse_epoch(self, unit: Unit, reason: str, cursors: Mapping[int, int]) -> None:
        """Ask to begin again from `cursors`; units of this epoch still under way are dropped."""
        self._dead_epoch = read_unit_header(unit.payload).epoch
        self._credit_bytes += unit.raw_bytes
        record = {
            "epoch": self._dead_epoch,
            "reason": reason,
            "cursors": positions(cursors),
            "credit_bytes": self._credit_bytes,
        }
        self._send(FrameType.NACK, record)

    def _on_hello(self, record: Record) -> HelloReceived:
        broken = broken_rule(self.identity, record, self._certified)
        if broken is not None:
            code, text = broken
            self._send(FrameType.REFUSAL, {"code": code, "text": text})
            raise PeerRefusedError(code, text)
        self.peer_region, self.peer_node = record["region"], record["node"]
        self.partitions = self.identity.held & frozenset(record["partitions"])
        differs = record["config_hash"] != self.identity.config_hash
        return HelloReceived(self.peer_region, self.peer_node, self.partitions, differs)

    def _step(self, frame: Frame, now_ns: int, wall_ms: int) -> Event:
        if frame.type is FrameType.UNIT and self.is_established:
            size = len(frame.payload)
            header = Header(frame.type, frame.flags, frame.flow, size, frame.sequence, 0)
            return Urgent(header, frame.payload)
        if frame.type is FrameType.OFFER and self.is_established:
            return Offered(**read_message(frame))
        if frame.type is FrameType.DONE and self.is_established:
            return SumKnown(**read_message(frame))
        return self._common(frame, now_ns, wall_ms)


def flow_limits(settings: LinkSettings) -> dict[int, FlowLimits]:
    """Return what the flows of units may need at the receiver; the sender keeps to it."""
    largest = unit_bytes_max(settings.unit_bytes_max)
    return {
        STATE_FLOW: FlowLimits(settings.credit_bytes + largest, largest),
        LOG_FLOW: FlowLimits(LOG_WINDOW_BYTES, LOG_UNIT_BYTES_MAX),
    }
