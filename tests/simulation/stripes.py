"""One session's data streams under fire: no Kafka, no state, only what AMST promises.

Units are numbered: each arrives once and in order, whoever is killed, a stream, all streams or
either process. A new session goes on behind the last unit that the receiver has kept.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.simulation.limits import small_limits
from tests.simulation.network import Network, Wire
from tests.simulation.objects import content_of
from tests.simulation.stripe_ends import UNITS, Giver, Keeper, unit_of
from tests.simulation.striping import StripeChecker
from tests.simulation.timeline import Timeline
from tests.simulation.violation import Violation, broken_promise
from transport.amst.objects import OutgoingObject
from transport.frame import FrameType
from transport.session.handshake import Greeting, unknown_session
from transport.session.objects import Shelf

OBJECTS: Final = 2
CALM_MS_MAX: Final = 30_000  # from the last fault to the end
FAULTS: Final = (
    "kill_stream",
    "kill_all_streams",
    "kill_giver",
    "kill_keeper",
    "stall",
    "half_open",
    "rescale",
    "slow_down",
)


PROCESSES: Final = ("kill_giver", "kill_keeper")


@dataclass(slots=True)
class StripeReport:
    """What became of one schedule; `check` names the broken promise, empty when none was."""

    seed: int
    steps: int = 0
    check: str = ""
    what: str = ""
    faults: list[str] = field(default_factory=list)
    again_bytes: int = 0
    sessions: int = 0


class Stripes:
    """Both ends, the network between them, and what is done to them.

    Args:
        seed: Decides everything.

    Attributes:
        kept: Units that the receiver has kept, in order.
    """

    def __init__(self, seed: int) -> None:
        self.report = StripeReport(seed)
        self.dice = Random(f"{seed} stripes")
        self.timeline = Timeline()
        self.network = Network(self.timeline, Random(f"{seed} network"), ["ams", "iad"])
        for path in self.network.paths.values():
            path.delay_ms_min = self.dice.uniform(1, 30)
            path.split_share = self.dice.choice((0.0, 0.3, 1.0))
        self.checker = StripeChecker()
        self.kept: list[bytes] = []
        self.shelf = Shelf(1 << 20)
        self.things = [
            OutgoingObject(b"%016d" % n, f"thing {n}", content_of(f"thing {n}", n * 2_148), 512)
            for n in range(OBJECTS)
        ]
        self.giver: Giver | None = None
        self.keepers: list[Keeper] = []
        self.is_up = True
        self.network.listen("iad", self._accept)
        # A schedule has a character; processes die in some only, since that hides the rest.
        self._weights = [
            self.dice.choice((0, 0, 0, 1) if name in PROCESSES else (0, 1, 1, 4)) for name in FAULTS
        ]
        self.lag_ms = self.dice.choice((0.5, 3.0, 12.0))
        self._fire_ms = self.dice.choice((300.0, 1_500.0))

    def run(self) -> None:
        """Ship all units under fire.

        Raises:
            Violation: A promise was broken.
        """
        self._dial()
        if any(self._weights):
            self._plan_fault()
        while len(self.kept) < UNITS or self.things:
            self.timeline.step()
            if self.timeline.now_ms > self._fire_ms + CALM_MS_MAX:
                held = f"{len(self.kept)} units and {OBJECTS - len(self.things)} objects"
                raise Violation("all arrives once the network is well", held)
        self.report.steps = self.timeline.steps

    def keep(self, raw: bytes) -> None:
        """Keep the next unit.

        Raises:
            Violation: It is another one.
        """
        expected = unit_of(len(self.kept))
        if raw != expected:
            raise Violation("units arrive once, in order", f"{raw[:8]!r}, not {expected[:8]!r}")
        self.kept.append(raw)

    def lost(self) -> None:
        """Begin a new session after a while."""
        self.giver = None
        self.timeline.after(self.dice.uniform(5, 60), self._dial)

    def _dial(self) -> None:
        if self.giver is None:
            self.report.sessions += 1
            self.giver = Giver(self)

    def _accept(self, wire: Wire) -> None:
        greeting = Greeting()

        def feed(data: bytes) -> None:
            kind = greeting.feed(data)
            if kind is FrameType.HELLO:
                for older in self.keepers:
                    older.end()
                self.keepers = [Keeper(self, wire, greeting)]
            elif kind is FrameType.ATTACH:
                for keeper in self.keepers:
                    if not keeper.is_over and keeper.session.token == greeting.token:
                        keeper.take(wire, greeting.stream)
                        return
                wire.write(unknown_session())
                wire.close()

        wire.on_data = feed

    # Faults.

    def kill_stream(self) -> None:
        """Kill one data stream, perhaps inside a frame."""
        if self.giver is not None and self.giver.wires is not None and self.giver.wires.wires:
            self.network.break_connection(
                self._pair(self.dice.choice(list(self.giver.wires.wires.values())))
            )

    def kill_all_streams(self) -> None:
        """Kill all data streams of the session at once."""
        if self.giver is not None and self.giver.wires is not None:
            for wire in list(self.giver.wires.wires.values()):
                self.network.break_connection(self._pair(wire))

    def kill_giver(self) -> None:
        """Kill the sending process: all it had in memory is gone, but what it ships."""
        if self.giver is not None:
            self.giver.die()
            self.lost()

    def kill_keeper(self) -> None:
        """Kill the receiving process: it has what it kept, and half an object no more."""
        for keeper in self.keepers:
            keeper.die()
        self.keepers = []
        self.shelf.standing.clear()

    def stall(self) -> None:
        """Let one direction of one connection deliver nothing for a while."""
        if self.network.connections:
            wire = self.dice.choice(self.dice.choice(self.network.connections))
            wire.out.stall(self.dice.uniform(20, 900))

    def half_open(self) -> None:
        """Let connections swallow everything for good: one, or all data streams."""
        pairs = self.network.connections
        if pairs and self.dice.random() < 0.5:
            pairs = [self.dice.choice(pairs)]
        elif self.giver is not None and self.giver.wires is not None:
            pairs = [self._pair(wire) for wire in self.giver.wires.wires.values()]
        for pair in pairs:
            for wire in pair:
                wire.out.stall(10 * CALM_MS_MAX)

    def rescale(self) -> None:
        """Change how many data streams there should be."""
        if self.giver is not None and self.giver.wires is not None:
            self.giver.wires.target = self.dice.randint(1, 4)

    def slow_down(self) -> None:
        """Make a direction slow for a while."""
        path = self.dice.choice(list(self.network.paths.values()))
        before = path.delay_ms_mean
        path.delay_ms_mean = self.dice.uniform(20, 120)
        self.timeline.after(200, lambda: setattr(path, "delay_ms_mean", before))

    def _plan_fault(self) -> None:
        def strike() -> None:
            if self.timeline.now_ms < self._fire_ms:
                (name,) = self.dice.choices(FAULTS, self._weights)
                self.report.faults.append(name)
                getattr(self, name)()
                self._plan_fault()

        self.timeline.after(self.dice.expovariate(1 / 25), strike)

    def _pair(self, near: Wire) -> tuple[Wire, Wire]:
        return next(pair for pair in self.network.connections if near in pair)


def run_stripes(seed: int) -> StripeReport:
    """Run one schedule and say what came of it."""
    with small_limits():
        world = Stripes(seed)
        world.report.check, world.report.what = broken_promise(world.run)
    return world.report
