"""The job that trains dictionaries while flows go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from transport.hde.dictionary import Dictionaries

_LOOK_S: Final = 5.0

log = structlog.get_logger()


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
