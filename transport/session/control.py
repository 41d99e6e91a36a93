"""What both ends of a session share: control frames, heartbeats, silence."""

from typing import Final

from schemas.errors import PeerSilentError, UnexpectedMessageError
from schemas.registry import Record
from transport.frame import Frame, FrameDecoder, FrameType, encode_frame
from transport.messages import message_frame, read_message
from transport.session.events import (
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    Identity,
    LinkSettings,
    PeerLeft,
)

STATE_FLOW: Final = 1
LOG_FLOW: Final = 2
FIRST_OBJECT_FLOW: Final = 16
LOG_WINDOW_BYTES: Final = 4 << 20  # unreported; small, since nothing of this class should wait
LOG_UNIT_BYTES_MAX: Final = 1 << 20
_MS: Final = 1_000_000


class ControlConnection:
    """What both ends have: the control connection's frames, heartbeats and silence."""

    def __init__(self, identity: Identity, settings: LinkSettings, now_ns: int) -> None:
        self.identity = identity
        self.settings = settings
        self.is_established = False
        self._decoder = FrameDecoder()
        self._out: list[bytes] = []
        self._heard_ns = now_ns
        self._beat_ns = now_ns
        self._peer_sent_ms = -1
        self._peer_heard_ns = now_ns

    def control_to_send(self) -> bytes:
        """Hand over what the control connection has to send, once."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def next_timer_ns(self) -> int:
        """Return when `handle_timer` wants to be called."""
        silent_ns = self._heard_ns + self.settings.silence_ms * _MS
        if not self.is_established:
            return silent_ns
        return min(silent_ns, self._beat_ns + self.settings.heartbeat_ms * _MS)

    def handle_timer(self, now_ns: int) -> list[Event]:
        """Act on the time.

        Raises:
            PeerSilentError: Nothing came for `silence_ms`.
        """
        silent_ms = (now_ns - self._heard_ns) // _MS
        if silent_ms >= self.settings.silence_ms:
            raise PeerSilentError(f"nothing came from the peer for {silent_ms:,} ms")
        if self.is_established and now_ns - self._beat_ns >= self.settings.heartbeat_ms * _MS:
            self._beat_ns = now_ns
            return [HeartbeatDue()]
        return []

    def hear(self, now_ns: int) -> None:
        """Note that something of the peer came on another connection."""
        self._heard_ns = now_ns

    def send_heartbeat(self, digest: Record | None, wall_ms: int, now_ns: int) -> None:
        """Queue a heartbeat; the digest is a `Digest` record, `wall_ms` our wall clock."""
        record = {
            "sent_ms": now_ns // _MS,
            "echo_ms": self._peer_sent_ms,
            "echo_delay_ms": (now_ns - self._peer_heard_ns) // _MS,
            "wall_ms": wall_ms,
            "digest": digest,
        }
        self._send(FrameType.HEARTBEAT, record)

    def say_goodbye(self, text: str) -> None:
        """Queue an orderly end."""
        self._send(FrameType.GOODBYE, {"text": text})

    def _send(self, kind: FrameType, record: Record) -> None:
        self._out.append(encode_frame(message_frame(kind, record)))

    def _control_frames(self, data: bytes, now_ns: int) -> list[Frame]:
        frames = self._decoder.feed(data)
        self._heard_ns = now_ns
        return frames

    def _on_heartbeat(self, record: Record, now_ns: int, wall_ms: int) -> HeartbeatReceived:
        self._peer_sent_ms = record["sent_ms"]
        self._peer_heard_ns = now_ns
        rtt_ms = ahead_ms = None
        if record["echo_ms"] >= 0:
            rtt_ms = float(max(0, now_ns // _MS - record["echo_ms"] - record["echo_delay_ms"]))
            ahead_ms = record["wall_ms"] + rtt_ms / 2 - wall_ms
        return HeartbeatReceived(record["digest"], rtt_ms, ahead_ms)

    def _common(self, frame: Frame, now_ns: int, wall_ms: int) -> Event:
        if frame.type is FrameType.HEARTBEAT and self.is_established:
            return self._on_heartbeat(read_message(frame), now_ns, wall_ms)
        if frame.type is FrameType.GOODBYE:
            return PeerLeft(read_message(frame)["text"])
        raise UnexpectedMessageError(f"{frame.type.name} is not allowed here")
