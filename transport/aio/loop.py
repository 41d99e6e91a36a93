"""Runs what moves bytes: on uvloop where there is one, with the memory of large frames kept."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from transport.aio.memory import keep_large_buffers

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as all that a process does, as `asyncio.run` would."""
    keep_large_buffers()
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - Windows has none
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
