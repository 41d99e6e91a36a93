"""Resident memory of the whole demo."""

import psutil


def resident_mib() -> float:
    """Return the resident memory of this process and of all that it started, MiB.

    Pages that processes share are counted in each of them.
    """
    ours = psutil.Process()
    processes = (ours, *ours.children(recursive=True))
    return sum(_resident_bytes(process) for process in processes) / (1 << 20)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # it ended meanwhile
