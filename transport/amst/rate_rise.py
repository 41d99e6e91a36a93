"""Sees that a path carries far more than it did while a stream climbs slowly.

bbr looks for more by sending a quarter more in one of eight round trips (Cardwell et al., "BBR:
Congestion-Based Congestion Control", 2016), so ten times the rate are found after 80 round trips.
Begun anew it doubles each round trip. A rise of half above all of the seconds before, with no
queue in the path, is no noise: then it is worth it. Only what was busy all the time is judged, for
the rate of a stream that waits for work says nothing; and not before a stream's own start is over.
"""

from collections import deque
from typing import Final

_RISE: Final = 1.5
_EMPTY_RTT_RATIO: Final = 1.2
_AGREE: Final = 2  # judge twice
_BEFORE_NS: Final = 5_000_000_000
_NOW_NS: Final = 1_500_000_000  # in which the rise may have happened
_START_ROUND_TRIPS: Final = 20  # 8 doublings are 100 Mbit/s at 250 ms, and lost packets cost some


class RateRise:
    """Watches one stream: the oldest of a path.

    Args:
        now_ns: Of the caller's monotonic clock; the stream begins now.
    """

    def __init__(self, now_ns: int) -> None:
        self._seen: deque[tuple[int, float]] = deque()
        self._signs = 0
        self._begun_ns = now_ns

    def observe(
        self,
        now_ns: int,
        delivered_bytes_per_s: float,
        rtt_us: int,
        min_rtt_us: int,
        *,
        is_busy: bool,
    ) -> bool:
        """Take what the kernel says now, each 0.1 s or so; tell whether the rate has risen.

        Args:
            now_ns: Of the caller's monotonic clock.
            delivered_bytes_per_s: The stream's delivery rate.
            rtt_us: Round trip of the path.
            min_rtt_us: The least round trip of the last minutes.
            is_busy: Whether there are bytes that wait for the path.
        """
        is_starting = now_ns - self._begun_ns < _START_ROUND_TRIPS * min_rtt_us * 1_000
        if is_starting or not is_busy:
            self._forget()
            return False
        self._seen.append((now_ns, delivered_bytes_per_s))
        while self._seen[0][0] < now_ns - _BEFORE_NS:
            self._seen.popleft()
        before = [rate for at_ns, rate in self._seen if at_ns <= now_ns - _NOW_NS]
        is_known = self._seen[0][0] <= now_ns - _BEFORE_NS // 2
        has_risen = is_known and delivered_bytes_per_s > _RISE * max(before)
        is_empty = rtt_us < _EMPTY_RTT_RATIO * min_rtt_us
        self._signs = self._signs + 1 if has_risen and is_empty else 0
        if self._signs < _AGREE:
            return False
        self._forget()
        self._begun_ns = now_ns
        return True

    def _forget(self) -> None:
        self._seen.clear()
        self._signs = 0
