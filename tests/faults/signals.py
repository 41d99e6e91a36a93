"""Faults of processes: killed, and paused as a machine that swaps or a hypervisor that migrates."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from tests.support.waiting import is_gone, wait_until

STOP_S: Final = 10.0


def kill(pid: int) -> None:
    """Send SIGKILL: no goodbye, no flush; a no-op for a process that is gone."""
    _send(pid, signal.SIGKILL)


def pause(pid: int) -> None:
    """Send SIGSTOP: it keeps its connections, locks and leases, and says nothing.

    A thread that runs stops a moment after the signal, and could answer until then: this returns
    when all have stopped.
    """
    _send(pid, signal.SIGSTOP)
    wait_until(lambda: is_paused(pid) or is_gone(pid), STOP_S, f"all threads of {pid} to stop")


def resume(pid: int) -> None:
    """Send SIGCONT: it goes on as if no time had passed. A zombie, if others took its place."""
    _send(pid, signal.SIGCONT)


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Pause a process for the time of a block; whatever happens, it is resumed."""
    pause(pid)
    try:
        yield
    finally:
        resume(pid)


def is_paused(pid: int) -> bool:
    """Say whether a process, with all its threads, is stopped by a signal."""
    try:
        if sys.platform != "linux":
            return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        stats = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False
    return bool(stats) and all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
