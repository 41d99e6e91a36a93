"""Baselines as lanes of the node's Faust app.

`keep_directory` reads `dwcp.baselines` whole on every node, for each node's links begin with what
is held there: an aiokafka lane, as Faust would share the topic's partition out to one node.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog

from connectors.log import Log
from schemas.errors import LogError
from streams import topics
from streams.agents.baselines import Baselines
from streams.web.baselines import add_routes

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0

Fail = Callable[[BaseException], None]


def join_app(app: Any, baselines: Baselines, log_: Log, interval_s: float, fail: Fail) -> None:
    """Add the lanes and routes to a Faust app.

    Args:
        app: The app; not started.
        baselines: Loaded.
        log_: The region's log.
        interval_s: Time between baselines; 0: only on request.
        fail: Told of errors that must end the node.
    """

    async def keep_directory() -> None:
        try:
            await follow(baselines, log_)
        except Exception as error:
            fail(error)
            raise

    async def take_baselines() -> None:
        try:
            await baselines.make()
        except Exception as error:
            fail(error)
            raise

    app.task(keep_directory)
    if interval_s:
        app.timer(interval=interval_s)(take_baselines)
    add_routes(app.web.web_app, baselines)


async def follow(baselines: Baselines, log_: Log, retry_s: float = RETRY_S) -> None:
    """Learn of every record that is new; for ever.

    A log that cannot be read is tried again: without baselines links work as well, with more bytes.

    Args:
        baselines: Told of each record, also of those that were there before.
        log_: The region's log.
        retry_s: Time between attempts.
    """
    while True:
        try:
            positions = await baselines.load()
            async with contextlib.aclosing(log_.tail(topics.BASELINES, positions)) as tail:
                async for ranges in tail:
                    for record in (one for part in ranges for one in part.records):
                        baselines.on_record(record.key or b"", record.value)
        except LogError as error:  # the broker is away; or the place is gone: compacted, made anew
            log.warning("baselines.again", error=str(error), retry_s=retry_s)
            await asyncio.sleep(retry_s)
