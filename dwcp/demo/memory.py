"""Resident memory of processes."""

from collections.abc import Iterable

import psutil


def resident_mib(pids: Iterable[int]) -> float:
    """Return the resident memory of processes together, MiB; those that ended count nothing."""
    return sum(_resident_bytes(pid) for pid in pids) / (1 << 20)


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
