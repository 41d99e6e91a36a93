"""Locks between processes: flock(2) on a file, which ends with the last process that holds it.

A child that inherits the descriptor holds the lock too: so a lock can last exactly as long as
a broker runs, whoever started it and however that one ended.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.05
_GLANCE_S: Final = 0.3


def try_lock(path: Path) -> int | None:
    """Take the lock of `path`, which is made if missing.

    Returns:
        A descriptor that holds the lock until it and all its inherited copies are closed,
        or None if somebody else holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + _GLANCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # It may be no more than the glance of `is_locked` in another process.
            if time.monotonic() > deadline_s:
                os.close(descriptor)
                return None
            time.sleep(_POLL_S)
        except BaseException:
            os.close(descriptor)
            raise
        else:
            return descriptor


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of `path`; a missing file is not locked."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def locked(path: Path, timeout_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `path`, after waiting for those who hold it now.

    Args:
        path: The lock's file; made if missing.
        timeout_s: How long to wait at most, seconds.
        on_wait: Called each time the lock is found taken; may raise to give up.

    Raises:
        TimeoutError: It was not free in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{path} is held by another process for {timeout_s:g} s")
        on_wait()
    try:
        yield
    finally:
        os.close(descriptor)
