"""How many data streams a link starts with, and the words for every later change.

One stream is limited by its send buffer (a window's worth of bytes a round trip) and, under a
congestion control that takes loss for congestion, by loss. Both limits are per stream, so streams
multiply them; beyond the path's own rate they add queue and repetitions only.

Sources: for the limit by loss Mathis et al., "The Macroscopic Behavior of the TCP Congestion
Avoidance Algorithm", 1997, and on long paths RFC 9438, 5.1 (with C = 0.4 and beta = 0.7); for the
usable part of a send buffer our own measurements (docs/link-bench.md).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

START_COUNT: Final = 2
LOSS_BLIND: Final = frozenset({"bbr"})  # paces by measured rate: loss alone does not slow it
_USABLE_BUFFER_SHARE: Final = 0.7
_MATHIS: Final = 1.22
_CUBIC: Final = 1.054
_MSS_BYTES: Final = 1_448
_NS: Final = 1e9


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What is allowed.

    Attributes:
        least: Data streams that are always open, 1 at least.
        most: Data streams at most, 16 at most.
        send_buffer_bytes_max: The system's limit of a socket's send buffer.
    """

    least: int = 1
    most: int = 8
    send_buffer_bytes_max: int = 4 << 20


@dataclass(frozen=True, slots=True)
class PathEstimate:
    """What is believed of a path: by a forecast, from last time, or from the last seconds.

    Attributes:
        rate_bytes_per_s: What the path carries.
        rtt_ns: Its round trip.
        loss_share: Packets lost, 0 to 1.
    """

    rate_bytes_per_s: float
    rtt_ns: int
    loss_share: float = 0.0


class Reason(StrEnum):
    """Why the count of streams is what it is, or how fast they may send."""

    START = "start"
    TRY_WINDOW = "try: the send buffers are what limits"
    TRY_LOSS = "more: loss holds so few below what the path has carried"
    TRY_ROOM = "try: no queue in the path, so there is room"
    KEEP = "keep: goodput rose"
    UNDO = "undo: goodput did not rise"
    FULL = "hold: the path is full"
    MOST = "hold: no more are allowed"
    CEILING = "hold: more were no better a while ago"
    OVERRUN = "halve: queue and repetitions, the streams overrun the path"
    TRIM = "try one fewer: the path is full and much is sent twice"
    TRIMMED = "keep: as fast with fewer"
    UNTRIM = "undo: slower with fewer"
    CHANGED = "measure again: the goodput is no longer what it was"
    LIMITS = "limits changed"
    DRAIN = "slow down: the path carries far less than it did, its queue drains first"
    DRAINED = "send freely: the queue is gone"
    ANEW = "begin anew: the path carries far more than it did"
    DRAIN_LONG = "send freely: the queue did not drain in time"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision on the count of streams.

    Attributes:
        at_ns: When, on the caller's monotonic clock.
        before: Count so far; `after` the count wanted now, which may be the same.
        goodput_bytes_per_s: What was measured with `before` streams.
        repeated_share: Repeated bytes among all sent, 0 to 1.
        rtt_ratio: Round trip by the least round trip; 1 is an empty path, 0 unknown.
    """

    at_ns: int
    before: int
    after: int
    reason: Reason
    goodput_bytes_per_s: float = 0.0
    repeated_share: float = 0.0
    rtt_ratio: float = 0.0


def streams_for_window(path: PathEstimate, send_buffer_bytes_max: int) -> int:
    """Return how many send buffers hold what is under way on a full path."""
    under_way_bytes = path.rate_bytes_per_s * path.rtt_ns / _NS
    return max(1, math.ceil(under_way_bytes / (_USABLE_BUFFER_SHARE * send_buffer_bytes_max)))


def streams_for_loss(path: PathEstimate, congestion_control: str) -> int:
    """Return how many streams, each slowed by loss, fill the path."""
    if congestion_control in LOSS_BLIND or not path.loss_share:
        return 1
    rtt_s = path.rtt_ns / _NS
    window_segments = _MATHIS / math.sqrt(path.loss_share)
    if congestion_control == "cubic":
        window_segments = max(window_segments, _CUBIC * (rtt_s / path.loss_share) ** 0.75)
    return max(1, math.ceil(path.rate_bytes_per_s * rtt_s / (window_segments * _MSS_BYTES)))


def start_count(limits: StreamLimits, path: PathEstimate | None, congestion_control: str) -> int:
    """Return how many streams to start with."""
    wanted = START_COUNT
    if path is not None:
        wanted = max(
            streams_for_window(path, limits.send_buffer_bytes_max),
            streams_for_loss(path, congestion_control),
        )
    return min(max(wanted, limits.least), limits.most)
