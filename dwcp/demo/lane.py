"""One direction of a shaped link: a queue of pieces, each with the time at which it arrives.

Invariants: pieces arrive in the order in which they were put, never before delay plus
transmission time; times of arrival never decrease along the queue, so one timer is enough, also
when delay or rate change under way.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

_PIECE_BYTES_MAX = 1 << 16
_PIECE_BYTES_MIN = 1448  # one Ethernet frame's worth
_PIECE_S = 0.002  # no larger piece than a slow lane carries in this time: arrivals stay smooth
_UNSHAPED_BYTES_PER_S = 250e6  # sizes the queue of a lane without rate: what a core moves anyway

Piece = bytes | memoryview | None
"""Bytes; empty for the end of a stream, None for its abort."""


class Source(Protocol):
    """Whoever puts bytes into a lane, and knows where they go."""

    @property
    def is_forgotten(self) -> bool:
        """Whether the source is gone and nobody at the far side ever heard of it."""

    def deliver(self, piece: Piece) -> None:
        """Hand over what has arrived at the far side."""

    def update_reading(self) -> None:
        """Look again whether the lane has room."""


Tap = Callable[[Source, Piece], bool]
"""Sees what arrives and says whether it is delivered; for faults."""


class Lane:
    """One direction, shared by all connections of the link in the order of their bytes.

    Args:
        delay_s: From the end of transmission to arrival, seconds.
        rate_bytes_per_s: What the lane carries, bytes per second; None for no limit.
        queue_bytes_max: What may wait besides what is in flight, bytes; it is exceeded by one
            read at most.

    Attributes:
        is_frozen: Whether nothing arrives.
        tap: Asked about everything that arrives, if set.
    """

    def __init__(
        self, delay_s: float, rate_bytes_per_s: float | None, queue_bytes_max: int
    ) -> None:
        self._queue_bytes_max = queue_bytes_max
        self._queue: deque[tuple[float, Source, Piece]] = deque()
        self._free_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_frozen = False
        self.tap: Tap | None = None
        self.sources: set[Source] = set()
        self.queued_bytes = 0
        self.arrived_bytes = 0
        self.is_full = False
        self.reshape(delay_s, rate_bytes_per_s)

    def reshape(self, delay_s: float, rate_bytes_per_s: float | None) -> None:
        """Change delay and rate of what is put from now on; the queue keeps its times."""
        rate = rate_bytes_per_s or _UNSHAPED_BYTES_PER_S
        self._delay_s = delay_s
        self._s_per_byte = 1 / rate_bytes_per_s if rate_bytes_per_s else 0.0
        self._piece_bytes = int(min(_PIECE_BYTES_MAX, max(_PIECE_BYTES_MIN, rate * _PIECE_S)))
        in_flight_bytes = int(rate * delay_s)  # keeps the lane busy; only beyond it do bytes wait
        self._full_bytes = in_flight_bytes + self._queue_bytes_max
        self._roomy_bytes = in_flight_bytes + self._queue_bytes_max // 2

    def put(self, source: Source, data: bytes | None) -> None:
        """Send bytes, or what stands for the end or the abort of a stream, down the lane."""
        now_s = time.monotonic()
        for piece in self._pieces(data):
            self._append(source, piece, now_s)
        if self.queued_bytes > self._full_bytes and not self.is_full:
            self._set_full(is_full=True)
        self._arm()

    def freeze(self) -> None:
        """Let nothing arrive."""
        self.is_frozen = True
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def thaw(self) -> None:
        """Send what is queued once more, from now; not what no one alive asked for."""
        self.is_frozen = False
        now_s = self._free_at_s = time.monotonic()
        parcels, self._queue = self._queue, deque()
        self.queued_bytes = 0
        for _, source, piece in parcels:
            if not source.is_forgotten:
                self._append(source, piece, now_s)
        self._after_arrivals()

    def clear(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
        self.queued_bytes = 0
        self._free_at_s = 0.0
        self._after_arrivals()

    def _pieces(self, data: bytes | None) -> Iterator[Piece]:
        if data is None or len(data) <= self._piece_bytes:
            yield data
            return
        view = memoryview(data)
        for start in range(0, len(view), self._piece_bytes):
            yield view[start : start + self._piece_bytes]

    def _append(self, source: Source, piece: Piece, now_s: float) -> None:
        size = len(piece or b"")
        self._free_at_s = max(now_s, self._free_at_s) + size * self._s_per_byte
        at_s = self._free_at_s + self._delay_s
        if self._queue:
            at_s = max(at_s, self._queue[-1][0])  # a shorter delay overtakes nobody
        self._queue.append((at_s, source, piece))
        self.queued_bytes += size

    def _arm(self) -> None:
        if self._queue and self._timer is None and not self.is_frozen:
            wait_s = max(0.0, self._queue[0][0] - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        while self._queue and self._queue[0][0] <= now_s:
            _, source, piece = self._queue.popleft()
            self.queued_bytes -= len(piece or b"")
            self.arrived_bytes += len(piece or b"")
            if self.tap is None or self.tap(source, piece):
                source.deliver(piece)
        self._after_arrivals()

    def _after_arrivals(self) -> None:
        if self.is_full and self.queued_bytes <= self._roomy_bytes:
            self._set_full(is_full=False)
        self._arm()

    def _set_full(self, *, is_full: bool) -> None:
        self.is_full = is_full
        for source in self.sources:
            source.update_reading()
