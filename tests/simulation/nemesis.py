"""The nemesis: what goes wrong, one fault after the other, several at a time."""

import dataclasses
from random import Random
from typing import Final

from streams import topics
from streams.agents.replica import writer_name
from tests.simulation.region import FOLDED, Node, Region, World
from tests.simulation.sending import Shipping
from transport.hde.unit import HEADER as UNIT_HEADER

FAULTS: Final = (  # methods of `Nemesis`, and how often each strikes
    ("cut_pair", 10),
    ("cut_one_way", 6),
    ("isolate", 4),
    ("slow_down", 6),
    ("stall", 10),
    ("reset_connection", 12),
    ("flap", 4),
    ("half_open", 6),
    ("rescale", 6),
    ("kill_node", 12),
    ("kill_in_snapshot", 4),
    ("kill_in_bucket", 6),
    ("hold_letters", 6),
    ("damage_unit", 8),
    ("skip_range", 8),
    ("repeat_range", 8),
    ("deliver_again", 8),
    ("lag", 8),
    ("fail_append", 8),
    ("fence_writer", 6),
    ("step_clock", 4),
)

HALF_OPEN_MS: Final = 60_000.0  # longer than anybody may take to become equal


class Nemesis:
    """Does harm until it is told to stop.

    Args:
        world: The federation.
        regions: Whom to harm.
        dice: Randomness of the nemesis alone.

    Attributes:
        done: Names of the faults so far.
    """

    def __init__(self, world: World, regions: list[Region], dice: Random) -> None:
        self._world = world
        self._regions = regions
        self._dice = dice
        self._is_active = True
        self.done: list[str] = []
        # A schedule has a character: some faults often, some never.
        self._weights = [weight * dice.choice((0, 1, 1, 4)) for _, weight in FAULTS]
        self._pause_ms = dice.choice((40.0, 100.0, 250.0))
        if any(self._weights):
            self._plan()

    def heal(self) -> None:
        """Stop, and mend the network and all nodes."""
        self._is_active = False
        for source, target in self._world.network.paths:
            self._world.network.heal(source, target)
        for region in self._regions:
            region.start()
            if region.node is not None:
                region.node.slow_factor = 1.0
                region.node.log.mend()

    def cut_pair(self) -> None:
        """Cut two regions off from each other."""
        source, target = self._dice.choice(list(self._world.network.paths))
        self._cut([(source, target), (target, source)])

    def cut_one_way(self) -> None:
        """Cut one direction only."""
        self._cut([self._dice.choice(list(self._world.network.paths))])

    def isolate(self) -> None:
        """Cut a region off from all others."""
        name = self._dice.choice(self._regions).name
        self._cut([pair for pair in self._world.network.paths if name in pair])

    def slow_down(self) -> None:
        """Make a path slow, and its writes arrive in many pieces."""
        path = self._dice.choice(list(self._world.network.paths.values()))
        before = (path.delay_ms_mean, path.split_share)
        path.delay_ms_mean, path.split_share = self._dice.uniform(10, 60), 1.0

        def mend() -> None:
            path.delay_ms_mean, path.split_share = before

        self._world.timeline.after(self._dice.uniform(50, 500), mend)

    def stall(self) -> None:
        """Let one direction of one connection deliver nothing for a while."""
        if self._world.network.connections:
            wire = self._dice.choice(self._dice.choice(self._world.network.connections))
            wire.out.stall(self._dice.uniform(20, 1_200))

    def reset_connection(self) -> None:
        """Break one connection, perhaps inside a frame."""
        if self._world.network.connections:
            pair = self._dice.choice(self._world.network.connections)
            self._world.network.break_connection(pair)

    def flap(self) -> None:
        """Break one connection after the other, for a while."""
        for _ in range(self._dice.randint(3, 12)):
            self._world.timeline.after(self._dice.uniform(0, 400), self.reset_connection)

    def half_open(self) -> None:
        """Let a connection swallow everything, without a word to either end."""
        if self._world.network.connections:
            for wire in self._dice.choice(self._world.network.connections):
                wire.out.stall(HALF_OPEN_MS)

    def rescale(self) -> None:
        """Change how many data streams a session has."""
        shipping = self._shipping()
        if shipping is not None and shipping.wires is not None:
            shipping.wires.target = self._dice.randint(1, 4)

    def kill_node(self) -> None:
        """Kill a node; it comes back later."""
        self._kill(self._dice.choice(self._regions))

    def kill_in_snapshot(self) -> None:
        """Kill a node between two records of a snapshot."""
        region = self._dice.choice(self._regions)
        if region.node is not None:
            region.node.begin_snapshot()
            # A snapshot has some ten records, and each takes as long as anything else.
            lag_ms = self._world.profile.lag_ms * region.node.slow_factor
            delay_ms = self._dice.uniform(0, 10 * lag_ms)
            self._world.timeline.after(delay_ms, lambda: self._kill(region))

    def kill_in_bucket(self) -> None:
        """Kill a node when it has written some, but not all, of the next bucket's chunks."""
        region = self._dice.choice(self._regions)
        if region.node is not None:
            region.node.log.on_half_written = lambda: self._world.timeline.after(
                0, lambda: self._kill(region)
            )
            region.node.begin_snapshot()

    def hold_letters(self) -> None:
        """Let dead letters wait, while a snapshot is taken; then the node may die."""
        region = self._dice.choice(self._regions)
        if region.node is not None:
            node, timeline = region.node, self._world.timeline
            duration_ms = self._dice.uniform(20, 300)
            node.log.are_letters_held = True
            timeline.after(self._dice.uniform(0, duration_ms), node.begin_snapshot)
            if self._dice.random() < 0.5:
                timeline.after(duration_ms, lambda: self._kill(region))
            else:
                timeline.after(duration_ms, lambda: setattr(node.log, "are_letters_held", False))

    def damage_unit(self) -> None:
        """Flip a bit of a unit that waits in a receiver, behind all checksums of the link."""
        takings = [
            taking
            for node in self._nodes()
            for taking in node.receiver.by_origin.values()
            if taking.appending.waiting
        ]
        if takings:
            taking = self._dice.choice(takings)
            unit = taking.appending.waiting[0]
            payload = bytearray(unit.payload)
            place = self._dice.randrange(self._dice.choice((UNIT_HEADER.size, len(payload))))
            payload[place] ^= 1 << self._dice.randrange(8)
            taking.appending.waiting[0] = dataclasses.replace(unit, payload=bytes(payload))
            self._world.checker.refusals_allowed += 2

    def skip_range(self) -> None:
        """Let a sender leave records out: a hole."""
        shipping = self._shipping()
        if shipping is not None:
            shipping.skip_count = self._dice.randint(1, 3)

    def repeat_range(self) -> None:
        """Let a sender ship records again, together with new ones."""
        shipping = self._shipping()
        if shipping is not None and shipping.at:
            partition = self._dice.choice(list(shipping.at))
            back = self._dice.randint(1, 8)
            shipping.at[partition] = max(0, shipping.at[partition] - back)

    def deliver_again(self) -> None:
        """Let Faust hand records over a second time."""
        nodes = self._nodes()
        if nodes:
            node = self._dice.choice(nodes)
            node.folds[self._dice.choice(FOLDED)].rewind()

    def lag(self) -> None:
        """Make a node slow at everything."""
        nodes = self._nodes()
        if nodes:
            node = self._dice.choice(nodes)
            node.slow_factor = self._dice.uniform(3, 20)

            def mend() -> None:
                node.slow_factor = 1.0

            self._world.timeline.after(self._dice.uniform(50, 500), mend)

    def fail_append(self) -> None:
        """Let Kafka refuse, or swallow the answer to, the next appends."""
        nodes = self._nodes()
        if nodes:
            topic = self._dice.choice((topics.REPLICA, topics.SNAPSHOTS))
            self._dice.choice(nodes).log.failures[topic] += self._dice.randint(1, 2)

    def fence_writer(self) -> None:
        """Let another node take a partition, write under its old owner's hands, and die."""
        nodes = [node for node in self._nodes() if node.world.profile.is_fenced]
        if nodes:
            node = self._dice.choice(nodes)
            partition = self._dice.randrange(self._world.profile.partition_count)
            node.region.cluster.fence(writer_name(node.region.name, partition))

    def step_clock(self) -> None:
        """Set a broker's clock to something else."""
        self._dice.choice(self._regions).skew_ms = self._dice.randint(-1_500, 1_500)

    def _plan(self) -> None:
        delay_ms = self._dice.expovariate(1 / self._pause_ms)
        self._world.timeline.after(delay_ms, self._strike)

    def _strike(self) -> None:
        if self._is_active:
            ((name, _),) = self._dice.choices(FAULTS, self._weights)
            self.done.append(name)
            getattr(self, name)()
            self._plan()

    def _kill(self, region: Region) -> None:
        if region.node is not None and self._is_active:
            self._world.checker.letters[region.name].kills += 1
            region.kill()
            self._world.timeline.after(self._dice.uniform(5, 400), region.start)

    def _cut(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            self._world.network.cut(*pair)

        def heal() -> None:
            for pair in pairs:
                self._world.network.heal(*pair)

        self._world.timeline.after(self._dice.uniform(20, 2_500), heal)

    def _nodes(self) -> list[Node]:
        return [r.node for r in self._regions if r.node is not None and r.node.is_up]

    def _shipping(self) -> Shipping | None:
        nodes = self._nodes()
        if not nodes:
            return None
        sender = self._dice.choice(list(self._dice.choice(nodes).senders.values()))
        return sender.shipping
