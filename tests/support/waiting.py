"""Wait for something to become true: never longer than a deadline, never by a bare sleep."""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

POLL_S: Final = 0.02


async def until(
    predicate: Callable[[], bool | Awaitable[bool]], timeout_s: float, what: str
) -> None:
    """Wait until `predicate`, a function or a coroutine function, says yes.

    Args:
        predicate: Asked every 20 ms.
        timeout_s: How long to wait at most, seconds.
        what: What is waited for, for the message.

    Raises:
        TimeoutError: It did not in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"after {timeout_s:g} s still waiting for: {what}")
        await asyncio.sleep(POLL_S)


def wait_until(predicate: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Do the same as `until` without a loop.

    Raises:
        TimeoutError: It did not become true in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"after {timeout_s:g} s still waiting for: {what}")
        time.sleep(POLL_S)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has reaped yet counts as ended."""
    import psutil  # noqa: PLC0415 - few tests need it

    try:
        os.kill(pid, 0)
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return True


async def pause_s(seconds: float) -> None:
    """Let time pass where that is the purpose: a fault that lasts, a load that keeps its pace."""
    await asyncio.sleep(seconds)
