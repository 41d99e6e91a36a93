"""The end of a session that takes a peer's log in."""

from collections.abc import Mapping

from schemas.errors import CreditExceededError, PeerRefusedError, UnexpectedMessageError
from schemas.registry import Record
from transport.frame import FLAG_LAST, PAYLOAD_BYTES_MAX, Frame, FrameDecoder, FrameType
from transport.hde.flow import FlowDecoder
from transport.hde.unit import FLAG_KEY, read_unit_header, unit_bytes_max
from transport.messages import PROTOCOL_MAX, positions, read_message
from transport.session.control import STATE_FLOW, ControlConnection
from transport.session.events import (
    CertifiedPeer,
    Event,
    HelloReceived,
    Identity,
    LinkSettings,
    Unit,
)
from transport.session.handshake import Greeting, broken_rule


class InboundSession(ControlConnection):
    """The end that takes a peer's log in.

    Args:
        identity: Who we are.
        settings: Limits and timers.
        token: 16 unguessable bytes for the data connection.
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
        self._data: FrameDecoder | None = None
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._sequence = 0
        self._received_bytes = 0
        self._credit_bytes = settings.credit_bytes
        self._dead_epoch: int | None = None
        self._flow = FlowDecoder(settings.unit_bytes_max)

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
                events.append(self._common(frame, now_ns, wall_ms))
        return events

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

    def adopt(self, greeting: Greeting, now_ns: int) -> list[Unit]:
        """Take over a connection that began with our token; it is the data connection now.

        Raises:
            UnexpectedMessageError: The session has one already, or is not open.
        """
        if not self.is_established or self._data is not None:
            raise UnexpectedMessageError("this session takes no (further) data connection")
        self._data = greeting.decoder
        self._heard_ns = now_ns
        return self._units(greeting.rest)

    def receive_data(self, data: bytes, now_ns: int) -> list[Unit]:
        """Take bytes of the data connection and return the units they complete.

        Raises:
            ProtocolError: A frame out of order, too much, or not a unit.
        """
        assert self._data is not None, "data before its connection was adopted"
        self._heard_ns = now_ns
        return self._units(self._data.feed(data))

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

    def acknowledge(self, unit: Unit, cursors: Mapping[int, int]) -> None:
        """Say that a unit is durable up to `cursors`, and grant its bytes anew."""
        self._credit_bytes += unit.raw_bytes
        record = {
            "sequence": unit.sequence,
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

    def _units(self, frames: list[Frame]) -> list[Unit]:
        units = (self._on_unit_frame(frame) for frame in frames)
        return [unit for unit in units if unit is not None]

    def _on_unit_frame(self, frame: Frame) -> Unit | None:
        if frame.type is not FrameType.UNIT or frame.flow != STATE_FLOW:
            raise UnexpectedMessageError(f"{frame.type.name} of flow {frame.flow} as data")
        if frame.sequence != self._sequence + 1:
            raise UnexpectedMessageError(
                f"unit {frame.sequence} after unit {self._sequence}: units come in order"
            )
        self._parts.append(frame.payload)
        self._parts_bytes += len(frame.payload)
        # Encoding grows a unit by less than this, so more is a peer that does not mean well.
        if self._parts_bytes > self.settings.unit_bytes_max + PAYLOAD_BYTES_MAX:
            raise CreditExceededError(f"a unit of more than {self._parts_bytes:,} encoded bytes")
        if not frame.flags & FLAG_LAST:
            return None
        payload = b"".join(self._parts)
        self._parts.clear()
        self._parts_bytes = 0
        self._sequence += 1
        self.encoded_bytes += len(payload)
        header = read_unit_header(payload)
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
