"""What is known of a link, for whoever shows it."""

from dataclasses import dataclass, field
from typing import Any

from streams import topics
from transport.hde.account import Encoded, FlowAccount


def _flows() -> dict[str, FlowAccount]:
    return {topics.STATE: FlowAccount()}


@dataclass(slots=True)
class SenderStatus:
    """What is known of one outgoing link.

    Attributes:
        node: Of the peer, which answers at `address`; empty until it has.
        state: `connecting`, `up`, `refused` or `down`.
        is_encrypted: Whether the last session was; None before the first.
        acked: Next offset the peer wants, by partition: all below is durable there.
        troubles: Why nothing of a partition is shipped, by partition.
        raw_bytes: Of all units since the node started; `encoded_bytes` after encoding.
        wire_bytes: Units and bulk objects as written to sockets, frames' headers too, before TLS.
        rate_bytes_s: What the link can carry, as far as it is known; 0: not at all.
        flows: What the units of each topic's flow were.
    """

    peer: str
    address: str
    node: str = ""
    state: str = "connecting"
    error: str = ""
    is_encrypted: bool | None = None
    sessions: int = 0
    rewinds: int = 0
    units: int = 0
    raw_bytes: int = 0
    encoded_bytes: int = 0
    wire_bytes: int = 0
    rate_bytes_s: float = 0.0
    rtt_ms: float | None = None
    clock_ahead_ms: float | None = None
    acked: dict[int, int] = field(default_factory=dict)
    troubles: dict[int, str] = field(default_factory=dict)
    flows: dict[str, FlowAccount] = field(default_factory=_flows)

    def note(self, topic: str, encoded: Encoded, raw_bytes: int, forgotten: int) -> None:
        """Count a unit of a topic's flow, which forgot so many entities so far."""
        self.units += 1
        self.raw_bytes += raw_bytes
        self.encoded_bytes += len(encoded.unit)
        flow = self.flows[topic]
        flow.note(encoded.unit, encoded.cpu_ns, forgotten)
        flow.choices[encoded.why] += 1
        if encoded.zstd_level:
            flow.zstd_levels[encoded.zstd_level] += 1

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with names as keys."""
        return _to_json(self)


@dataclass(slots=True)
class ReceiverStatus:
    """What is known of one incoming link; `cursors` are durable here."""

    peer: str
    node: str = ""
    state: str = "up"
    error: str = ""
    is_encrypted: bool | None = None
    sessions: int = 0
    units: int = 0
    records: int = 0
    refused_epochs: int = 0
    encoded_bytes: int = 0
    rtt_ms: float | None = None
    clock_ahead_ms: float | None = None
    cursors: dict[int, int] = field(default_factory=dict)
    flows: dict[str, FlowAccount] = field(default_factory=_flows)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with names as keys."""
        return _to_json(self)


def _to_json(status: SenderStatus | ReceiverStatus) -> dict[str, Any]:
    found = {name: getattr(status, name) for name in status.__slots__}
    return found | {"flows": {topic: flow.to_json() for topic, flow in status.flows.items()}}
