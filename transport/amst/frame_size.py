"""How large the frames of a unit are: what a path carries in a few milliseconds.

Every frame costs its hash, its locks and some wake-ups on both ends, so large ones are cheap; but
what is urgent waits behind the frame that a stream has begun. So frames are large only where the
path carries a large one at once.
"""

from typing import Final

from transport.frame import CHUNK_BYTES_MAX, PAYLOAD_BYTES_MAX

LARGE_FROM_BYTES_PER_S: Final = 125_000_000  # 1 Gbit/s: then 1 MiB takes 8 ms
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
        is_fast = grown_bytes * _NS > LARGE_FROM_BYTES_PER_S * (now_ns - self._at_ns)
        self.payload_bytes = CHUNK_BYTES_MAX if is_fast else PAYLOAD_BYTES_MAX
        self._reported_bytes, self._at_ns = reported_bytes, now_ns
