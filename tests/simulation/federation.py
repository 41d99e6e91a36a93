"""A whole federation from one seed: one process, no event loop, no clock."""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from streams.agents.replica import Replica
from tests.simulation.checker import Checker, audit_state
from tests.simulation.limits import small_limits
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network, Path
from tests.simulation.oracle import Ledger
from tests.simulation.region import Node, Profile, Region, World
from tests.simulation.stepping import Job, SteppedLog
from tests.simulation.timeline import Timeline
from tests.simulation.violation import Violation, broken_promise
from tests.simulation.workload import Writer
from transport.hde.settings import FlowSettings
from transport.session.events import LinkSettings

REGIONS: Final = ["ams", "iad", "sin"]
HEAL_MS_MAX: Final = 30_000  # of virtual time, from the end of all faults to equality
NAMES: Final = ("vm-1", "vm-2", "rack/é", "job 7", "a", "b", "ä", "0", "c", "d", "e", "f")


@dataclass(slots=True)
class Report:
    """What became of one schedule.

    Attributes:
        check: Which promise was broken; empty when none was.
    """

    seed: int
    steps: int = 0
    records: int = 0
    check: str = ""
    what: str = ""
    faults: list[str] = field(default_factory=list)
    healed_ms: float = 0.0


def run_schedule(seed: int) -> Report:
    """Run one schedule and say what came of it."""
    report = Report(seed)
    with small_limits():
        federation = Federation(seed)
        report.check, report.what = broken_promise(federation.run)
        federation.fill(report)
        federation.close()
    return report


class Federation:
    """Three regions, the network between them, somebody who writes and somebody who breaks.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        dice = Random(f"{seed} profile")
        self.timeline = Timeline()
        profile = _draw_profile(dice)
        names = list(NAMES[: dice.choice((1, 4, 8, len(NAMES)))])
        self.ledger = Ledger(REGIONS, profile.partition_count)
        self.checker = Checker(self.ledger, profile.settings.credit_bytes)
        network = Network(self.timeline, Random(f"{seed} network"), REGIONS)
        for path in network.paths.values():
            _draw_path(dice, path)
        self.world = World(self.timeline, network, self.checker, profile, REGIONS)
        self.regions = {
            name: Region(self.world, name, Random(f"{seed} region {name}")) for name in REGIONS
        }
        for region in self.regions.values():
            self.checker.watch(region)
        self._dice = Random(f"{seed} actors")
        self._writers = {
            name: Writer(name, region.cluster, self.ledger, Random(f"{seed} writer {name}"), names)
            for name, region in self.regions.items()
        }
        self._write_ms = dice.choice((20.0, 40.0, 90.0))
        self._chaos_ms = dice.choice((600.0, 1_200.0, 2_400.0))
        self._healed_ms = 0.0
        self.nemesis = Nemesis(self.world, list(self.regions.values()), Random(f"{seed} nemesis"))

    def run(self) -> None:
        """Write under faults, heal, converge.

        Raises:
            Violation: A promise was broken.
        """
        for region in self.regions.values():
            region.start()
            self._plan_write(region)
            self._plan_snapshot(region)
        while self.timeline.now_ms < self._chaos_ms:
            self.timeline.step()
            if self.timeline.steps % 60 == 0:
                self._audit()
        self.nemesis.heal()
        self.checker.expect_nothing_new()
        healed_ms = self.timeline.now_ms
        while not self.checker.is_converged() or self._objects_waiting():
            self.timeline.step()
            if self.timeline.now_ms > healed_ms + HEAL_MS_MAX:
                raise Violation("after healing all regions become equal", self.checker.difference())
        self._healed_ms = self.timeline.now_ms - healed_ms
        self.checker.check_end()
        for region in self.regions.values():
            assert region.node is not None
            self._check_restart(region, region.node)
            region.node.finish_snapshots()
            self._check_restart(region, region.node)

    def _objects_waiting(self) -> bool:
        nodes = [region.node for region in self.regions.values() if region.node is not None]
        return any(sender.objects for node in nodes for sender in node.senders.values())

    def fill(self, report: Report) -> None:
        """Write into a report what happened."""
        report.steps = self.timeline.steps
        report.records = sum(len(entries) for entries in self.ledger.entries.values())
        report.faults = self.nemesis.done
        report.healed_ms = self._healed_ms

    def close(self) -> None:
        """Let go of what is half done."""
        for region in self.regions.values():
            region.kill()

    def _plan_write(self, region: Region) -> None:
        def write() -> None:
            if self.timeline.now_ms < self._chaos_ms:
                self._writers[region.name].write(region.wall_ms())
                region.wake()
                self._plan_write(region)

        self.timeline.after(self._dice.expovariate(1 / self._write_ms), write)

    def _plan_snapshot(self, region: Region) -> None:
        def snapshot() -> None:
            if region.node is not None:
                region.node.begin_snapshot()
            self._plan_snapshot(region)

        delay_ms = self._dice.expovariate(1 / self.world.profile.snapshot_ms)
        self.timeline.after(delay_ms, snapshot)

    def _audit(self) -> None:
        region = self.regions[self._dice.choice(REGIONS)]
        if region.node is not None and region.node.is_up:
            self.checker.audit(region, self._dice.randrange(self.ledger.partition_count))

    def _check_restart(self, region: Region, node: Node) -> None:
        """A node that starts now comes to the same state."""
        log = SteppedLog(region.cluster, Random(0))
        restarted = Replica(region.name, self.ledger.partition_count, log, is_fenced=False)
        Job(restarted.restore()).finish()
        alive, digest = node.replica.store.digest(), restarted.store.digest()
        if digest != alive:
            raise Violation("a restart changes nothing", f"{region.name}: {digest}, not {alive}")
        for state in restarted.store.partitions.values():
            audit_state(state, self.ledger)


def _draw_profile(dice: Random) -> Profile:
    settings = LinkSettings(
        heartbeat_ms=300,
        silence_ms=1_000,
        credit_bytes=dice.choice((600, 3_000, 1 << 20)),
        unit_bytes_max=1 << 20,
        flow=FlowSettings(dice.choice((0, 1, 3)), memory_bytes=1 << 20),
    )
    return Profile(
        partition_count=dice.choice((1, 2)),
        settings=settings,
        flush_ms=dice.choice((1.0, 10.0, 50.0)),
        batch_bytes_max=dice.choice((1, 500, 4_000)),
        lag_ms=dice.choice((0.2, 1.0, 5.0)),
        snapshot_ms=dice.choice((60.0, 250.0, 1_000.0)),
        is_fenced=dice.random() < 0.7,
    )


def _draw_path(dice: Random, path: Path) -> None:
    path.delay_ms_min = dice.uniform(0.5, 40)
    path.delay_ms_mean = dice.uniform(0.1, 10)
    path.jitter_ms = dice.uniform(0, 5)
    path.split_share = dice.choice((0.0, 0.2, 1.0))
