"""What is known of a link, for whoever shows it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SenderStatus:
    """What is known of one outgoing link.

    Attributes:
        node: Of the peer, which answers at `address`; empty until it has.
        state: `connecting`, `up`, `refused` or `down`.
        is_encrypted: Whether the last session was; None before the first.
        acked: Next offset the peer wants, by partition: all below is durable there.
        raw_bytes: Of all units since the node started; `encoded_bytes` after encoding.
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
    rtt_ms: float | None = None
    clock_ahead_ms: float | None = None
    acked: dict[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with names as keys."""
        names = self.__slots__
        return {name: getattr(self, name) for name in names}


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

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with names as keys."""
        return {name: getattr(self, name) for name in self.__slots__}
