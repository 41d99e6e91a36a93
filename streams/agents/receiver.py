"""The listening side of all links: takes peers' logs into our replica topic.

For each origin one session at a time. A unit is decoded in a thread, appended with its origin in
headers, and acknowledged when our Kafka has it. Cursors come from the replica topic itself, so a
crash between append and acknowledgement leaves nothing twice.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from connectors.log import Log, NewRecord, RecordRange
from schemas.errors import (
    BadUnitError,
    DwcpError,
    LinkClosedError,
    PeerSilentError,
    RecordTooLargeError,
    UnexpectedMessageError,
)
from schemas.registry import Record
from streams import topics
from streams.agents.replica import Replica
from streams.agents.status import ReceiverStatus
from streams.replication import decode_batch, replica_records
from transport.aio.connection import Wire, flush_control, pump_control, read_some, split_address
from transport.frame import FrameType
from transport.session.events import (
    Event,
    HeartbeatDue,
    HeartbeatReceived,
    HelloReceived,
    Identity,
    LinkSettings,
    PeerLeft,
    Unit,
)
from transport.session.handshake import Greeting
from transport.session.inbound import InboundSession

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the receiver needs; see `streams.agents.sender.Outgoing`."""

    identity: Identity
    settings: LinkSettings
    log: Log
    replica: Replica
    digest: Callable[[], Record]
    on_digest: Callable[[str, Record], None]


