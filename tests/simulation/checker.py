"""What must always hold, and what must hold once the network is well again."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from schemas.errors import DwcpError, OffsetOutOfRangeError, PeerRefusedError, ProtocolError
from streams import topics
from streams.node import Contradiction
from streams.state.partition import PartitionState
from tests.simulation.letters import LetterBox, origin_of
from tests.simulation.oracle import Entry, Ledger, shown
from tests.simulation.striping import StripeChecker
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.region import Node, Region

Place = tuple[str, int]  # (region or origin, partition)
Moment = tuple[int, frozenset[tuple[str, int]]]  # (partition, vector)


class Checker(StripeChecker):
    """Watches all regions of one schedule.

    Args:
        ledger: What was written.
        credit_bytes: What a receiver grants at most.

    Attributes:
        refusals_allowed: How many units the nemesis has given reason to refuse.
        letters: Dead letters by region.
    """

    def __init__(self, ledger: Ledger, credit_bytes: int) -> None:
        self._ledger = ledger
        self._credit_bytes = credit_bytes
        self._largest_unit = 0
        self.refusals_allowed = 0
        self.letters: dict[str, LetterBox] = {}
        self._regions: dict[str, Region] = {}
        self._best: dict[Place, dict[str, int]] = {}
        self._fingerprints: dict[Moment, int] = {}
        self._shown: dict[Moment, dict[str, str]] = {}
        self._replica_read: Counter[Place] = Counter()
        self._arrived: Counter[tuple[str, Place]] = Counter()  # records of an origin in a region
        self._final: dict[Place, dict[str, int]] = {}

    def watch(self, region: "Region") -> None:
        """Begin to watch a region."""
        self._regions[region.name] = region
        self.letters[region.name] = LetterBox(region, self._ledger)

    # Links.

    def on_error(self, where: str, error: DwcpError) -> None:
        """Links may fail, but nobody breaks the protocol."""
        if isinstance(error, (ProtocolError, PeerRefusedError, OffsetOutOfRangeError)):
            raise Violation("nobody breaks the protocol", f"{where}: {error.reason}: {error}")

    def on_gossip(self, region: str, found: list[Contradiction]) -> None:
        """Peers with our vector have our fingerprint."""
        if found:
            raise Violation("digests agree", f"{region} hears {found}")

    def on_unit_sent(self, raw_bytes: int) -> None:
        """Learn how far a unit may reach over the credit's edge."""
        self._largest_unit = max(self._largest_unit, raw_bytes)

    def on_units_waiting(self, raw_bytes: int) -> None:
        """What a receiver holds is bounded by the credit."""
        limit = self._credit_bytes + self._largest_unit
        if raw_bytes > limit:
            raise Violation("credit bounds what waits", f"{raw_bytes} of {limit} bytes")

    def on_refused_epoch(self, text: str) -> None:
        """Only a fault makes a receiver refuse a unit."""
        self.refusals_allowed -= 1
        if self.refusals_allowed < 0:
            raise Violation("units decode and leave no hole", text)

    def on_acked(self, origin: str, peer: str, cursors: Mapping[int, int]) -> None:
        """What is acknowledged stands in the peer's Kafka."""
        for partition, offset in cursors.items():
            missing = self._next_missing(peer, origin, partition)
            if missing is not None and missing.offset < offset:
                where = f"{peer} says {offset} of {origin}/{partition}"
                raise Violation("acknowledged is durable", f"{where}, lacks {missing.offset}")

    def on_cursors(self, region: "Region", origin: str, cursors: Mapping[int, int]) -> None:
        """A new session begins behind what stands in the replica topic, and leaves no hole."""
        self.on_acked(origin, region.name, cursors)
        for partition, offset in cursors.items():
            arrived = self._arrived[region.name, (origin, partition)]
            last = self._ledger.shipped[origin, partition][arrived - 1].offset if arrived else -1
            if offset <= last:
                where = f"{region.name} wants {origin}/{partition} from {offset}"
                raise Violation("cursors count what is durable", f"{where}, it has {last}")

    def on_replica_appended(self, region: "Region", partition: int) -> None:
        """Each record of an origin arrives once, in order, without a hole, as it was."""
        start = self._replica_read[region.name, partition]
        end = region.cluster.offsets(topics.REPLICA)[partition][1]
        part = region.cluster.read(topics.REPLICA, partition, start, end)
        self._replica_read[region.name, partition] = end
        for record in part.records:
            if record.offset in self._ledger.strays[region.name, partition]:
                continue
            origin, offset = origin_of(record)
            missing = self._next_missing(region.name, origin, partition)
            if missing is None or missing.offset != offset:
                found = f"{origin}/{partition}/{offset} came to {region.name}"
                expected = missing.offset if missing is not None else "nothing"
                raise Violation("records arrive once, in order", f"{found}, not {expected}")
            self._arrived[region.name, (origin, partition)] += 1
            cluster = self._regions[origin].cluster
            (sent,) = cluster.read(topics.STATE, partition, offset, offset + 1).records
            if sent[1:4] != record[1:4] or sent.headers != record.headers[:-3]:
                raise Violation("records arrive as they were", f"{sent} became {record}")

    def _next_missing(self, region: str, origin: str, partition: int) -> Entry | None:
        shipped = self._ledger.shipped[origin, partition]
        arrived = self._arrived[region, (origin, partition)]
        return shipped[arrived] if arrived < len(shipped) else None

    # State.

    def on_restored(self, region: "Region") -> None:
        """A node comes back with at least what it had."""
        for partition in range(self._ledger.partition_count):
            self.on_folded(region, partition)
            self.audit(region, partition)

    def on_folded(self, region: "Region", partition: int) -> None:
        """The vector never goes back; equal vectors mean equal state, whenever and wherever."""
        state = _state(region, partition)
        if state is None:
            return
        vector, best = state.vector, self._best.get((region.name, partition), {})
        if any(vector.get(origin, 0) < offset for origin, offset in best.items()):
            where = f"{region.name}/{partition}"
            raise Violation("the vector never goes back", f"{where}: {best} became {vector}")
        self._best[region.name, partition] = dict(vector)
        moment = (partition, frozenset(vector.items()))
        if self._fingerprints.setdefault(moment, state.fingerprint) != state.fingerprint:
            raise Violation("equal vectors, equal fingerprints", f"{region.name} at {moment}")
        if sum(vector.values()) % 4 == 0:
            found = documents(state)
            if self._shown.setdefault(moment, found) != found:
                raise Violation("equal vectors, equal documents", f"{region.name} at {moment}")

    def audit(self, region: "Region", partition: int) -> None:
        """The fingerprint is the sum of the registers, and the documents are the oracle's."""
        state = _state(region, partition)
        if state is not None:
            audit_state(state, self._ledger)
        self.letters[region.name].check()

    def expect_nothing_new(self) -> None:
        """Learn that nobody writes any more."""
        partitions = range(self._ledger.partition_count)
        places = [(name, p) for name in self._regions for p in partitions]
        self._final = {place: self._ledger.vector(*place) for place in places}

    def is_converged(self) -> bool:
        """Tell whether every region has folded everything."""
        if any(node is None or not node.is_idle for node in self._nodes()):
            return False
        return all(
            state.vector == self._final[name, state.partition]
            for name, region in self._regions.items()
            if region.node is not None
            for state in region.node.replica.store.partitions.values()
        )

    def _nodes(self) -> "list[Node | None]":
        return [region.node for region in self._regions.values()]

    def difference(self) -> str:
        """Say what the regions still lack."""
        lines = []
        for (name, partition), expected in self._final.items():
            node = self._regions[name].node
            if node is None or not node.is_up:
                lines.append(f"{name} is down")
            elif partition not in node.replica.held:
                lines.append(f"{name}/{partition} is not held")
            elif (vector := node.replica.store.partitions[partition].vector) != expected:
                lines.append(f"{name}/{partition}: {vector}, not {expected}")
        return "; ".join(lines)

    def check_end(self) -> None:
        """After convergence: same documents as the oracle's, and no dead letter too many."""
        for region in self._regions.values():
            self.on_restored(region)
            self.letters[region.name].check_end()


def audit_state(state: PartitionState, ledger: Ledger) -> None:
    """Check a partition against its own registers and against the oracle."""
    where = f"partition {state.partition} at {state.vector}"
    entities = list(state.entities.values())
    total = sum(e.hash + sum(field.hash for field in e.fields.values()) for e in entities)
    if total % (1 << 64) != state.fingerprint:
        raise Violation("the fingerprint is the sum of the registers", where)
    if sum(e.is_visible for e in entities) != state.visible_count:
        raise Violation("visible entities are counted", where)
    expected, found = ledger.documents(state.partition, state.vector), documents(state)
    wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if wrong:
        detail = [f"{name}: {found.get(name)} for {expected.get(name)}" for name in wrong]
        raise Violation("documents are the oracle's", f"{where}: {'; '.join(detail)}")


def documents(state: PartitionState) -> dict[str, str]:
    """Return what readers of a partition see, by entity, as text."""
    entities: Iterable[Any] = state.entities.values()
    return {e.entity_id: shown(e.entity_type, e.materialise()) for e in entities}


def _state(region: "Region", partition: int) -> PartitionState | None:
    """Return a partition as the region's node holds it, if it does."""
    assert region.node is not None
    return region.node.replica.store.partitions.get(partition)
