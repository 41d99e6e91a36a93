"""One session of a sender: tails our log from the peer's cursors and ships it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Final

import structlog

from connectors.log import RecordRange
from schemas.errors import DwcpError, LinkClosedError, LinkError
from schemas.log_trouble import LogTruncatedError, RetentionOverrunError
from streams import topics
from streams.agents.encoding import Limits, PathWatch, encode_timed
from streams.agents.outgoing import Outgoing
from streams.replication import encode_batch
from transport.aio.connection import dial, flush_control, pump_control
from transport.aio.keeper import StreamKeeper, Target
from transport.aio.sending import SendStream, SendStreams
from transport.aio.wire import Wire
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic
from transport.session.control import LOG_FLOW, LOG_WINDOW_BYTES, STATE_FLOW
from transport.session.events import (
    Acked,
    Established,
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    ObjectTaken,
    PeerLeft,
    Reported,
    Rewound,
    Wanted,
)
from transport.session.objects import OutgoingObjects
from transport.session.outbound import OutboundSession

log = structlog.get_logger(__name__)

Tail = AsyncGenerator[list[RecordRange], None]

UNBOUNDED: Final = 1 << 62  # the state flow: the peer's credit bounds it


class Shipping:
    """One session of a sender.

    Attributes:
        session: The session.
        keeper: Its data streams; `keeper.streams` has their sockets, counters and queues.
        status: Peer, address, and what comes of it.
        ended: Set when the session is over.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self.status = outgoing.status
        self._control: Wire | None = None
        self.session = OutboundSession(
            outgoing.identity(), outgoing.status.peer, outgoing.settings, time.monotonic_ns()
        )
        self.session.use_baseline(outgoing.baseline(outgoing))
        scheduler = SendScheduler(outgoing.streams.limits)
        scheduler.open_flow(STATE_FLOW, UNBOUNDED)
        scheduler.open_flow(LOG_FLOW, LOG_WINDOW_BYTES)
        self._streams = SendStreams(scheduler, outgoing.streams.options, self._on_stream_end)
        target = Target(outgoing.status.peer, outgoing.tls, self.session.attach)
        self.keeper = StreamKeeper(self._streams, target, outgoing.streams, outgoing.status.address)
        self._opened_before = outgoing.links.opened_count
        self._objects = OutgoingObjects(self.session, self._streams, outgoing.objects)
        self.ended = asyncio.Event()
        self._opened = asyncio.Event()
        self._credit = asyncio.Event()
        self._reported = asyncio.Event()
        self._turned = asyncio.Event()  # sent back by the peer, or asked to stop
        self._is_stopping = ""
        self._wire_noted = 0
        self._path = PathWatch()
        self._cursors: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    @property
    def drain_s(self) -> float:
        """How long an end in order may take."""
        return self._outgoing.streams.drain_ms / 1_000

    def stop(self, text: str) -> bool:
        """End in order: what is under way arrives, then goodbye; False if it was never open."""
        self._is_stopping = text
        self._turned.set()
        self._credit.set()
        return self._opened.is_set()

    def send(self, traffic: Traffic, unit: bytes) -> None:
        """Ship one unit of the log flow, ahead of everything else; or control, ahead of that.

        Raises:
            AssertionError: There is no room: ask `keeper.streams.scheduler.has_room` before.
        """
        assert self._streams.scheduler.has_room, "the queue is full"
        self._streams.submit(LOG_FLOW, traffic, unit)
        self._flush()

    def offer_objects(self) -> None:
        """Offer what was put into `Outgoing.objects` meanwhile."""
        self._objects.offer()
        self._flush()

    async def run(self) -> None:
        """Dial, shake hands, ship, until something fails or `stop` is called."""
        outgoing = self._outgoing
        try:
            async with asyncio.TaskGroup() as tasks:
                if not await self._open(tasks):
                    return
                helpers = [tasks.create_task(self.keeper.run())]
                if outgoing.steer is not None:
                    helpers.append(tasks.create_task(outgoing.steer(self)))
                self.offer_objects()
                self._ends = await outgoing.log.end_offsets(topics.STATE)
                self._leave_out_trouble(await outgoing.log.start_offsets(topics.STATE))
                await self._ship()
                await self._drain()
                for helper in (*helpers, self._pump):
                    helper.cancel()
        finally:
            outgoing.links.remove(self)
            self.ended.set()
            self.session.say_goodbye(self._is_stopping or "the session starts over")
            if self._control is not None:
                with contextlib.suppress(LinkError):  # it ended in another way before
                    flush_control(self.session, self._control)
            self._note_wire()
            await self._streams.close()
            if self._control is not None:
                await self._control.finish()

    async def _open(self, tasks: asyncio.TaskGroup) -> bool:
        """Open the session; not when another one was opened meanwhile, perhaps with this node."""
        outgoing, status = self._outgoing, self.status
        timeout_s = outgoing.streams.connect_ms / 1_000
        self._control = await dial(status.address, timeout_s, outgoing.tls, status.peer)
        async with outgoing.links.opening:
            if outgoing.links.opened_count != self._opened_before:
                self._control.close()  # without the HELLO that waits: it would end the other one
                return False
            session = self.session
            self._pump = tasks.create_task(
                pump_control(session, self._control, session.receive_control, self._handle)
            )
            await self._opened.wait()
            outgoing.links.add(self)
            return True

    def _flush(self) -> None:
        if self._control is not None and not self._control.is_closing:
            flush_control(self.session, self._control)
            urgent = self._streams.urgent_to_send()
            if urgent:
                self._control.write(urgent)
                self.status.wire_bytes += len(urgent)

    async def _handle(self, event: Event) -> None:
        match event:
            case Established():
                self._on_established(event)
            case Acked(cursors=cursors):
                self.status.acked.update(cursors)
                self._note_wire()
                self._credit.set()
            case Rewound(reason=reason, cursors=cursors):
                log.warning("link.rewound", peer=self.status.peer, reason=reason)
                self.status.rewinds += 1
                self.status.flows[topics.STATE].nacks += 1
                self._cursors = dict(cursors)
                self._turned.set()
                self._credit.set()
            case HeartbeatDue():
                wall_ms = time.time_ns() // 1_000_000
                digest = self._outgoing.digest()
                self.session.send_heartbeat(digest, wall_ms, time.monotonic_ns())
            case HeartbeatReceived(digest, rtt_ms, ahead_ms):
                self.status.rtt_ms, self.status.clock_ahead_ms = rtt_ms, ahead_ms
                if digest is not None:
                    self._outgoing.on_digest(self.status.peer, digest)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")
            case _:
                await self._handle_data(event)

    async def _handle_data(self, event: Event) -> None:
        match event:
            case Reported(reports=reports):
                self._streams.on_reports(reports)
                self._reported.set()
                self._flush()
            case Wanted():
                self._objects.on_wanted(event)
                if event.refusal:
                    log.warning("object.refused", peer=self.status.peer, reason=event.refusal)
            case ObjectTaken():
                found_whole = self._objects.on_taken(event)
                if found_whole is not None:
                    log.info("object.taken", peer=self.status.peer, label=found_whole.label)
        for flow, found in self._objects.sums_due():  # also when the peer had all of it
            self.session.tell_sum(flow, await asyncio.to_thread(found.sum))

    def _on_established(self, event: Established) -> None:
        status = self.status
        assert self._control is not None, "an answer on a connection"
        status.state, status.error, status.node = "up", "", event.node
        status.is_encrypted = self._control.is_encrypted
        status.sessions += 1
        status.acked = dict(event.cursors)
        self._cursors = dict(event.cursors)
        log.info("link.up", peer=event.region, node=event.node, cursors=status.acked)
        if event.config_differs:
            log.warning("link.config_differs", peer=event.region)
        self._opened.set()

    def _note_wire(self) -> None:
        sent = self._streams.sent_bytes
        self.status.wire_bytes += sent - self._wire_noted
        self._wire_noted = sent

    def _on_stream_end(self, stream: SendStream) -> None:
        self.keeper.on_stream_end(stream)

    def _leave_out_trouble(self, starts: Mapping[int, int]) -> None:
        """Ship nothing of a partition of which the peer wants what our log does not have."""
        self.status.troubles.clear()
        for partition, wanted in sorted(self._cursors.items()):
            start, end = starts[partition], self._ends[partition]
            if start <= wanted <= end:
                continue
            if wanted > end:
                error: DwcpError = LogTruncatedError(topics.STATE, partition, wanted, end)
            else:
                error = RetentionOverrunError(topics.STATE, partition, wanted, start)
            self.status.troubles[partition] = f"{error.reason}: {error}"
            log.error("link.trouble", peer=self.status.peer, reason=error.reason, text=str(error))
        self._cursors = self._without_trouble(self._cursors)

    def _without_trouble(self, cursors: Mapping[int, int]) -> dict[int, int]:
        return {p: at for p, at in cursors.items() if p not in self.status.troubles}

    async def _ship(self) -> None:
        while not self._is_stopping:
            self._turned.clear()
            tail = self._outgoing.log.tail(topics.STATE, dict(self._cursors))
            try:
                while not self._turned.is_set():
                    ranges = await self._next(tail)
                    if ranges is not None:
                        await self._ship_unit(ranges)
            finally:
                await tail.aclose()
            self.session.begin_epoch()

    async def _next(self, tail: Tail) -> list[RecordRange] | None:
        """Wait for records, or for something else to do: then None."""
        records = asyncio.ensure_future(anext(tail))
        turned = asyncio.ensure_future(self._turned.wait())
        try:
            await asyncio.wait((records, turned), return_when=asyncio.FIRST_COMPLETED)
            return records.result() if records.done() and not turned.done() else None
        finally:
            records.cancel()
            turned.cancel()
            await asyncio.gather(records, turned, return_exceptions=True)

    async def _ship_unit(self, ranges: list[RecordRange]) -> None:
        session, status = self.session, self.status
        while not session.has_credit and not self._turned.is_set():
            self._credit.clear()
            await self._credit.wait()
        if self._turned.is_set():
            return
        due = time.monotonic() + self._outgoing.flush_ms / 1_000
        raw = encode_batch(ranges, topics.SHIPPED_BYTES_MAX)
        queue = self._streams.scheduler
        is_free = self._path.is_free(queue.waiting_bytes, queue.delivery_ns, status.rtt_ms)
        limits = Limits(status.rate_bytes_s, is_free)
        encoded = await asyncio.to_thread(encode_timed, session, raw, limits)
        is_behind = any(part.to_offset < self._ends.get(part.partition, 0) for part in ranges)
        traffic = Traffic.CATCH_UP if is_behind else Traffic.STATE
        self._streams.submit(STATE_FLOW, traffic, encoded.unit)
        status.note(topics.STATE, encoded, len(raw), session.forgotten)
        self._note_wire()
        await asyncio.sleep(due - time.monotonic())

    async def _drain(self) -> None:
        """Wait until what is under way has arrived, within bounds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.drain_s):
                while not self._streams.scheduler.is_drained:
                    self._reported.clear()
                    await self._reported.wait()
