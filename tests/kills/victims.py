"""Whom faults hit, and how each one is carried out, repaired, and supervised."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import psutil

from dwcp.demo.cluster import DemoCluster, DemoRegion
from dwcp.demo.node import NodeProcess
from schemas.errors import NodeError
from tests.faults.proxy import FaultyLink
from tests.faults.schedule import Fault, Strike
from tests.faults.signals import pause, resume
from tests.support.waiting import pause_s

START_S: Final = 180.0  # of tries: its broker may be away, killed more than once
_WATCH_S: Final = 1.0
_RESET_BYTES_MAX: Final = 20_000

Repair = Callable[[Strike], Awaitable[None]]


@dataclass(slots=True)
class Notes:
    """What happened besides the faults.

    Attributes:
        back_s: Seconds from a kill to ready again, by fault.
        ended: Nodes that ended unasked, with their last words.
        failed_starts: How often a start failed and was repeated, by last words: Kafka was down,
            too, or it is a bug.
        resident_mib: Most memory seen, by process.
    """

    back_s: dict[str, list[float]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    failed_starts: dict[str, int] = field(default_factory=dict)
    resident_mib: dict[str, float] = field(default_factory=dict)


class Victims:
    """All processes and links of a cluster, each with a lock: one fault at a time for each.

    Args:
        cluster: Started, with `FaultyLink`s.
        seed: For choices inside of faults.
    """

    def __init__(self, cluster: DemoCluster, seed: int) -> None:
        self.notes = Notes()
        self._cluster = cluster
        self._dice = random.Random(seed)
        self._locks: dict[str, asyncio.Lock] = {}
        self._carry_out: dict[str, Repair] = {
            "kill node": self._kill_node,
            "kill broker": self._kill_broker,
            "kill both": self._kill_both,
            "pause node": self._pause_node,
            "pause broker": self._pause_broker,
            "stop node": self._stop_node,
            "reset links": self._reset_links,
            "cut links": self._cut_links,
            "half-open links": self._half_open_links,
        }

    @property
    def faults(self) -> list[Fault]:
        """What can happen, to whom, for how long; kills and pauses most of all."""
        regions = list(self._cluster.regions)
        nodes = [f"{r}/{n}" for r in regions for n in range(len(self._nodes(r)))]
        # A node's membership of its group times out after 6 s: longer pauses make zombies.
        return [
            Fault("kill node", nodes, (0.0, 2.0), weight=4),
            Fault("kill broker", regions, (0.0, 2.0), weight=3),
            Fault("kill both", nodes, (0.0, 2.0), weight=2),
            Fault("pause node", nodes, (1.0, 14.0), weight=2),
            Fault("pause broker", regions, (0.5, 8.0), weight=1),
            Fault("stop node", nodes, (0.0, 1.0), weight=1),
            Fault("reset links", regions, weight=1),
            Fault("cut links", regions, (0.5, 8.0), weight=1),
            Fault("half-open links", regions, weight=1),
        ]

    async def strike(self, strike: Strike) -> None:
        """Carry out a fault and repair what it broke; returns when all is up again."""
        await self._carry_out[strike.fault](strike)

    async def supervise(self) -> None:
        """Start nodes that end unasked, as a supervisor does, and watch memory; for ever."""
        while True:
            for region in self._cluster.regions.values():
                for number, node in enumerate(region.nodes):
                    lock = self._lock(f"{region.name}/{number}")
                    if not node.is_running and not lock.locked():
                        async with lock:
                            self.notes.ended.append(f"{node.name}: {_words(node)}")
                            await self._start(region, number)
                    self._measure(node.name, node.process.pid)
                self._measure(f"{region.name} broker", region.broker.pid)
            await pause_s(_WATCH_S)

    def _nodes(self, region: str) -> list[NodeProcess]:
        return self._cluster.regions[region].nodes

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _measure(self, name: str, pid: int | None) -> None:
        with contextlib.suppress(psutil.Error):
            mib = psutil.Process(pid).memory_info().rss / (1 << 20) if pid else 0.0
            self.notes.resident_mib[name] = max(self.notes.resident_mib.get(name, 0.0), mib)

    @contextlib.asynccontextmanager
    async def _node(self, strike: Strike) -> AsyncIterator[tuple[DemoRegion, int]]:
        region, _, number = strike.victim.partition("/")
        async with self._lock(strike.victim):
            yield self._cluster.regions[region], int(number)

    async def _start(self, region: DemoRegion, number: int) -> None:
        node = region.nodes[number]
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            try:
                await region.start_node(number)
            except NodeError as error:
                # A node that is still there was not ready in time: its last words do not say why.
                words = str(error).splitlines()[0 if node.is_running else -1].partition(":")[0]
                failed = self.notes.failed_starts
                failed[words] = failed.get(words, 0) + 1
                await node.stop()
            else:
                return
        raise NodeError(f"{node.name} did not start for {START_S:g} s:\n{node.last_words()}")

    async def _down_and_up(
        self, strike: Strike, end: Awaitable[object], start: Callable[[], Awaitable[None]]
    ) -> None:
        began_s = time.monotonic()
        await end
        await pause_s(strike.hold_s)
        await start()
        seconds = round(time.monotonic() - began_s - strike.hold_s, 3)
        self.notes.back_s.setdefault(strike.fault, []).append(seconds)

    async def _kill_node(self, strike: Strike) -> None:
        async with self._node(strike) as (region, number):
            region.nodes[number].kill()
            ended = region.nodes[number].process.wait()
            await self._down_and_up(strike, ended, lambda: self._start(region, number))

    async def _stop_node(self, strike: Strike) -> None:
        async with self._node(strike) as (region, number):
            ended = region.nodes[number].stop()
            await self._down_and_up(strike, ended, lambda: self._start(region, number))

    async def _kill_broker(self, strike: Strike) -> None:
        async with self._lock(strike.victim):
            broker = self._cluster.regions[strike.victim].broker
            broker.kill()
            await self._down_and_up(strike, broker.wait_died(), broker.start)

    async def _kill_both(self, strike: Strike) -> None:
        name = strike.victim.partition("/")[0]
        async with self._node(strike) as (region, number), self._lock(name):
            for victim in (region.nodes[number], region.broker):
                victim.kill()
            ended = asyncio.gather(region.nodes[number].process.wait(), region.broker.wait_died())

            async def start() -> None:
                await asyncio.gather(region.broker.start(), self._start(region, number))

            await self._down_and_up(strike, ended, start)

    async def _pause_node(self, strike: Strike) -> None:
        async with self._node(strike) as (region, number):
            await _pause(region.nodes[number].process.pid, strike.hold_s)

    async def _pause_broker(self, strike: Strike) -> None:
        async with self._lock(strike.victim):
            pid = self._cluster.regions[strike.victim].broker.pid
            assert pid is not None
            await _pause(pid, strike.hold_s)

    async def _reset_links(self, strike: Strike) -> None:
        for link in self._links(strike.victim):
            link.reset_after(self._dice.randrange(_RESET_BYTES_MAX))

    async def _cut_links(self, strike: Strike) -> None:
        async with self._lock(f"links of {strike.victim}"):
            links = self._links(strike.victim)
            for link in links:
                link.cut(self._dice.choice(("both", "forward", "backward")))
            await pause_s(strike.hold_s)
            for link in links:
                link.heal()

    async def _half_open_links(self, strike: Strike) -> None:
        for link in self._links(strike.victim):
            link.half_open(gone=self._dice.choice(("client", "target")))

    def _links(self, region: str) -> list[FaultyLink]:
        links = list(self._cluster.links_of(region))
        return [link for link in links if isinstance(link, FaultyLink)]


def _words(node: NodeProcess) -> str:
    lines = node.last_words().splitlines()
    return f"exit code {node.process.exit_code}: {lines[-1] if lines else 'silent'}"


async def _pause(pid: int, seconds: float) -> None:
    pause(pid)
    try:
        await pause_s(seconds)
    finally:
        resume(pid)
