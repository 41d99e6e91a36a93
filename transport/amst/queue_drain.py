"""Lets a path's queue drain when its rate has fallen under a congestion control that paces.

bbr sends at the greatest rate that was delivered in its last ten round trips (Cardwell et al.,
"BBR: Congestion-Based Congestion Control", 2016). When the rate falls to a tenth, a queue of one
bandwidth-delay product makes each of those round trips ten times as long: for ten seconds bbr
fills the queue as fast as it drains, and loses a queue's worth each time.

::

    watch ──► drain: half of what is delivered ──► hold: all that is delivered ──► watch
         queue, and a fall          the queue is gone          ten round trips

Both words are needed: a queue alone stands wherever streams overrun a path, a fall alone is loss
or too little to send. The line stays busy meanwhile, for what it delivers comes from the queue.
Where ten round trips pass before anybody has judged twice, bbr has found the new rate by itself; on
loopback, where round trips are some 50 us and the least of them 3, both words are noise.
"""

from collections import deque
from enum import StrEnum
from typing import Final

from transport.amst.stream_count import Reason

_FALL: Final = 0.4  # of the most that was delivered lately; a stream more may take half of it
_QUEUE_RTT_RATIO: Final = 2.5  # queues of one bandwidth-delay product end at 2
_EMPTY_RTT_RATIO: Final = 1.5
_DRAIN_SHARE: Final = 0.5
_AGREE: Final = 2  # judge twice
_WINDOW_ROUND_TRIPS: Final = 10  # of bbr's greatest rate
_LATELY_NS_MIN: Final = 2_000_000_000
_JUDGED_NS: Final = 200_000_000  # two looks
_DRAIN_NS_MAX: Final = 10_000_000_000


class _Phase(StrEnum):
    WATCH = "watch"
    DRAIN = "drain"
    HOLD = "hold"


class QueueDrain:
    """Decides how fast the streams of one path may send together.

    Attributes:
        cap_bytes_per_s: That rate; None for no limit.
    """

    def __init__(self) -> None:
        self.cap_bytes_per_s: float | None = None
        self._phase = _Phase.WATCH
        self._seen: deque[tuple[int, float]] = deque()
        self._signs = 0
        self._line_bytes_per_s = 0.0
        self._ends_ns = 0
        self._lift_ns = 0

    def observe(
        self, now_ns: int, delivered_bytes_per_s: float, rtt_us: int, min_rtt_us: int
    ) -> Reason | None:
        """Take what the kernel says now, each 0.1 s or so; return what was decided, if anything.

        Args:
            now_ns: Of the caller's monotonic clock.
            delivered_bytes_per_s: Delivery rates of the path's streams, summed up.
            rtt_us: Their smoothed round trip.
            min_rtt_us: The least round trip of the last minutes.
        """
        if not (delivered_bytes_per_s and rtt_us and min_rtt_us):
            return None
        ratio = rtt_us / min_rtt_us
        round_trips_ns = _WINDOW_ROUND_TRIPS * rtt_us * 1_000
        if self._phase is _Phase.WATCH:
            lately_ns = max(_LATELY_NS_MIN, _WINDOW_ROUND_TRIPS * min_rtt_us * 1_000)
            self._remember(now_ns, delivered_bytes_per_s, lately_ns)
            is_queue = ratio > _QUEUE_RTT_RATIO and round_trips_ns > _JUDGED_NS
            return self._watch(now_ns, delivered_bytes_per_s, is_queue=is_queue)
        if now_ns >= self._ends_ns:
            return self._lift(Reason.DRAIN_LONG)
        if ratio > _QUEUE_RTT_RATIO:  # a queue stands, so what is delivered is the line's rate
            self._phase = _Phase.DRAIN
            self._line_bytes_per_s = delivered_bytes_per_s
            self.cap_bytes_per_s = _DRAIN_SHARE * delivered_bytes_per_s
        elif self._phase is _Phase.DRAIN and ratio <= _EMPTY_RTT_RATIO:
            self._phase = _Phase.HOLD
            self.cap_bytes_per_s = self._line_bytes_per_s
            self._lift_ns = now_ns + round_trips_ns
        elif self._phase is _Phase.HOLD and now_ns >= self._lift_ns:
            return self._lift(Reason.DRAINED)
        return None

    def _watch(self, now_ns: int, delivered_bytes_per_s: float, *, is_queue: bool) -> Reason | None:
        has_fallen = delivered_bytes_per_s < _FALL * max(rate for _, rate in self._seen)
        self._signs = self._signs + 1 if has_fallen and is_queue else 0
        if self._signs < _AGREE:
            return None
        self._phase = _Phase.DRAIN
        self._line_bytes_per_s = delivered_bytes_per_s
        self.cap_bytes_per_s = _DRAIN_SHARE * delivered_bytes_per_s
        self._ends_ns = now_ns + _DRAIN_NS_MAX
        return Reason.DRAIN

    def _remember(self, now_ns: int, delivered_bytes_per_s: float, lately_ns: int) -> None:
        self._seen.append((now_ns, delivered_bytes_per_s))
        while self._seen[0][0] < now_ns - lately_ns:
            self._seen.popleft()

    def _lift(self, why: Reason) -> Reason:
        """Let bbr go on by itself; what was delivered before the fall is forgotten."""
        self._phase, self.cap_bytes_per_s, self._signs = _Phase.WATCH, None, 0
        self._seen.clear()
        return why
