"""A region: its Kafka, which lives on, and its node, which may die and come back.

The node is the shells of `streams.agents` without sockets and event loop: the real `Replica`, and
links as `tests.simulation.sending` and `.receiving` drive the real sessions.
"""

import contextlib
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from connectors.log import LogRecord
from connectors.memory import MemoryCluster
from schemas.errors import LogError
from streams import topics
from streams.agents.replica import Replica
from streams.node import Gossip
from streams.topics import TopicSettings, topic_specs
from tests.simulation.checker import Checker
from tests.simulation.network import Network
from tests.simulation.receiving import Receiver
from tests.simulation.sending import Sender
from tests.simulation.stepping import Job, SteppedLog
from tests.simulation.timeline import Action, Timeline
from transport.session.events import Identity, LinkSettings

FOLDED = (topics.STATE, topics.REPLICA)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a seed decides once for a whole schedule.

    Attributes:
        settings: Limits and timers of all links.
        flush_ms: Least time between units.
        batch_bytes_max: About how much a unit carries.
        lag_ms: Mean time until a node gets to its next record or unit.
        snapshot_ms: Mean time between snapshots.
        is_fenced: Nodes write in transactions.
    """

    partition_count: int
    settings: LinkSettings
    flush_ms: float
    batch_bytes_max: int
    lag_ms: float
    snapshot_ms: float
    is_fenced: bool


@dataclass(frozen=True, slots=True)
class World:
    """What all actors share."""

    timeline: Timeline
    network: Network
    checker: Checker
    profile: Profile
    regions: list[str]


class Region:
    """A region's Kafka, and its node while one runs.

    Attributes:
        skew_ms: How far the broker's clock is ahead.
        committed: Next offset that the consumer group would read, by topic and partition.
        node: None while it is down.
    """

    def __init__(self, world: World, name: str, dice: Random) -> None:
        self.world = world
        self.name = name
        self.dice = dice
        self.skew_ms = dice.randint(-300, 300)
        self.cluster = MemoryCluster(self.wall_ms)
        settings = TopicSettings(partition_count=world.profile.partition_count)
        for spec in topic_specs(settings):
            self.cluster.create(spec)
        self.committed = {
            (topic, p): 0 for topic in FOLDED for p in range(world.profile.partition_count)
        }
        self.node: Node | None = None

    def wall_ms(self) -> int:
        """Return what the broker's clock shows."""
        return self.world.timeline.wall_ms + self.skew_ms

    def start(self) -> None:
        """Start the node, unless it runs."""
        if self.node is None:
            self.node = Node(self)

    def kill(self) -> None:
        """Let the node lose all it has in memory, at once."""
        if self.node is not None:
            self.node.die()
            self.node = None

    def wake(self) -> None:
        """Tell the node that somebody wrote into the region's Kafka."""
        if self.node is not None:
            self.node.wake()


