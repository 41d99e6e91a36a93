"""The receiving end of our link in a measurement: counts units, asks how old they are."""

import asyncio
import contextlib
import os
import socket
import struct
import threading
import time
from typing import Any, Final

from benchmarks.link.worker import answer_marks
from schemas.errors import LinkError
from transport.aio.connection import flush_control, pump_control
from transport.aio.receiving import ReceiveStream, ReceiveStreams
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.amst.reassembly import FlowLimits, FlowReport, Reassembler, WholeUnit
from transport.frame import FrameType
from transport.session.control import LOG_FLOW, STATE_FLOW
from transport.session.events import (
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    HelloReceived,
    Identity,
    LinkSettings,
    Offered,
    SumKnown,
    Urgent,
)
from transport.session.handshake import Greeting, attached
from transport.session.inbound import InboundSession
from transport.session.objects import IncomingObjects, ReceivedObject, Shelf

UNIT_BYTES_MAX: Final = 16 << 20
BUFFER_BYTES: Final = 1 << 30  # what is reported out of its turn waits here, too
BULK_FLOW: Final = 1_000
STAMP: Final = struct.Struct("<4sQ")  # begins a unit whose age is asked: class, sent at (ns)
SETTINGS: Final = LinkSettings(heartbeat_ms=1_000, silence_ms=20_000)
_CLASSES: Final = {b"STAT": "state", b"LOG ": "log", b"BULK": "bulk"}


def identity(region: str) -> Identity:
    """Return who one end says it is."""
    return Identity("bench", region, f"{region}-1", "", 1)


class Receiver:
    """One session that takes units."""

    def __init__(self, tls: LinkTls | None = None) -> None:
        self._tls = tls
        self._received = 0
        self._arrived = threading.Condition()
        self._ages_ms: dict[str, list[float]] = {}
        self._heartbeats_s: list[float] = []
        self._session = InboundSession(identity("b"), SETTINGS, os.urandom(16), time.monotonic_ns())
        self._control: Wire | None = None
        limits = FlowLimits(BUFFER_BYTES, UNIT_BYTES_MAX)
        self._streams = ReceiveStreams(
            Reassembler(dict.fromkeys((STATE_FLOW, LOG_FLOW, BULK_FLOW), limits)),
            self._on_units,
            self._on_reports,
            self._on_stream_end,
        )
        self._objects = IncomingObjects(
            self._session, self._streams, Shelf(BUFFER_BYTES), self._on_object
        )

    async def run(self, host: str) -> None:
        """Take connections for ever."""
        listener = socket.create_server((host, 0), backlog=64)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        loop = asyncio.get_running_loop()
        commands = {
            "await": self._await,
            "latencies": self._latencies,
            "heartbeats": self._heartbeats,
        }
        port = listener.getsockname()[1]
        answer_marks({"port": port}, lambda: {"bytes": self._received}, commands)
        async with asyncio.TaskGroup() as tasks:
            while True:
                connection, _ = await loop.sock_accept(listener)
                tasks.create_task(self._take(Wire(connection)))

    async def _take(self, wire: Wire) -> None:
        if self._tls is not None:
            connection = await wire.shake_hands(self._tls.server_context(), is_server=True)
            wire.peer = self._tls.accepted(connection)
        greeting = Greeting()
        while greeting.kind is None:
            greeting.feed(await wire.read())
        if greeting.kind is FrameType.ATTACH:
            wire.write(attached(greeting.stream))
            await wire.drain()
            self._streams.add(greeting.stream, wire.detach())
            return
        self._control = wire
        for event in self._session.receive_control(greeting.data, time.monotonic_ns(), 0):
            await self._handle(event)
        with contextlib.suppress(LinkError):  # the sender's end is the end of a measurement
            await pump_control(self._session, wire, self._session.receive_control, self._handle)

    async def _handle(self, event: Event) -> None:
        match event:
            case HelloReceived():
                self._session.welcome({})
            case HeartbeatDue():
                self._session.send_heartbeat(None, 0, time.monotonic_ns())
            case HeartbeatReceived():
                self._heartbeats_s.append(time.monotonic())
            case Urgent(header=header, payload=payload):
                self._streams.land(header, payload)
            case Offered():
                self._objects.on_offered(event)
            case SumKnown():
                self._objects.on_sum(event)

    def _on_object(self, found: ReceivedObject) -> None:
        self._received += len(found.data)

    def _on_units(self, units: list[WholeUnit]) -> None:
        now_ns = time.monotonic_ns()
        with self._arrived:
            for unit in units:
                self._received += len(unit.payload)
                name = _CLASSES.get(bytes(unit.payload[:4]))
                if name is not None:
                    _, sent_ns = STAMP.unpack_from(unit.payload)
                    self._ages_ms.setdefault(name, []).append((now_ns - sent_ns) / 1e6)
            self._arrived.notify_all()

    def _on_reports(self, reports: list[FlowReport]) -> None:
        assert self._control is not None, "a data stream attached to a session"
        self._session.hear(time.monotonic_ns())
        self._session.report(reports)
        self._objects.check()
        flush_control(self._session, self._control)

    def _on_stream_end(self, stream: ReceiveStream) -> None:
        if stream.error is not None:
            raise stream.error

    def _await(self, words: list[str]) -> dict[str, Any]:
        wanted = int(words[0])
        with self._arrived:
            self._arrived.wait_for(lambda: self._received >= wanted)
        return {"bytes": self._received}

    def _latencies(self, _: list[str]) -> dict[str, Any]:
        with self._arrived:
            ages_ms, self._ages_ms = self._ages_ms, {}
        return {"latencies_ms": ages_ms}

    def _heartbeats(self, _: list[str]) -> dict[str, Any]:
        return {"heartbeats_s": list(self._heartbeats_s)}
