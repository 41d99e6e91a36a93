"""Two regions with logs in memory and real sockets between them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from connectors.log import LogRecord, NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from streams import topics
from streams.agents.incoming import Incoming
from streams.agents.outgoing import LinkSession, Outgoing
from streams.agents.receiver import Receiver
from streams.agents.replica import Replica
from streams.agents.sender import run_sender
from streams.agents.status import SenderStatus
from tests.support.kafka import free_port
from transport.aio.tls import LinkTls
from transport.frame import Frame, FrameDecoder
from transport.session.events import Identity, LinkSettings
from transport.session.objects import ReceivedObject, Shelf

PARTITION_COUNT: Final = 4
SETTINGS: Final = LinkSettings(heartbeat_ms=50, silence_ms=500, credit_bytes=1 << 20)


class GatedLog(MemoryLog):
    """Appends to `topic` while its gate is open, and fails as it is told.

    Attributes:
        waiting: Appends that stand before the gate.
        fail_before: Raised once, before something is written.
        fail_after: Raised once, after it was written: the answer is lost.
    """

    def __init__(self, cluster: MemoryCluster, topic: str) -> None:
        super().__init__(cluster)
        self._topic = topic
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.fail_before: Exception | None = None
        self.fail_after: Exception | None = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        if topic != self._topic:
            return await super().append(topic, partition, records)
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        before, self.fail_before = self.fail_before, None
        if before is not None:
            raise before
        offsets = await super().append(topic, partition, records)
        after, self.fail_after = self.fail_after, None
        if after is not None:
            raise after
        return offsets


class Region:
    """A region's log, store and listener.

    Args:
        name: Its id.
        limits: Largest record of a topic, where it is not the usual one.
    """

    def __init__(self, name: str, limits: Mapping[str, int] = MappingProxyType({})) -> None:
        self.name = name
        self.cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
        self.log = GatedLog(self.cluster, topics.REPLICA)
        settings = topics.TopicSettings(PARTITION_COUNT)
        for spec in topics.topic_specs(settings):
            limit = str(limits.get(spec.name, spec.settings.get("max.message.bytes", 1 << 20)))
            self.cluster.create(
                replace(spec, settings={**spec.settings, "max.message.bytes": limit})
            )
        self.replica = Replica(name, PARTITION_COUNT, self.log)
        self.replica.on_lost = lambda p, _: self._retakes.append(
            asyncio.ensure_future(self._retake(p))
        )
        self._retakes: list[asyncio.Task[None]] = []
        self.identity = Identity("test", name, f"{name}-1", "hash", PARTITION_COUNT)
        self.address = f"127.0.0.1:{free_port()}"
        self.heard: list[str] = []
        self.tls: LinkTls | None = None  # plain, where TLS is not the subject
        self.shelf: Shelf | None = None
        self.objects: list[ReceivedObject] = []
        self.log_units: list[bytes] = []

    def digest(self) -> Any:
        return self.replica.store.digest().to_record()

    async def _retake(self, partition: int) -> None:
        await self.replica.drop(partition)
        await self.replica.take(partition)

    @contextlib.asynccontextmanager
    async def listening(self, settings: LinkSettings = SETTINGS) -> AsyncIterator[Receiver]:
        """Listen for peers."""
        if not self.replica.held:
            await self.replica.restore()
        receiver = Receiver(
            Incoming(
                lambda: self.identity,
                settings,
                self.log,
                self.replica,
                self.digest,
                lambda peer, _: self.heard.append(peer),
                self.tls,
                self.shelf,
                self.objects.append,
                lambda _, unit: self.log_units.append(unit),
            )
        )
        await receiver.start(self.address)
        try:
            yield receiver
        finally:
            self.log.gate.set()
            await receiver.stop()
            await asyncio.gather(*self._retakes)

    async def produce(self, count: int, *, value_bytes: int = 100) -> None:
        """Append records to every partition of the state topic."""
        for partition in range(PARTITION_COUNT):
            _, end = self.cluster.offsets(topics.STATE)[partition]
            await self.log.append(
                topics.STATE,
                partition,
                [numbered(partition, end + n, value_bytes) for n in range(count)],
            )

    def stored(self, topic: str, partition: int) -> list[LogRecord]:
        """Return all records of a partition."""
        start, end = self.cluster.offsets(topic)[partition]
        return self.cluster.read(topic, partition, start, end).records

    def count(self, topic: str) -> int:
        return sum(len(self.stored(topic, p)) for p in range(len(self.cluster.offsets(topic))))


def numbered(partition: int, offset: int, value_bytes: int) -> NewRecord:
    text = b"%d/%d " % (partition, offset)
    return NewRecord(text, text * (value_bytes // len(text)), (("n", text), ("n", b"")))


def has_all(target: Region, source: Region) -> Callable[[], bool]:
    """Return a question: does the target hold as many records as the source?"""
    return lambda: target.count(topics.REPLICA) >= source.count(topics.STATE)


def assert_same(target: Region, source: Region) -> None:
    """Check that each record stands there once, in order, with its origin beside it."""
    for partition in range(PARTITION_COUNT):
        origins = source.stored(topics.STATE, partition)
        expected = [
            (
                record.record_time_ms,
                record.key,
                record.value,
                (
                    *record.headers,
                    ("dwcp-origin-region", source.name.encode()),
                    ("dwcp-origin-partition", b"%d" % partition),
                    ("dwcp-origin-offset", b"%d" % record.offset),
                ),
            )
            for record in origins
        ]
        assert [tuple(r[1:]) for r in target.stored(topics.REPLICA, partition)] == expected


@dataclass
class Link:
    """A running sender."""

    outgoing: Outgoing
    task: "asyncio.Task[None]"
    sessions: list[LinkSession]

    @property
    def session(self) -> LinkSession:
        """The newest session."""
        return self.sessions[-1]

    @property
    def status(self) -> SenderStatus:
        return self.outgoing.status

    async def cut(self) -> None:
        """End the sender, as its node would."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def shipping(
    source: Region,
    peer: str,
    address: str,
    *,
    settings: LinkSettings = SETTINGS,
    identity: Identity | None = None,
    **more: Any,
) -> AsyncIterator[Link]:
    """Run a sender from `source` to the region `peer` at `address`.

    Args:
        source: Whose log.
        peer: Region to reach.
        address: Where it listens.
        settings: Limits and timers.
        identity: Who we say we are.
        more: Further fields of `Outgoing`.
    """
    sessions: list[LinkSession] = []

    async def note(session: LinkSession) -> None:
        sessions.append(session)

    status = SenderStatus(peer, address)
    outgoing = Outgoing(
        lambda: identity or source.identity,
        settings,
        source.log,
        source.digest,
        lambda peer, _: source.heard.append(peer),
        0,
        status,
        source.tls,
        **{"steer": note, **more},
    )
    link = Link(outgoing, asyncio.ensure_future(run_sender(outgoing)), sessions)
    try:
        yield link
    finally:
        await link.cut()


@dataclass
class Relay:
    """Passes on frames of a link, and may change them on their way to the listener.

    Attributes:
        address: Of the listener.
        tamper: Gets every frame of the sender and returns the bytes to pass on.
    """

    address: str
    tamper: Callable[[Frame], bytes]

    @contextlib.asynccontextmanager
    async def listening(self, at: str = "") -> AsyncIterator[str]:
        """Listen, at an address or wherever there is room, and return where."""
        tasks: set[asyncio.Task[None] | None] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            host, _, port = self.address.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            pumps = [
                asyncio.ensure_future(self._forward(reader, far_writer)),
                asyncio.ensure_future(_copy(far_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                far_writer.transport.abort()
                writer.transport.abort()

        port = int(at.rpartition(":")[2] or 0)
        server = await asyncio.start_server(accept, "127.0.0.1", port)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in tasks:
                assert task is not None
                task.cancel()
            await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = FrameDecoder()
        while data := await reader.read(1 << 16):
            for frame in decoder.feed(data):
                writer.write(self.tamper(frame))
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
