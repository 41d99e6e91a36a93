"""What encoding needs of the shell: a clock, and a job that trains dictionaries."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import structlog

from transport.hde.dictionary import Dictionaries
from transport.session.outbound import OutboundSession

_LOOK_S: Final = 5.0
_FULL_BYTES: Final = 262_144  # half of what a tail gives at once: so much waits only behind us

log = structlog.get_logger()


def encode_timed(session: OutboundSession, raw: bytes, waiting_bytes: int) -> bytes:
    """Encode a unit in a thread of its own, whose CPU tells which level pays.

    Args:
        session: Whose flow it is.
        raw: The unit.
        waiting_bytes: What waits for the link. Nothing, and a full unit: the core is what is short.
    """
    session.note_core(is_short=len(raw) >= _FULL_BYTES and not waiting_bytes)
    began_ns = time.thread_time_ns()
    unit = session.encode_unit(raw)
    session.report_encoding(time.thread_time_ns() - began_ns)
    return unit


@contextlib.asynccontextmanager
async def training(dictionaries: Dictionaries) -> AsyncIterator[None]:
    """Train, while the context is open, whenever flows have gathered enough samples."""
    job = asyncio.create_task(_train(dictionaries))
    try:
        yield
    finally:
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job


async def _train(dictionaries: Dictionaries) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        if dictionaries.is_due:
            name = await asyncio.to_thread(dictionaries.train)
            if name is not None:
                count = dictionaries.trained_count
                log.info("dictionary.trained", name=f"{name:016x}", count=count)
