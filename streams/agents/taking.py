"""One session with one node of a peer: takes its log into our replica topic."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import structlog

from schemas.access_errors import WrongIdentityError
from schemas.errors import (
    DwcpError,
    LinkClosedError,
    LinkError,
    UnexpectedMessageError,
)
from streams.agents.appending import Appending
from streams.agents.incoming import Incoming
from streams.agents.status import ReceiverStatus
from transport.aio.connection import flush_control, pump_control
from transport.aio.receiving import ReceiveStream, ReceiveStreams, is_breach
from transport.aio.wire import Wire
from transport.amst.reassembly import FlowReport, Reassembler, WholeUnit
from transport.session.control import STATE_FLOW
from transport.session.events import (
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    HelloReceived,
    Offered,
    PeerLeft,
    SumKnown,
    Urgent,
)
from transport.session.handshake import Greeting, attached
from transport.session.inbound import InboundSession, flow_limits
from transport.session.objects import IncomingObjects, ReceivedObject

log = structlog.get_logger(__name__)

STREAMS_MAX: Final = 32  # of one session: 16, and as many that retire

T = TypeVar("T")


class Door(Protocol):
    """Who lets sessions in: the receiver."""

    async def open(self, taking: "Taking") -> dict[int, int]:
        """Let a session in and return its cursors; older ones in its way end first."""
        ...

    def refuse(self, error: DwcpError, region: str) -> None:
        """Count a data stream that ended for a reason, while its session goes on."""
        ...

    def status_of(self, taking: "Taking") -> ReceiverStatus:
        """Return where the session writes what becomes of it."""
        ...

    def forget(self, taking: "Taking") -> None:
        """Drop a session that ended."""
        ...


class Taking:
    """One session with one node of an origin."""

    def __init__(self, incoming: Incoming, door: Door, wire: Wire, greeting: Greeting) -> None:
        self._incoming = incoming
        self._door = door
        self._control = wire
        self._greeting = greeting
        self.session = InboundSession(
            self._incoming.identity(),
            self._incoming.settings,
            os.urandom(16),
            time.monotonic_ns(),
            wire.peer,
        )
        self.session.use_held(incoming.find)
        self.ended = asyncio.Event()
        self._appending = Appending(self.session, incoming.replica, self._flush)
        self._ending = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams = ReceiveStreams(
            Reassembler(flow_limits(incoming.settings)),
            self._guarded(self._on_units),
            self._guarded(self._on_reports),
            self._on_stream_end,
        )
        self._objects = IncomingObjects(
            self.session, self._streams, incoming.shelf, incoming.on_object or _nobody
        )

    @property
    def stream_count(self) -> int:
        """How many data streams it has."""
        return len(self._streams.streams)

    def is_in_the_way_of(self, newer: InboundSession) -> bool:
        """Tell whether a session of the same node, or with the same partitions, has to wait."""
        ours = self.session
        if self.ended.is_set() or ours.peer_region != newer.peer_region:
            return False
        return ours.peer_node == newer.peer_node or not ours.partitions.isdisjoint(newer.partitions)

    def end(self, goodbye: str = "") -> None:
        """Ask the session to end; `ended` says when nothing of it is under way any more."""
        if goodbye and not self._ending.is_set():
            self.session.say_goodbye(goodbye)
            with contextlib.suppress(LinkError):  # it is ending in another way
                self._flush()
        self._ending.set()

    async def run(self) -> None:
        """Serve the control connection, and append, until something fails."""
        try:
            await self._shake_hands()
            await self._serve()
        except DwcpError as error:
            self._appending.status.error = f"{error.reason}: {error}"
            raise
        finally:
            self._appending.status.state = "down"
            self._door.forget(self)
            self.ended.set()
            if not self._failed.cancel() and not self._failed.cancelled():
                self._failed.exception()  # else asyncio says that nobody looked
            await self._streams.close()

    async def _shake_hands(self) -> None:
        now_ns, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        try:
            for event in self.session.receive_control(self._greeting.data, now_ns, wall_ms):
                await self._handle(event)
        finally:
            flush_control(self.session, self._control)  # the refusal, if it is one

    async def _serve(self) -> None:
        appending = asyncio.ensure_future(self._appending.run())
        pumping = asyncio.ensure_future(self._pump())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            tasks = (appending, pumping, ending, self._failed)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            pumping.cancel()
            ending.cancel()
            # What is being appended must have ended before a successor asks for its cursors.
            self._appending.end()
            await asyncio.shield(asyncio.gather(appending, pumping, return_exceptions=True))

    async def take(self, wire: Wire, greeting: Greeting) -> None:
        """Take in a data connection."""
        if wire.peer != self._control.peer:
            raise WrongIdentityError(f"a data connection of {wire.peer} for {self._control.peer}")
        if len(self._streams.streams) >= STREAMS_MAX:
            raise UnexpectedMessageError(f"more than {STREAMS_MAX} data streams")
        wire.write(attached(greeting.stream))
        await wire.drain()
        self._streams.add(greeting.stream, wire.detach())

    def _guarded(self, action: Callable[[list[T]], None]) -> Callable[[list[T]], None]:
        """Let the session end by an error that comes up outside of its tasks."""

        def guarded(found: list[T]) -> None:
            try:
                action(found)
            except DwcpError as error:
                self._fail(error)
            else:
                self._flush()

        return guarded

    def _fail(self, error: DwcpError) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    def _flush(self) -> None:
        if not self._control.is_closing:
            flush_control(self.session, self._control)

    def _on_units(self, units: list[WholeUnit]) -> None:
        for unit in units:
            if unit.flow == STATE_FLOW:
                self._appending.put(self.session.take_unit(unit.payload))
            elif self._incoming.on_log_unit is not None:
                self._incoming.on_log_unit(self.session.peer_region, bytes(unit.payload))
            else:
                raise UnexpectedMessageError("nobody takes units of the log flow here")

    def _on_reports(self, reports: list[FlowReport]) -> None:
        self.session.hear(time.monotonic_ns())
        self.session.report(reports)
        self._objects.check()

    def _on_stream_end(self, stream: ReceiveStream) -> None:
        if stream.error is None or self.ended.is_set():
            return
        if is_breach(stream.error):
            self._fail(stream.error)
        else:  # damaged on its way: the sender sends on another stream what was not reported
            self._door.refuse(stream.error, self.session.peer_region)

    async def _pump(self) -> None:
        await pump_control(self.session, self._control, self.session.receive_control, self._handle)

    async def _handle(self, event: Event) -> None:
        match event:
            case HelloReceived(region=region, config_differs=differs):
                cursors = await self._door.open(self)
                status = self._door.status_of(self)
                status.state, status.error = "up", ""
                status.is_encrypted = self._control.is_encrypted
                status.sessions += 1
                status.cursors = cursors
                self._appending.status, self._appending.cursors = status, cursors
                if differs:
                    log.warning("link.config_differs", peer=region)
                self.session.welcome(cursors)
                flush_control(self.session, self._control)
            case HeartbeatDue():
                wall_ms = time.time_ns() // 1_000_000
                self.session.send_heartbeat(self._incoming.digest(), wall_ms, time.monotonic_ns())
            case HeartbeatReceived(digest, rtt_ms, ahead_ms):
                status = self._appending.status
                status.rtt_ms, status.clock_ahead_ms = rtt_ms, ahead_ms
                if digest is not None:
                    self._incoming.on_digest(self.session.peer_region, digest)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")
            case Urgent(header=header, payload=payload):
                self._streams.land(header, payload)
            case Offered():
                self._objects.on_offered(event)
            case SumKnown():
                self._objects.on_sum(event)


def _nobody(_: ReceivedObject) -> None:
    """Stand in for whoever takes objects."""