class Node:
    """One life of a region's node.

    Attributes:
        is_up: Restored and running, not dead.
        slow_factor: Makes everything this node does later.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.world = region.world
        self.dice = region.dice
        self.is_up = False
        self.is_dead = False
        self.slow_factor = 1.0
        count = self.world.profile.partition_count
        self.log = SteppedLog(region.cluster, region.dice)
        is_fenced = self.world.profile.is_fenced
        self.replica = Replica(region.name, count, self.log, is_fenced=is_fenced)
        self.replica.on_lost = lambda partition, _: self.later(lambda: self._retake(partition))
        self.gossip = Gossip(self.replica.store)
        self.identity = Identity("simulation", region.name, f"{region.name}-1", "hash", count)
        self.receiver = Receiver(self)
        self.senders = {p: Sender(self, p) for p in self.world.regions if p != region.name}
        self.folds = {topic: Fold(self, topic) for topic in FOLDED}
        self._job: Job[Any] = Job(self.replica.restore())  # then one snapshot after the other
        self._retaking: dict[int, Job[None]] = {}
        self.later(self._restore)

    def later(self, action: Action) -> None:
        """Plan something this process does when it gets to it."""
        delay_ms = self.dice.expovariate(1 / self.world.profile.lag_ms) * self.slow_factor
        self.world.timeline.after(delay_ms, lambda: None if self.is_dead else action())

    def die(self) -> None:
        """End without a word; the kernel resets what was open."""
        self.is_dead, self.is_up = True, False
        folding = [fold.job for fold in self.folds.values()]
        for job in (self._job, *folding, *self._retaking.values()):
            if job is not None and not job.is_done:
                job.kill()
        self.world.network.hang_up(self.region.name)
        self.receiver.die()
        for sender in self.senders.values():
            sender.die()

    def wake(self) -> None:
        """Look whether there is something to fold or to ship."""
        if self.is_up:
            for fold in self.folds.values():
                fold.wake()
            for sender in self.senders.values():
                sender.wake()

    @property
    def is_idle(self) -> bool:
        """Tell whether it runs and no record is half folded."""
        is_folding = any(fold.job is not None for fold in self.folds.values())
        held = self.replica.held
        return self.is_up and not is_folding and len(held) == self.world.profile.partition_count

    def begin_snapshot(self) -> None:
        """Take a snapshot, piece by piece, unless one is being taken."""
        if self.is_up and self._job.is_done:
            self._job = Job(self.replica.snapshot())
            self.later(self._go_on)

    def finish_snapshots(self) -> None:
        """Go on with the snapshot under way, then take another."""
        for job in (self._job, Job(self.replica.snapshot())):
            with contextlib.suppress(
                LogError
            ):  # as `take_snapshots` does: the next one tries again
                if not job.is_done:
                    job.finish()

    def _restore(self) -> None:
        if not self._job.step():
            self.later(self._restore)
            return
        self.is_up = True
        self.world.checker.on_restored(self.region)
        self.world.network.listen(self.region.name, self.receiver.accept)
        for sender in self.senders.values():
            sender.dial()
        self.wake()

    def _retake(self, partition: int) -> None:
        """Give up a partition whose writer failed, and take it again, as `Steward` does."""
        job = self._retaking.get(partition)
        if job is None or job.is_done:
            self._retaking[partition] = Job(self._take_again(partition))
            self.world.checker.letters[self.region.name].kills += 1  # it folds records again
            self._go_on_retaking(partition)

    async def _take_again(self, partition: int) -> None:
        self.receiver.end_all("partitions moved")
        with contextlib.suppress(LogError):  # a writer is closed when nothing is under way
            while not self._job.is_done:
                self._job.step()
        await self.replica.drop(partition)
        await self.replica.take(partition)

    def _go_on_retaking(self, partition: int) -> None:
        if not self._retaking[partition].step():
            self.later(lambda: self._go_on_retaking(partition))
            return
        self.world.checker.on_folded(self.region, partition)
        self.receiver.end_all("partitions moved")
        self.wake()

    def _go_on(self) -> None:
        if self._job.is_done:
            return
        try:
            is_done = self._job.step()
        except LogError:
            return  # as `take_snapshots` does: the next one tries again
        if not is_done:
            self.later(self._go_on)


class Fold:
    """One Faust agent: feeds the records of a topic to the replica, in order, one at a time."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._cluster = node.region.cluster
        self._is_due = False
        self.job: Job[None] | None = None
        self._current = (0, 0)
        count = node.world.profile.partition_count
        self._at = {p: node.region.committed[topic, p] for p in range(count)}
        self._ready: dict[int, deque[LogRecord]] = {p: deque() for p in range(count)}

    def wake(self) -> None:
        """Plan the next step if there is something to do."""
        if not self._is_due:
            self._is_due = True
            self._node.later(self._step)

    def rewind(self) -> None:
        """Begin again at the committed offsets, as after a rebalance: records come twice."""
        for partition in self._at:
            self._at[partition] = self._node.region.committed[self._topic, partition]
            self._ready[partition].clear()
        self.wake()

    def _step(self) -> None:
        self._is_due = False
        for _ in range(self._node.dice.randint(1, 4)):
            if self.job is None and not self._begin():
                return
            assert self.job is not None
            if not self.job.step():
                break
            self._end()
        self.wake()

    def _begin(self) -> bool:
        """Take the next record of some partition."""
        behind = [p for p in self._at if self._fetch(p)]
        if not behind:
            return False
        partition = self._node.dice.choice(behind)
        record = self._ready[partition].popleft()
        self._at[partition] = record.offset + 1
        self._current = (partition, record.offset + 1)
        replica = self._node.replica
        fold = replica.fold_state if self._topic == topics.STATE else replica.fold_replica
        self.job = Job(fold(partition, record))
        return True

    def _end(self) -> None:
        self.job = None
        partition, offset = self._current
        if self._node.dice.random() < 0.2:
            self._node.region.committed[self._topic, partition] = offset
        self._node.world.checker.on_folded(self._node.region, partition)

    def _fetch(self, partition: int) -> bool:
        ready, at = self._ready[partition], self._at[partition]
        end = self._cluster.offsets(self._topic)[partition][1]
        if not ready and at < end:
            part = self._cluster.read(self._topic, partition, at, end)
            ready.extend(part.records)
            self._at[partition] = part.records[0].offset if part.records else end
        return bool(ready)
