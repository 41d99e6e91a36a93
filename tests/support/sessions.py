"""Two sessions in one process, and what passes between them."""

from dataclasses import replace
from typing import Any

from transport.frame import Frame, FrameDecoder
from transport.session.events import Event, Identity, LinkSettings, Unit
from transport.session.inbound import InboundSession
from transport.session.outbound import OutboundSession

AMS = Identity("federation", "ams", "ams-1", "hash", 2)
IAD = Identity("federation", "iad", "iad-1", "hash", 2)
SETTINGS = LinkSettings(heartbeat_ms=1_000, silence_ms=5_000, credit_bytes=100)
TOKEN = bytes(range(16))
MS = 1_000_000


def outbound(
    identity: Identity = AMS, target: str = "iad", settings: LinkSettings = SETTINGS
) -> OutboundSession:
    """Return the shipping end, begun at time 0."""
    return OutboundSession(identity, target, settings, 0)


def inbound(identity: Identity = IAD, settings: LinkSettings = SETTINGS) -> InboundSession:
    """Return the taking end, begun at time 0."""
    return InboundSession(identity, settings, TOKEN, 0)


def tell(
    source: OutboundSession | InboundSession,
    target: OutboundSession | InboundSession,
    now_ns: int = 0,
    wall_ms: int = 0,
) -> list[Event]:
    """Carry what one end has to say on the control connection to the other."""
    return target.receive_control(source.control_to_send(), now_ns, wall_ms)


def established(**settings: Any) -> tuple[OutboundSession, InboundSession]:
    """Return both ends after the handshake."""
    changed = replace(SETTINGS, **settings)
    out, into = outbound(settings=changed), inbound(settings=changed)
    tell(out, into)
    into.welcome({0: 0, 1: 0})
    tell(into, out)
    return out, into


def ship(out: OutboundSession, into: InboundSession, raw: bytes) -> Unit:
    """Ship one unit."""
    return into.take_unit(out.encode_unit(raw))


def frames(data: bytes) -> list[Frame]:
    """Cut bytes into frames."""
    return FrameDecoder().feed(data)
