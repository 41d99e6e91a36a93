"""The end of a session that ships its log."""

from typing import Final

from schemas.errors import PeerRefusedError, UnexpectedMessageError
from schemas.registry import Record
from transport.amst.objects import OutgoingObject
from transport.amst.reassembly import FlowReport
from transport.frame import Frame, FrameType, encode_frame
from transport.hde.choice import Why
from transport.hde.flow import FlowEncoder
from transport.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    message_frame,
    read_message,
    read_positions,
    read_ranges,
)
from transport.session.control import FIRST_OBJECT_FLOW, ControlConnection
from transport.session.events import (
    Acked,
    Established,
    Event,
    Identity,
    LinkSettings,
    ObjectTaken,
    Reported,
    Rewound,
    Wanted,
)

_DATA_PLANE: Final = (FrameType.RECEIVED, FrameType.WANT, FrameType.TAKEN)


class OutboundSession(ControlConnection):
    """The end that ships its log.

    Args:
        identity: Who we are.
        target_region: Whom we mean to reach.
        settings: Limits and timers.
        now_ns: Monotonic time.

    Attributes:
        token: What data connections attach with, once established.
        raw_bytes: Raw bytes of all units so far.
        encoded_bytes: The same after encoding.
    """

    def __init__(
        self, identity: Identity, target_region: str, settings: LinkSettings, now_ns: int
    ) -> None:
        super().__init__(identity, settings, now_ns)
        self.target_region = target_region
        self.token = b""
        self.raw_bytes = 0
        self.encoded_bytes = 0
        self._credit_bytes = 0
        self._next_object_flow = FIRST_OBJECT_FLOW
        self._encoder = FlowEncoder(settings.flow, settings.dictionaries)
        self._send(
            FrameType.HELLO,
            {
                "protocol_min": PROTOCOL_MIN,
                "protocol_max": PROTOCOL_MAX,
                "cluster_id": identity.cluster_id,
                "region": identity.region,
                "target_region": target_region,
                "node": identity.node,
                "config_hash": identity.config_hash,
                "capabilities": sorted(identity.capabilities),
                "key_spaces": sorted(identity.key_spaces),
                "partition_count": identity.partition_count,
                "partitions": sorted(identity.held),
            },
        )

    @property
    def has_credit(self) -> bool:
        """Tell whether a unit may be sent now; one unit may reach over the edge."""
        return self.is_established and self.raw_bytes < self._credit_bytes

    def receive_control(self, data: bytes, now_ns: int, wall_ms: int) -> list[Event]:
        """Take bytes of the control connection.

        Raises:
            ProtocolError: The peer broke the protocol.
            PeerRefusedError: The peer does not want us.
        """
        return [self._step(f, now_ns, wall_ms) for f in self._control_frames(data, now_ns)]

    def attach(self, stream: int) -> bytes:
        """Return what a data connection begins with; `check_attached` reads the answer."""
        record = {"session_token": self.token, "stream": stream}
        return encode_frame(message_frame(FrameType.ATTACH, record))

    def encode_unit(self, raw: bytes) -> bytes:
        """Encode the next unit of the state flow; heavy, thread-safe alone.

        Raises:
            AssertionError: There is no credit, or the unit is too large: ask before.
        """
        assert self.has_credit, "no credit"
        assert len(raw) <= self.settings.unit_bytes_max, f"a unit of {len(raw):,} bytes"
        unit = self._encoder.encode(raw)
        self.raw_bytes += len(raw)
        self.encoded_bytes += len(unit)
        return unit

    def note_limits(self, rate_bytes_s: float, *, is_core_short: bool) -> None:
        """Tell, before a unit, what holds the flow up: the choice of a level goes by it.

        Args:
            rate_bytes_s: What the link can carry, 0 if unknown.
            is_core_short: Records wait for the encoder, and nothing for the link or inside it.
        """
        choice = self._encoder.choice
        choice.rate_bytes_s, choice.is_core_short = rate_bytes_s, is_core_short

    def report_encoding(self, encode_ns: int) -> tuple[Why, int]:
        """Tell how much CPU the last unit took; returns why it got its level, and zstd's (or 0)."""
        choice = self._encoder.choice
        choice.report(encode_ns)
        return choice.why, choice.zstd_level

    def use_baseline(self, baseline: bytes) -> None:
        """Begin the flow with what the peer holds by name; only before its first unit."""
        assert not self.raw_bytes, "the flow has begun"
        settings = self.settings
        self._encoder = FlowEncoder(settings.flow, settings.dictionaries, baseline)

    @property
    def forgotten(self) -> int:
        """Entities that the flow had to forget, for its memory was full."""
        return self._encoder.forgotten

    def begin_epoch(self) -> None:
        """Forget the window; the next unit is a key unit. Not while `encode_unit` runs."""
        self._encoder.reset()

    def offer(self, outgoing: OutgoingObject) -> int:
        """Offer an object and return the id of its flow; `Wanted` answers."""
        flow = self._next_object_flow
        self._next_object_flow += 1
        record = {
            "flow": flow,
            "object_id": outgoing.object_id,
            "label": outgoing.label,
            "size_bytes": outgoing.size_bytes,
            "chunk_bytes": outgoing.chunk_bytes,
        }
        self._send(FrameType.OFFER, record)
        return flow

    def tell_sum(self, flow: int, object_sum: bytes) -> None:
        """Tell an object's sum; `ObjectTaken` answers when all of it is there."""
        self._send(FrameType.DONE, {"flow": flow, "sum": object_sum})

    def _step(self, frame: Frame, now_ns: int, wall_ms: int) -> Event:
        if frame.type is FrameType.WELCOME and not self.is_established:
            return self._on_welcome(read_message(frame))
        if frame.type is FrameType.REFUSAL:
            record = read_message(frame)
            raise PeerRefusedError(record["code"], record["text"])
        if frame.type is FrameType.ACK and self.is_established:
            record = read_message(frame)
            self._credit_bytes = max(self._credit_bytes, record["credit_bytes"])
            return Acked(record["sequence"], read_positions(record["cursors"]))
        if frame.type is FrameType.NACK and self.is_established:
            record = read_message(frame)
            self._credit_bytes = max(self._credit_bytes, record["credit_bytes"])
            return Rewound(record["reason"], read_positions(record["cursors"]))
        if frame.type in _DATA_PLANE and self.is_established:
            return _read_data_plane(frame.type, read_message(frame))
        return self._common(frame, now_ns, wall_ms)

    def _on_welcome(self, record: Record) -> Established:
        if record["region"] != self.target_region:
            raise PeerRefusedError(
                "region_target", f"{record['region']!r} answers, not {self.target_region!r}"
            )
        if not PROTOCOL_MIN <= record["protocol"] <= PROTOCOL_MAX:
            raise UnexpectedMessageError(f"the peer chose protocol {record['protocol']}")
        self.is_established = True
        self.token = record["session_token"]
        self._credit_bytes = record["credit_bytes"]
        differs = record["config_hash"] != self.identity.config_hash
        cursors = read_positions(record["cursors"])
        if not cursors.keys() <= self.identity.held:
            raise UnexpectedMessageError(f"the peer wants partitions {sorted(cursors)}: not ours")
        return Established(record["region"], record["node"], cursors, differs)


def _read_data_plane(kind: FrameType, record: Record) -> Event:
    if kind is FrameType.WANT:
        return Wanted(record["flow"], read_ranges(record["held"]), record["refusal"])
    if kind is FrameType.TAKEN:
        return ObjectTaken(record["flow"], record["is_whole"])
    return Reported(
        tuple(
            FlowReport(flow["flow"], flow["before"], read_ranges(flow["ranges"]))
            for flow in record["flows"]
        )
    )
