"""The sending end of our link in a measurement: a session, its streams, and what it sends."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.link.raw import counters
from benchmarks.link.receiving_end import BULK_FLOW, SETTINGS, STAMP, identity
from benchmarks.link.worker import answer_marks
from connectors.memory import MemoryCluster, MemoryLog
from streams import topics
from streams.agents.status import SenderStatus
from streams.agents.steering import LinkSteering, Steered
from transport.aio.connection import dial, flush_control, pump_control
from transport.aio.keeper import StreamKeeper, StreamSettings, Target
from transport.aio.options import SocketOptions
from transport.aio.sending import SendStream, SendStreams
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.amst.objects import OutgoingObject
from transport.amst.scheduler import SendScheduler
from transport.amst.stream_count import StreamLimits
from transport.amst.traffic import Traffic
from transport.frame import UNIT_FRAME_BYTES_MAX
from transport.session.control import LOG_FLOW, STATE_FLOW
from transport.session.events import (
    Established,
    Event,
    HeartbeatDue,
    ObjectTaken,
    Reported,
    Wanted,
)
from transport.session.objects import OutgoingObjects
from transport.session.outbound import OutboundSession

UNIT_BYTES: Final = 1 << 20
UNIT_BYTES_MOST: Final = UNIT_FRAME_BYTES_MAX  # so that each is one frame
WINDOW_BYTES: Final = 64 << 20  # more than any path here holds: the link is what limits
AHEAD_BYTES: Final = 32 << 20  # half of what a link lets wait
OBJECT_BYTES: Final = 32 << 20
OBJECTS_AHEAD: Final = 4
FLOWS: Final = {Traffic.STATE: STATE_FLOW, Traffic.LOG: LOG_FLOW, Traffic.BULK: BULK_FLOW}
_MARKS: Final = {Traffic.STATE: b"STAT", Traffic.LOG: b"LOG ", Traffic.BULK: b"BULK"}


class Sender:
    """One session that sends.

    Args:
        stream_count: Data streams; 0 lets the link find their number.
        control: Congestion control to ask for; empty leaves the system's.
        loads: What to send; see `benchmarks.link.ours`.
        tls: How to encrypt; None: plain.
    """

    def __init__(
        self, stream_count: int, control: str, loads: list[str], tls: LinkTls | None = None
    ) -> None:
        self._session = OutboundSession(identity("a"), "b", SETTINGS, time.monotonic_ns())
        scheduler = SendScheduler()
        for flow in FLOWS.values():
            scheduler.open_flow(flow, WINDOW_BYTES)
        wanted = (control,) if control else ()
        self._settings = StreamSettings(
            count=max(1, stream_count), options=SocketOptions(congestion_control=wanted)
        )
        self._streams = SendStreams(scheduler, self._settings.options, self._on_stream_end)
        self._loads = loads
        self._tls = tls
        self._opened = asyncio.Event()
        self._reported = asyncio.Event()
        self._waiting: list[OutgoingObject] = []
        self._objects = OutgoingObjects(self._session, self._streams, self._waiting)
        self._content = b""
        self._unit = b"\0" * 4 + os.urandom(UNIT_BYTES_MOST - 4)
        self._is_searching = not stream_count
        self._began_s = time.monotonic()
        self._control: Wire
        self.keeper: StreamKeeper
        self.status = SenderStatus("b", "", node="b-1")
        self._log = MemoryLog(MemoryCluster(lambda: 0))
        steered = Steered("a", "a-1", "b", self._log, StreamLimits(most=16))
        self._steering = LinkSteering(steered)

    async def run(self, address: str) -> None:
        """Send for ever."""
        await self._log.create_topics(topics.topic_specs(topics.TopicSettings(1)))
        self._control = await dial(address, 10, self._tls, "b")
        target = Target("b", self._tls, self._session.attach)
        self.keeper = StreamKeeper(self._streams, target, self._settings, address)
        async with asyncio.TaskGroup() as tasks:
            receive = self._session.receive_control
            tasks.create_task(pump_control(self._session, self._control, receive, self._handle))
            await self._opened.wait()
            tasks.create_task(self.keeper.run())
            if self._is_searching:
                tasks.create_task(self._steering.run(self))
            for load in self._loads:
                tasks.create_task(self._carry(load))
            loop = asyncio.get_running_loop()
            answer_marks(
                {"streams": self.keeper.target_count},
                self._snapshot,
                {
                    "block": lambda words: _on_loop(loop, self._block, int(words[0])),
                    "pace": lambda words: _on_loop(loop, self._streams.set_pacing, float(words[0])),
                    "samples": lambda _: {"samples": self._steering.to_json()["samples"]},
                },
            )

    async def _carry(self, load: str) -> None:
        if load == "objects":
            self._offer()
        elif load in ("full", "bulk"):
            await self._fill(Traffic.STATE if load == "full" else Traffic.BULK)
        else:
            name, per_s, size_bytes = load.split(":")
            await self._tick(Traffic[name.upper()], float(per_s), int(size_bytes))

    def _offer(self) -> None:
        """Keep some objects waiting; each of the same bytes, under a name of its own."""
        if not self._content:
            self._content = os.urandom(OBJECT_BYTES)
        while len(self._waiting) < OBJECTS_AHEAD:
            self._waiting.append(OutgoingObject(os.urandom(16), "bench", self._content))
        self._objects.offer()
        self._flush()

    async def _fill(self, traffic: Traffic) -> None:
        """Keep enough waiting that no data stream ever starves; a unit is one frame."""
        scheduler = self._streams.scheduler
        while True:
            self._reported.clear()
            while scheduler.queue_bytes[traffic] < AHEAD_BYTES:
                size_bytes = scheduler.frame_size.payload_bytes
                unit = memoryview(self._unit)[:size_bytes]
                self._streams.submit(FLOWS[traffic], traffic, unit)
            await self._reported.wait()

    async def _tick(self, traffic: Traffic, per_s: float, size_bytes: int) -> None:
        """Submit a small unit now and then, with the time in it."""
        padding = os.urandom(size_bytes - STAMP.size)
        due_s = time.monotonic()
        while True:
            due_s += 1 / per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            stamp = STAMP.pack(_MARKS[traffic], time.monotonic_ns())
            self._streams.submit(FLOWS[traffic], traffic, stamp + padding)
            self._flush()

    def _flush(self) -> None:
        """Let small urgent frames go out on the control connection, as a node does."""
        flush_control(self._session, self._control)
        urgent = self._streams.urgent_to_send()
        if urgent:
            self._control.write(urgent)

    def _block(self, size_bytes: int) -> None:
        for start in range(0, size_bytes, UNIT_BYTES):
            size = min(UNIT_BYTES, size_bytes - start)
            self._streams.submit(STATE_FLOW, Traffic.STATE, self._unit[:size])

    async def _handle(self, event: Event) -> None:
        match event:
            case Established():
                self._opened.set()
            case Reported(reports=reports):
                self._streams.on_reports(reports)
                self._reported.set()
                for flow, done in self._objects.sums_due():
                    self._session.tell_sum(flow, done.sum())
                self._flush()
            case Wanted():
                self._objects.on_wanted(event)
            case ObjectTaken():
                self._objects.on_taken(event)
                self._offer()
            case HeartbeatDue():
                self._session.send_heartbeat(None, 0, time.monotonic_ns())

    def _on_stream_end(self, stream: SendStream) -> None:
        self.keeper.on_stream_end(stream)

    def _snapshot(self) -> dict[str, Any]:
        own = counters([one.connection for one in list(self._streams.streams.values())])
        search = self._steering.search
        if search is not None:
            changes = [one for one in search.decisions if one.before != one.after]
            own["settled_s"] = round(changes[-1].at_ns / 1e9 - self._began_s, 1)
            own["decisions"] = [f"{one.before}-{one.after} {one.reason}" for one in changes]
        return own


def _on_loop(
    loop: asyncio.AbstractEventLoop, call: Callable[[Any], Any], argument: float
) -> dict[str, Any]:
    """Do something on the loop, and say nothing but when."""
    loop.call_soon_threadsafe(call, argument)
    return {}
