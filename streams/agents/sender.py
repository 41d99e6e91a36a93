"""One peer's sender: tails our log from the peer's cursor and ships it, for ever."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from connectors.log import Log, RecordRange
from schemas.errors import DwcpError, LinkClosedError, LinkError, PeerRefusedError, TlsError
from schemas.registry import Record
from streams import topics
from streams.agents.status import SenderStatus
from streams.replication import encode_batch
from transport.aio.connection import dial, flush_control, pump_control
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.session.events import (
    Acked,
    Established,
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    Identity,
    LinkSettings,
    PeerLeft,
    Rewound,
)
from transport.session.outbound import OutboundSession

log = structlog.get_logger(__name__)

Tail = AsyncGenerator[list[RecordRange], None]

BACKOFF_S: Final = (0.1, 0.2, 0.4, 0.8, 1.0)  # then always the last: back within a second
REFUSED_S: Final = 5.0  # an operator has to act


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a sender needs.

    Attributes:
        identity: Who we are at the moment: a new session may hold other partitions.
        settings: Limits and timers.
        log: Our log.
        digest: Says what we hold.
        on_digest: Told what the peer holds.
        flush_ms: Least time between units, so that small batches travel together.
        status: Peer, address, and what comes of it.
        tls: How to encrypt; None: plain.
    """

    identity: Callable[[], Identity]
    settings: LinkSettings
    log: Log
    digest: Callable[[], Record]
    on_digest: Callable[[str, Record], None]
    flush_ms: int
    status: SenderStatus
    tls: LinkTls | None = None


async def run_sender(outgoing: Outgoing) -> None:
    """Ship our log to one peer and reconnect for ever; ends by cancellation only."""
    status = outgoing.status
    failures = 0
    while True:
        began = time.monotonic()
        try:
            await _Shipping(outgoing).run()
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


class _Shipping:
    """One session of a sender."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._status = outgoing.status
        self._wires: list[Wire] = []
        self._session = OutboundSession(
            outgoing.identity(), outgoing.status.peer, outgoing.settings, time.monotonic_ns()
        )
        self._opened = asyncio.Event()
        self._credit = asyncio.Event()
        self._rewound = asyncio.Event()
        self._cursors: dict[int, int] = {}

    async def run(self) -> None:
        """Dial, shake hands, ship, until something fails."""
        timeout_s = self._outgoing.settings.silence_ms / 1_000
        try:
            control = await self._dial(timeout_s)
            async with asyncio.TaskGroup() as tasks:
                session = self._session
                tasks.create_task(
                    pump_control(session, control, session.receive_control, self._handle)
                )
                await self._opened.wait()
                data = await self._dial(timeout_s)
                data.write(session.attach())
                tasks.create_task(_until_closed(data))
                await self._ship(data)
        finally:
            self._session.say_goodbye("the node stops or starts over")
            if self._wires:
                with contextlib.suppress(LinkError):  # it ended in another way before
                    flush_control(self._session, self._wires[0])
                await self._wires[0].finish()
            for wire in self._wires[1:]:
                wire.close()

    async def _dial(self, timeout_s: float) -> Wire:
        status = self._status
        wire = await dial(status.address, timeout_s, self._outgoing.tls, status.peer)
        self._wires.append(wire)
        return wire

    async def _handle(self, event: Event) -> None:
        match event:
            case Established():
                self._on_established(event)
            case Acked(cursors=cursors):
                self._status.acked.update(cursors)
                self._credit.set()
            case Rewound(reason=reason, cursors=cursors):
                log.warning("link.rewound", peer=self._status.peer, reason=reason)
                self._status.rewinds += 1
                self._cursors = dict(cursors)
                self._rewound.set()
                self._credit.set()
            case HeartbeatDue():
                wall_ms = time.time_ns() // 1_000_000
                digest = self._outgoing.digest()
                self._session.send_heartbeat(digest, wall_ms, time.monotonic_ns())
            case HeartbeatReceived(digest, rtt_ms, ahead_ms):
                self._status.rtt_ms, self._status.clock_ahead_ms = rtt_ms, ahead_ms
                if digest is not None:
                    self._outgoing.on_digest(self._status.peer, digest)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")

    def _on_established(self, event: Established) -> None:
        status = self._status
        status.state, status.error, status.node = "up", "", event.node
        status.is_encrypted = self._wires[0].is_encrypted
        status.sessions += 1
        status.acked = dict(event.cursors)
        self._cursors = dict(event.cursors)
        log.info("link.up", peer=event.region, node=event.node, cursors=status.acked)
        if event.config_differs:
            log.warning("link.config_differs", peer=event.region)
        self._opened.set()

    async def _ship(self, data: Wire) -> None:
        while True:
            self._rewound.clear()
            tail = self._outgoing.log.tail(topics.STATE, dict(self._cursors))
            try:
                while not self._rewound.is_set():
                    ranges = await self._next(tail)
                    if ranges is not None:
                        await self._ship_unit(data, ranges)
            finally:
                await tail.aclose()
            self._session.begin_epoch()

    async def _next(self, tail: Tail) -> list[RecordRange] | None:
        """Wait for records, or for the peer to send us back: then None."""
        records = asyncio.ensure_future(anext(tail))
        rewound = asyncio.ensure_future(self._rewound.wait())
        try:
            await asyncio.wait((records, rewound), return_when=asyncio.FIRST_COMPLETED)
            return records.result() if records.done() and not rewound.done() else None
        finally:
            records.cancel()
            rewound.cancel()
            await asyncio.gather(records, rewound, return_exceptions=True)

    async def _ship_unit(self, data: Wire, ranges: list[RecordRange]) -> None:
        session, status = self._session, self._status
        while not session.has_credit:
            self._credit.clear()
            await self._credit.wait()
        if self._rewound.is_set():
            return
        due = time.monotonic() + self._outgoing.flush_ms / 1_000
        raw = encode_batch(ranges, topics.SHIPPED_BYTES_MAX)
        before = session.encoded_bytes
        frames = await asyncio.to_thread(session.send_unit, raw)
        data.write(frames)
        await data.drain()
        status.units += 1
        status.raw_bytes += len(raw)
        status.encoded_bytes += session.encoded_bytes - before
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _until_closed(wire: Wire) -> None:
    """Notice when the data connection ends; the peer never writes on it."""
    while True:
        await wire.read()


def _first(group: BaseExceptionGroup[DwcpError]) -> DwcpError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DwcpError)
    return error
