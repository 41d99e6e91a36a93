"""Keeps a session's data streams: dials, attaches, spreads them over paths, replaces the dead."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from schemas.errors import LinkClosedError, LinkError, PeerRefusedError
from transport.aio.connection import dial
from transport.aio.options import SocketOptions, expected_control
from transport.aio.sending import SendStream, SendStreams
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.amst.limits import SchedulerLimits
from transport.amst.spread import Dial, Retire, next_step
from transport.frame import FrameDecoder
from transport.session.handshake import UNKNOWN_SESSION, check_attached

log = structlog.get_logger(__name__)

STREAMS_MAX: Final = 16
BACKOFF_S: Final = (0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a node wants of its data streams.

    Attributes:
        count: How many a session begins with; `StreamKeeper.set_data_streams` changes it.
        connect_ms: From dialling to the answer.
        drain_ms: What is under way when a session ends in order is waited for so long.
        limits: Sizes and times of the scheduler.
        options: What is asked of the kernel.
    """

    count: int = 1
    connect_ms: int = 5_000
    drain_ms: int = 2_000
    limits: SchedulerLimits = field(default_factory=SchedulerLimits)
    options: SocketOptions = field(default_factory=SocketOptions)


@dataclass(frozen=True, slots=True)
class Target:
    """Whose session it is: the region, how it is encrypted, what ATTACH n is."""

    region: str
    tls: LinkTls | None
    attach: Callable[[int], bytes]


class StreamKeeper:
    """The data streams of one session, for whoever steers them.

    Args:
        streams: The streams.
        target: Whose session it is.
        settings: What the node wants.
        path: First address of the peer's node.

    Attributes:
        streams: Sockets, counters, queues, pacing and shares.
        target_count: How many streams there should be.
        paths: Addresses of the peer's node.
    """

    def __init__(
        self, streams: SendStreams, target: Target, settings: StreamSettings, path: str
    ) -> None:
        self.streams = streams
        self.paths = [path]
        self.target_count = settings.count
        self._target = target
        self._settings = settings
        self._down: dict[str, tuple[int, float]] = {}  # path: failures, dial again at
        self._dialling: set[str] = set()
        self._number = 0
        self._changed = asyncio.Event()

    @property
    def congestion_control(self) -> str:
        """Who steers the streams, as this machine has it; empty where it does not say."""
        return expected_control(self._settings.options)

    def set_data_streams(self, count: int) -> None:
        """Change how many there are; surplus ones end when all that they hold is reported."""
        assert 1 <= count <= STREAMS_MAX, f"{count} data streams, 1 to {STREAMS_MAX} may be"
        if count != self.target_count:
            log.info("streams.target", peer=self._target.region, count=count)
        self.target_count = count
        self._changed.set()

    def on_stream_end(self, stream: SendStream) -> None:
        """Replace a stream that died; for `SendStreams`."""
        if not stream.is_retiring:
            log.info("stream.lost", peer=self._target.region, path=stream.path, error=stream.error)
        self._changed.set()

    async def join(self, path: str) -> bool:
        """Attach a stream by another address; False when another node answers there.

        Raises:
            LinkError: Nobody does.
        """
        try:
            await self._attach(path)
        except PeerRefusedError as error:
            if error.reason_code == UNKNOWN_SESSION:
                return False
            raise
        if path not in self.paths:
            self.paths.append(path)
            log.info("path.joined", peer=self._target.region, path=path, paths=len(self.paths))
        self._changed.set()
        return True

    async def run(self) -> None:
        """Keep the streams until the session ends; never returns.

        Raises:
            LinkClosedError: The peer does not know the session any more.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                step = next_step(self._serving(), self._resting(), self.target_count)
                match step:
                    case Dial(path=path):
                        self._dialling.add(path)
                        tasks.create_task(self._try(path))
                    case Retire(stream=number):
                        self.streams.retire(number)
                    case None:
                        await self._wait()

    async def _try(self, path: str) -> None:
        """Attach one stream; a path that cannot be reached holds no other up."""
        try:
            await self._attach(path)
        except PeerRefusedError as error:
            raise LinkClosedError(f"the peer ended the session: {error}") from error
        except LinkError as error:
            failures = self._down.get(path, (0, 0.0))[0]
            pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            self._down[path] = (failures + 1, self._now_s() + pause_s)
            if not failures:
                log.warning("path.down", peer=self._target.region, path=path, error=str(error))
        else:
            self._down.pop(path, None)
        finally:
            self._dialling.discard(path)
            self._changed.set()

    async def _attach(self, path: str) -> None:
        self._number += 1
        number = self._number
        timeout_s = self._settings.connect_ms / 1_000
        wire = await dial(path, timeout_s, self._target.tls, self._target.region)
        try:
            async with asyncio.timeout(timeout_s):
                wire.write(self._target.attach(number))
                await _read_answer(wire, number)
        except TimeoutError as error:
            wire.close()
            raise LinkClosedError(f"{path}: no answer to ATTACH") from error
        except BaseException:
            wire.close()
            raise
        self.streams.add(number, wire.detach(), path)

    async def _wait(self) -> None:
        """Wait for a change, or until a path that is down may be tried again."""
        now_s = self._now_s()
        rests = [until - now_s for _, until in self._down.values() if until > now_s]
        timeout_s = min(rests, default=None)
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _serving(self) -> dict[str, list[int]]:
        serving: dict[str, list[int]] = {path: [] for path in self.paths}
        for number, stream in self.streams.streams.items():
            if not stream.is_retiring:
                serving[stream.path].append(number)
        return serving

    def _resting(self) -> frozenset[str]:
        now_s = self._now_s()
        resting = {path for path, (_, until) in self._down.items() if until > now_s}
        return frozenset(resting | self._dialling)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


async def _read_answer(wire: Wire, number: int) -> None:
    decoder = FrameDecoder()
    while True:
        frames = decoder.feed(await wire.read())
        if frames:
            check_attached(frames[0], number)
            return
