"""Sizes and times of the data plane, and what it counts."""

from dataclasses import dataclass, field
from typing import Final

from transport.amst.traffic import Traffic

CONTROL_STREAM: Final = 0  # the control connection, which takes small urgent frames along
FRAMES_AHEAD_MAX: Final = 4_096  # of a flow, from the first that is not reported
URGENT_BYTES_MAX: Final = 16_384


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """Sizes and times of a scheduler.

    Attributes:
        queue_bytes_max: What may wait to be sent, in all classes; ask `has_room` first.
        overdue_ms: Least time after which a frame is sent a second time on another stream.
        stall_ms: A stream that holds a frame and does nothing for so long is given up.
    """

    queue_bytes_max: int = 64 << 20
    overdue_ms: int = 1_000
    stall_ms: int = 60_000


@dataclass(slots=True)
class Counters:
    """Payload bytes by class since the session began; `again` counts what was sent before."""

    submitted: dict[Traffic, int] = field(default_factory=lambda: dict.fromkeys(Traffic, 0))
    sent: dict[Traffic, int] = field(default_factory=lambda: dict.fromkeys(Traffic, 0))
    again: dict[Traffic, int] = field(default_factory=lambda: dict.fromkeys(Traffic, 0))
    reported: dict[Traffic, int] = field(default_factory=lambda: dict.fromkeys(Traffic, 0))
