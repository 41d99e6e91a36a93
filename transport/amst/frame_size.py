"""How large the frames of a unit are: what a path carries in a few milliseconds.

Every frame costs its locks, some wake-ups and a run through code that the bytes before it have
put out of the processor's caches, on both ends, so large ones are cheap; but what is urgent waits
behind the frame that a stream has begun. So frames are large only where the path carries a large
one at once.
"""

from typing import Final

from transport.frame import PAYLOAD_BYTES_MAX, UNIT_FRAME_BYTES_MAX

LARGE_BYTES: Final = (UNIT_FRAME_BYTES_MAX, UNIT_FRAME_BYTES_MAX // 4)
LARGE_PER_S: Final = 120  # of them the path must carry: each takes it 8 ms
_NS: Final = 1_000_000_000


class FrameSize:
    """The size of frames, by the rate at which they are reported.

    Attributes:
        payload_bytes: Of every frame of a unit but its last.
    """

    def __init__(self) -> None:
        self.payload_bytes = PAYLOAD_BYTES_MAX
        self._reported_bytes = 0
        self._at_ns = 0

    def observe(self, reported_bytes: int, now_ns: int) -> None:
        """Look at the rate since the last time; call it some times a second.

        Args:
            reported_bytes: All that were reported so far.
            now_ns: Of the caller's monotonic clock.
        """
        grown_bytes = reported_bytes - self._reported_bytes
        carried_bytes = grown_bytes * _NS // max(1, LARGE_PER_S * (now_ns - self._at_ns))
        fitting = (size for size in LARGE_BYTES if size < carried_bytes)
        self.payload_bytes = next(fitting, PAYLOAD_BYTES_MAX)
        self._reported_bytes, self._at_ns = reported_bytes, now_ns
