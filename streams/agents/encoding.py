"""What encoding needs of the shell: a clock, and a job that trains dictionaries."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import structlog

from streams.agents.dictionaries import DictionaryDirectory
from transport.aio.receiving import REPORT_AGAIN_S
from transport.hde.account import Encoded
from transport.session.events import Unit
from transport.session.inbound import InboundSession
from transport.session.outbound import OutboundSession

_LOOK_S: Final = 5.0
_FULL_BYTES: Final = 262_144  # half of what a tail gives at once: so much waits only behind us
_FREE_DELIVERY: Final = 1.5  # times the least round trip

log = structlog.get_logger()


class Limits(NamedTuple):
    """What bounds a flow at the moment.

    Attributes:
        rate_bytes_s: What the link can carry, 0 if unknown.
        is_path_free: Nothing waits for the link, or inside it.
    """

    rate_bytes_s: float
    is_path_free: bool


class PathWatch:
    """Tells whether frames of a session arrive as soon as they can: then none waits anywhere.

    Kernels and proxies hold much where the queue before them is empty.
    """

    def __init__(self) -> None:
        self._least_ms = math.inf

    def is_free(self, waiting_bytes: int, delivery_ns: int, rtt_ms: float | None) -> bool:
        """Tell it.

        Args:
            waiting_bytes: What waits to be sent.
            delivery_ns: Smoothed time until a frame is reported; 0 for unknown.
            rtt_ms: Round trip of the last heartbeat, if there was one.
        """
        if rtt_ms is not None:
            self._least_ms = min(self._least_ms, rtt_ms)
        is_known = delivery_ns > 0 and self._least_ms < math.inf
        is_soon = delivery_ns / 1e6 <= _FREE_DELIVERY * self._least_ms + 1_000 * REPORT_AGAIN_S
        return not waiting_bytes and is_known and is_soon


def encode_timed(session: OutboundSession, raw: bytes, limits: Limits) -> Encoded:
    """Encode a unit in a thread of its own, whose CPU tells which level pays."""
    is_core_short = len(raw) >= _FULL_BYTES and limits.is_path_free
    session.note_limits(limits.rate_bytes_s, is_core_short=is_core_short)
    began_ns = time.thread_time_ns()
    unit = session.encode_unit(raw)
    cpu_ns = time.thread_time_ns() - began_ns
    return Encoded(unit, cpu_ns, *session.report_encoding(cpu_ns))


def decode_timed(session: InboundSession, unit: Unit) -> tuple[bytes | None, int]:
    """Decode a unit, not on the loop; returns raw bytes and the CPU that it took, ns.

    Raises:
        BadUnitError: It cannot be decoded.
    """
    began_ns = time.thread_time_ns()
    raw = session.decode(unit)
    return raw, time.thread_time_ns() - began_ns


@contextlib.asynccontextmanager
async def training(directory: DictionaryDirectory) -> AsyncIterator[None]:
    """Train, while the context is open, whenever flows have gathered enough; keep what is new."""
    job = asyncio.create_task(_train(directory))
    try:
        yield
    finally:
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job


async def _train(directory: DictionaryDirectory) -> None:
    dictionaries = directory.dictionaries
    while True:
        await asyncio.sleep(_LOOK_S)
        if dictionaries.is_due:
            name = await asyncio.to_thread(dictionaries.train)
            if name is not None:
                count = dictionaries.trained_count
                log.info("dictionary.trained", name=f"{name:016x}", count=count)
        await directory.keep()
