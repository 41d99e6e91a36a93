"""Who may come in, and what a new connection begins with."""

from typing import Final

from schemas.errors import PeerRefusedError, UnexpectedMessageError
from schemas.registry import Record
from transport.frame import Frame, FrameDecoder, FrameType, encode_frame
from transport.messages import PROTOCOL_MAX, PROTOCOL_MIN, message_frame, read_message
from transport.session.events import CertifiedPeer, Identity

UNKNOWN_SESSION: Final = "unknown_session"


def broken_rule(
    ours: Identity, hello: Record, certified: CertifiedPeer | None = None
) -> tuple[str, str] | None:
    """Return (code, what to do) of the first rule that a HELLO breaks, or None.

    Args:
        ours: Who we are.
        hello: What the peer says it is.
        certified: Whom its certificate names, on an encrypted link.
    """
    said = CertifiedPeer(hello["cluster_id"], hello["region"], hello["node"])
    rules = {
        "protocol": (
            hello["protocol_max"] >= PROTOCOL_MIN and hello["protocol_min"] <= PROTOCOL_MAX,
            f"we speak protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}: upgrade the older side",
        ),
        "cluster_id": (
            hello["cluster_id"] == ours.cluster_id,
            f"this is federation {ours.cluster_id!r}, you are of {hello['cluster_id']!r}",
        ),
        "certificate": (
            certified is None or _covers(certified, said),
            f"your certificate is of {certified}, you say you are {said}: issue the right one",
        ),
        "region_equal": (
            hello["region"] != ours.region,
            f"both sides call themselves {ours.region!r}: give each region its own id",
        ),
        "region_target": (
            hello["target_region"] == ours.region,
            f"this is {ours.region!r}, you want {hello['target_region']!r}: mend the address",
        ),
        "partition_count": (
            hello["partition_count"] == ours.partition_count,
            f"dwcp.state has not {hello['partition_count']} but {ours.partition_count} partitions",
        ),
    }
    return next(((code, text) for code, (is_kept, text) in rules.items() if not is_kept), None)


def _covers(certified: CertifiedPeer, said: CertifiedPeer) -> bool:
    return certified[:2] == said[:2] and certified.node in ("", said.node)


def attached(stream: int) -> bytes:
    """Return the answer to an ATTACH that was accepted."""
    return encode_frame(message_frame(FrameType.ATTACHED, {"stream": stream}))


def unknown_session() -> bytes:
    """Return the answer to an ATTACH with a token of no session of this node."""
    text = "no session of this node has this token"
    return encode_frame(message_frame(FrameType.REFUSAL, {"code": UNKNOWN_SESSION, "text": text}))


def check_attached(frame: Frame, stream: int) -> None:
    """Read the answer to an ATTACH.

    Raises:
        PeerRefusedError: The connection does not belong to the session: `UNKNOWN_SESSION` when the
            node that answers is another one.
        UnexpectedMessageError: Something else was answered.
    """
    if frame.type is FrameType.REFUSAL:
        record = read_message(frame)
        raise PeerRefusedError(record["code"], record["text"])
    if frame.type is not FrameType.ATTACHED or read_message(frame)["stream"] != stream:
        raise UnexpectedMessageError(f"{frame.type.name} as the answer to ATTACH {stream}")


class Greeting:
    """The first frame of a connection: HELLO opens a session, ATTACH joins one.

    Whoever attaches waits for the answer, so nothing stands behind an ATTACH.

    Attributes:
        kind: HELLO or ATTACH, once that frame is whole.
        data: All bytes so far, for the session that a HELLO opens.
        token: The session token of an ATTACH.
        stream: Its data stream's number.
    """

    def __init__(self) -> None:
        self.kind: FrameType | None = None
        self.data = b""
        self._decoder = FrameDecoder()
        self.token = b""
        self.stream = 0

    def feed(self, data: bytes) -> FrameType | None:
        """Take bytes; return HELLO or ATTACH once that frame is whole.

        Raises:
            ProtocolError: The connection begins with something else.
        """
        self.data += data
        frames = self._decoder.feed(data)
        if not frames:
            return None
        first, *rest = frames
        if first.type is FrameType.ATTACH:
            record = read_message(first)
            self.token, self.stream = record["session_token"], record["stream"]
            if rest or self._decoder.has_rest or self.stream < 1:
                raise UnexpectedMessageError(f"ATTACH {self.stream} and data right behind it")
        elif first.type is not FrameType.HELLO:
            raise UnexpectedMessageError(f"a connection begins with {first.type.name}")
        self.kind = first.type
        return first.type
