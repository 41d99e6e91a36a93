"""Who talks, within which limits, and what a session tells its owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.registry import Record
from transport.amst.reassembly import FlowReport
from transport.frame import Header
from transport.hde.dictionary import Dictionaries
from transport.hde.settings import FlowSettings


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, as the handshake says it.

    Attributes:
        partitions: Partitions that this node holds, ascending; None for all.
    """

    cluster_id: str
    region: str
    node: str
    config_hash: str
    partition_count: int
    capabilities: tuple[str, ...] = ("hde-window",)
    key_spaces: tuple[str, ...] = ("default",)
    partitions: tuple[int, ...] | None = None

    @property
    def held(self) -> frozenset[int]:
        """Partitions that this node holds."""
        return frozenset(
            range(self.partition_count) if self.partitions is None else self.partitions
        )


class CertifiedPeer(NamedTuple):
    """Whom a peer's certificate names; any node of the region when `node` is empty."""

    cluster_id: str
    region: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Limits and timers of a session.

    Attributes:
        heartbeat_ms: Time between heartbeats.
        silence_ms: Silence that ends the session; at least three heartbeats.
        credit_bytes: Raw bytes that may be under way and not yet durable.
        unit_bytes_max: Largest raw unit; one record of the origin's log has to fit.
        flow: How units are encoded.
        dictionaries: Of the node, for all its flows.
    """

    heartbeat_ms: int = 1_000
    silence_ms: int = 5_000
    credit_bytes: int = 8 << 20
    unit_bytes_max: int = 16 << 20
    flow: FlowSettings = FlowSettings()  # noqa: RUF009 - it is frozen
    dictionaries: Dictionaries | None = None


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """A peer may come in: give it its cursors by `InboundSession.welcome`.

    Attributes:
        partitions: Those that both nodes hold; cursors of others are not wanted.
    """

    region: str
    node: str
    partitions: frozenset[int]
    config_differs: bool


@dataclass(frozen=True, slots=True)
class Established:
    """The peer let us in and wants the log from these cursors on."""

    region: str
    node: str
    cursors: Mapping[int, int]
    config_differs: bool


@dataclass(frozen=True, slots=True)
class Acked:
    """The peer's Kafka holds everything below these cursors."""

    sequence: int
    cursors: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Rewound:
    """The peer wants the log again from these cursors, in a new epoch."""

    reason: str
    cursors: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class HeartbeatDue:
    """Say what we hold by `send_heartbeat`."""


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """What the peer holds; times are None until the peer has echoed one of ours."""

    digest: Record | None
    rtt_ms: float | None
    clock_ahead_ms: float | None


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer said goodbye."""

    text: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What the peer has received, if not yet made durable: it is not sent again."""

    reports: tuple[FlowReport, ...]


@dataclass(frozen=True, slots=True)
class Urgent:
    """A small frame of a data flow that took the control connection."""

    header: Header
    payload: bytes


@dataclass(frozen=True, slots=True)
class Offered:
    """The peer has an object: answer by `InboundSession.want` or `.decline`."""

    flow: int
    object_id: bytes
    label: str
    size_bytes: int
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """The peer wants an object, but for what it holds; or not, with the reason."""

    flow: int
    held: tuple[tuple[int, int], ...]
    refusal: str


@dataclass(frozen=True, slots=True)
class SumKnown:
    """The peer told an object's sum."""

    flow: int
    sum: bytes


@dataclass(frozen=True, slots=True)
class ObjectTaken:
    """The peer compared an object's sum; it was right, or all is wanted again."""

    flow: int
    is_whole: bool


Event = (
    HelloReceived
    | Established
    | Acked
    | Rewound
    | HeartbeatDue
    | HeartbeatReceived
    | PeerLeft
    | Reported
    | Urgent
    | Offered
    | Wanted
    | SumKnown
    | ObjectTaken
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A whole encoded unit, in order."""

    sequence: int
    payload: bytes
    raw_bytes: int
