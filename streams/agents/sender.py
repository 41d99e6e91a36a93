"""One address of a peer: opens sessions there, or joins one with the same node, for ever."""

import asyncio
import time
from typing import Final

import structlog

from schemas.access_errors import TlsError
from schemas.errors import DwcpError, PeerRefusedError
from streams.agents.outgoing import Outgoing
from streams.agents.shipping import Shipping

log = structlog.get_logger(__name__)

BACKOFF_S: Final = (0.1, 0.2, 0.4, 0.8, 1.0)  # then always the last: back within a second
REFUSED_S: Final = 5.0  # an operator has to act
CLOSE_S: Final = 10.0  # threads end, and the peer reads our goodbye


async def run_sender(outgoing: Outgoing) -> None:
    """Ship our log to one address and reconnect for ever; ends by cancellation only."""
    status = outgoing.status
    failures = 0
    while True:
        began = time.monotonic()
        try:
            await _serve(outgoing)
        except* DwcpError as group:
            error = _first(group)
            is_refused = isinstance(error, PeerRefusedError | TlsError)
            status.state = "refused" if is_refused else "down"
            text = f"{error.reason}: {error}"
            if text != status.error:  # said once, not at every attempt
                report = log.error if is_refused else log.warning
                report("link.down", peer=status.peer, error=text)
            status.error = text
        if time.monotonic() - began > outgoing.settings.silence_ms / 1_000:
            failures = 0
        pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
        failures += 1
        await asyncio.sleep(REFUSED_S if status.state == "refused" else pause_s)


async def _serve(outgoing: Outgoing) -> None:
    """Be a path of a session that stands, or open one and ship."""
    joined = await outgoing.links.join(outgoing.status.address)
    if joined is None:
        await _run_to_the_end(Shipping(outgoing), outgoing.moves.next())
        return
    status = outgoing.status
    status.state, status.error, status.node = "path", "", joined.status.node
    await joined.ended.wait()
    status.state = "connecting"


async def _run_to_the_end(shipping: Shipping, moved: asyncio.Event) -> None:
    """Run a session; when our partitions move, or we are cancelled, it ends in order first."""
    running = asyncio.ensure_future(shipping.run())
    moving = asyncio.ensure_future(moved.wait())
    try:
        await asyncio.wait((running, moving), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        moving.cancel()
        try:
            text = "partitions moved" if moved.is_set() else "the node stops"
            if not running.done() and shipping.stop(text):
                await asyncio.wait((running,), timeout=shipping.drain_s + CLOSE_S)
        finally:
            running.cancel()
            await asyncio.gather(running, moving, return_exceptions=True)


def _first(group: BaseExceptionGroup[DwcpError]) -> DwcpError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DwcpError), "a group of our errors"
    return error
