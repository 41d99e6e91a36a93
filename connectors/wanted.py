"""Answers to folds that ask for whole documents: they do not hold what a patch builds on.

That happens when the put before was refused, was in an aborted transaction, or left the fold's
memory. The fold's region writes the question to `dwcp.wanted`; the producer hears it and sends the
last document that it knows.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from connectors.differ import Known
from connectors.log import Log
from schemas.errors import EventError, LogError
from schemas.registry import decode_event

log = structlog.get_logger(__name__)

WANTED_TOPIC: Final = "dwcp.wanted"
RETRY_S: Final = 5.0

Find = Callable[[str], Known | None]
Send = Callable[[str, str, Known], Awaitable[None]]


async def answer_wanted(log_: Log, producer: str, find: Find, send: Send) -> None:
    """Listen to the questions until cancelled.

    Args:
        log_: The region's log.
        producer: Whose questions to answer.
        find: What is known of an entity.
        send: Sends an entity's whole document once more.
    """
    while True:
        try:
            ends = await log_.end_offsets(WANTED_TOPIC)
            async with contextlib.aclosing(log_.tail(WANTED_TOPIC, ends)) as tail:
                async for ranges in tail:
                    for record in (record for part in ranges for record in part.records):
                        await _answer(record.value or b"", producer, find, send)
        except LogError as error:
            log.warning("wanted.unreadable", error=str(error), retry_s=RETRY_S)
        await asyncio.sleep(RETRY_S)


async def _answer(value: bytes, producer: str, find: Find, send: Send) -> None:
    try:
        name, wanted = decode_event(value)
    except EventError as error:
        log.warning("wanted.unknown", error=str(error))
        return
    if name != "DocumentWanted" or wanted["producer"] != producer:
        return
    known = find(wanted["entity_id"])
    if known is None or wanted["hybrid_timestamp"] <= known.whole_stamp:
        return  # forgotten, so the next one is whole; or whole since
    await send(wanted["entity_id"], wanted["entity_type"], known)