class Receiver:
    """Listens for peers.

    Attributes:
        status: By origin region.
        refused: Connections turned away since the start, by reason.
    """

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.status: dict[str, ReceiverStatus] = {}
        self.refused: dict[str, int] = {}
        self._by_token: dict[bytes, _Taking] = {}
        self._by_origin: dict[str, _Taking] = {}
        self._connections: dict[asyncio.Task[None], Wire] = {}
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        """Listen on `host:port`; `OSError` when that is not possible."""
        host, port = split_address(address)
        self._server = await asyncio.start_server(self._accept, host, port)

    async def stop(self) -> None:
        """Stop listening and end all sessions; what is being appended is waited for."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._connections)
        for wire in self._connections.values():
            wire.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        wire = Wire(reader, writer)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._refuse("TooManyConnections", f"{CONNECTIONS_MAX} are open")
            wire.close()
            return
        self._connections[task] = wire
        try:
            await self._serve(wire)
        except LinkClosedError as error:
            log.info("connection.closed", error=str(error))
        except DwcpError as error:
            self._refuse(error.reason, str(error))
        finally:
            del self._connections[task]
            writer.close()

    def _refuse(self, reason: str, text: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        log.warning("connection.ended", reason=reason, error=text)

    async def _serve(self, wire: Wire) -> None:
        greeting = Greeting()
        kind = None
        try:
            async with asyncio.timeout(self.incoming.settings.silence_ms / 1_000):
                while kind is None:
                    kind = greeting.feed(await read_some(wire))
        except TimeoutError as error:
            raise PeerSilentError("a connection that said nothing") from error
        if kind is FrameType.HELLO:
            await _Taking(self, wire, greeting).run()
            return
        taking = self._by_token.get(greeting.token)
        if taking is None:
            raise UnexpectedMessageError("a data connection with a token of no session")
        await taking.take(wire, greeting)

    async def open(self, taking: "_Taking") -> dict[int, int]:
        """Let a session in and return its cursors; an older one of the same origin ends first."""
        origin = taking.session.peer_region
        # Again and again: several may have waited for the same one, and each has to be the only.
        while (older := self._by_origin.get(origin)) is not None and not older.ended.is_set():
            older.end()
            await older.ended.wait()
        self._by_origin[origin] = taking
        self._by_token[taking.session.token] = taking
        return await self.incoming.replica.cursors(origin)

    def forget(self, taking: "_Taking") -> None:
        """Drop a session that ended."""
        self._by_token.pop(taking.session.token, None)


class _Taking:
    """One session with one origin."""

    def __init__(self, receiver: Receiver, wire: Wire, greeting: Greeting) -> None:
        self._receiver = receiver
        self._incoming = receiver.incoming
        self._control = wire
        self._data: Wire | None = None
        self._greeting = greeting
        self.session = InboundSession(
            self._incoming.identity, self._incoming.settings, os.urandom(16), time.monotonic_ns()
        )
        self.ended = asyncio.Event()
        # Bounded by the credit: the session refuses units beyond it.
        self._units: asyncio.Queue[Unit | None] = asyncio.Queue()
        self._cursors: dict[int, int] = {}
        self._status = ReceiverStatus("")
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ask the session to end; `ended` says when nothing of it is under way any more."""
        self._ending.set()

    async def run(self) -> None:
        """Serve the control connection, and append, until something fails."""
        try:
            await self._shake_hands()
            await self._serve()
        except DwcpError as error:
            self._status.error = f"{error.reason}: {error}"
            raise
        finally:
            self._status.state = "down"
            self._receiver.forget(self)
            self.ended.set()
            if self._data is not None:  # of a peer that hangs, nobody else would
                self._data.close()

    async def _shake_hands(self) -> None:
        now_ns, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        try:
            for event in self.session.receive_control(self._greeting.data, now_ns, wall_ms):
                await self._handle(event)
        finally:
            flush_control(self.session, self._control)  # the refusal, if it is one

    async def _serve(self) -> None:
        appending = asyncio.ensure_future(self._append_units())
        pumping = asyncio.ensure_future(self._pump())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            tasks = (appending, pumping, ending)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            pumping.cancel()
            ending.cancel()
            # What is being appended must have ended before a successor asks for its cursors.
            self._units.put_nowait(None)
            await asyncio.shield(asyncio.gather(appending, pumping, return_exceptions=True))

    async def take(self, wire: Wire, greeting: Greeting) -> None:
        """Serve the data connection."""
        units = self.session.adopt(greeting, time.monotonic_ns())
        self._data = wire
        try:
            for unit in units:
                self._units.put_nowait(unit)
            while not self.ended.is_set():
                data = await read_some(wire)
                for unit in self.session.receive_data(data, time.monotonic_ns()):
                    self._units.put_nowait(unit)
        except DwcpError as error:
            if not self.ended.is_set():
                self._status.error = f"{error.reason}: {error}"
            raise
        finally:
            self.end()

    async def _pump(self) -> None:
        await pump_control(self.session, self._control, self.session.receive_control, self._handle)

    async def _handle(self, event: Event) -> None:
        match event:
            case HelloReceived(region=region, config_differs=differs):
                status = self._receiver.status.setdefault(region, ReceiverStatus(region))
                self._cursors = await self._receiver.open(self)
                status.state, status.error = "up", ""
                status.sessions += 1
                status.cursors = self._cursors
                self._status = status
                if differs:
                    log.warning("link.config_differs", peer=region)
                self.session.welcome(self._cursors)
                flush_control(self.session, self._control)
            case HeartbeatDue():
                wall_ms = time.time_ns() // 1_000_000
                self.session.send_heartbeat(self._incoming.digest(), wall_ms, time.monotonic_ns())
            case HeartbeatReceived(digest, rtt_ms, ahead_ms):
                self._status.rtt_ms, self._status.clock_ahead_ms = rtt_ms, ahead_ms
                if digest is not None:
                    self._incoming.on_digest(self.session.peer_region, digest)
            case PeerLeft(text=text):
                raise LinkClosedError(f"the peer said goodbye: {text}")

    async def _append_units(self) -> None:
        while (unit := await self._units.get()) is not None:
            try:
                raw = await asyncio.to_thread(self.session.decode, unit)
                # A dropped unit is answered, too: else its credit would be gone for ever.
                for part in decode_batch(raw) if raw is not None else ():
                    await self._append(part)
            except BadUnitError as error:
                log.warning("unit.refused", peer=self.session.peer_region, error=str(error))
                self._status.refused_epochs += 1
                self.session.refuse_epoch(unit, str(error), self._cursors)
            else:
                self._status.units += 1
                self._status.encoded_bytes += len(unit.payload)
                self.session.acknowledge(unit, self._cursors)
            flush_control(self.session, self._control)

    async def _append(self, part: RecordRange) -> None:
        origin = self.session.peer_region
        records = replica_records(origin, part, self._cursors)
        if records:
            try:
                await self._incoming.log.append(topics.REPLICA, part.partition, records)
            except RecordTooLargeError:
                await self._append_singly(part, records)
        self._status.records += len(records)
        self._cursors[part.partition] = max(self._cursors[part.partition], part.to_offset)

    async def _append_singly(self, part: RecordRange, records: list[NewRecord]) -> None:
        """Append what our topic takes; bury what it does not."""
        kept = part.records[len(part.records) - len(records) :]
        for record, new in zip(kept, records, strict=True):
            try:
                await self._incoming.log.append(topics.REPLICA, part.partition, [new])
            except RecordTooLargeError as error:
                origin = self.session.peer_region
                await self._incoming.replica.bury(origin, part.partition, record, error)
