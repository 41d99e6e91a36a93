"""Keeps the memory of large buffers in the process, instead of giving it back with every frame.

glibc maps each block above 128 KiB anew and unmaps it when it is freed, so a buffer for a frame of
256 KiB costs 64 page faults, some 300 us, ten times as much as to copy its bytes. Raising the two
thresholds keeps such blocks in the heap (mallopt(3)). Elsewhere than on glibc nothing is done.
"""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
MAPPED_BYTES_MIN: Final = 8 << 20  # blocks from here on are still mapped; no frame is so large
KEPT_BYTES: Final = 32 << 20  # free memory at the end of a heap that is kept


def keep_large_buffers() -> bool:
    """Set it for this process; False where it cannot be had."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; no C library to be asked
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    )
