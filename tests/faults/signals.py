"""Faults of processes: killed, and paused as a machine that swaps or a hypervisor that migrates."""

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil


def kill(pid: int) -> None:
    """Send SIGKILL: no goodbye, no flush; a no-op for a process that is gone."""
    _send(pid, signal.SIGKILL)


def pause(pid: int) -> None:
    """Send SIGSTOP: it keeps its connections, locks and leases, and says nothing."""
    _send(pid, signal.SIGSTOP)


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
    """Say whether a process is stopped by a signal."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
