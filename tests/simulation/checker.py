"""What must always hold, and what must hold once the network is well again."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from connectors.log import LogRecord
from schemas.errors import DwcpError, OffsetOutOfRangeError, PeerRefusedError, ProtocolError
from streams import topics
from streams.deadletters import read_dead_letter
from streams.node import Contradiction
from streams.state.partition import PartitionState
from tests.simulation.oracle import Entry, Ledger, shown

if TYPE_CHECKING:
    from tests.simulation.region import Region

Place = tuple[str, int]  # (region or origin, partition)


class Violation(Exception):  # noqa: N818 - not an error of the simulation: what it looks for
    """The system broke a promise.

    Args:
        check: Which one, in a few words that tables can show.
        detail: What was found instead.
    """

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check


def require(check: str, holds: object, detail: object) -> None:
    """Raise a Violation unless it holds."""
    if not holds:
        raise Violation(check, str(detail))


class Checker:
    """Watches all regions of one schedule.

    Args:
        ledger: What was written.
        credit_bytes: What a receiver grants at most.

    Attributes:
        refusals_allowed: How many units the nemesis has given reason to refuse.
        kills: How often each region's node died.
    """

    def __init__(self, ledger: Ledger, credit_bytes: int) -> None:
        self._ledger = ledger
        self._credit_bytes = credit_bytes
        self._largest_unit = 0
        self.refusals_allowed = 0
        self.kills: Counter[str] = Counter()
        self.regions: dict[str, Region] = {}
        self._best: dict[Place, dict[str, int]] = {}
        self._seen: dict[tuple[int, frozenset[tuple[str, int]]], int] = {}
        self._shown: dict[tuple[int, frozenset[tuple[str, int]]], dict[str, str]] = {}
        self._replica_read: Counter[Place] = Counter()
        self._arrived: Counter[tuple[str, Place]] = Counter()  # records of an origin in a region
        self._letters_read: Counter[str] = Counter()
        self._letters: dict[str, Counter[tuple[str, int, int, int, str]]] = {}

    # Links

    def on_error(self, where: str, error: DwcpError) -> None:
        """Links may fail, but nobody breaks the protocol."""
        forbidden = (ProtocolError, PeerRefusedError, OffsetOutOfRangeError)
        detail = f"{where}: {error.reason}: {error}"
        require("nobody breaks the protocol", not isinstance(error, forbidden), detail)

    def on_gossip(self, region: str, found: Contradiction | None) -> None:
        """Peers with our vector have our fingerprint."""
        require("digests agree", found is None, f"{region} hears {found}")

    def on_unit_sent(self, raw_bytes: int) -> None:
        """Learn how far a unit may reach over the credit's edge."""
        self._largest_unit = max(self._largest_unit, raw_bytes)

    def on_units_waiting(self, raw_bytes: int) -> None:
        """What a receiver holds is bounded by the credit."""
        limit = self._credit_bytes + self._largest_unit
        require("credit bounds what waits", raw_bytes <= limit, f"{raw_bytes} of {limit} bytes")

    def on_refused_epoch(self, text: str) -> None:
        """Only a fault makes a receiver refuse a unit."""
        self.refusals_allowed -= 1
        require("units decode and leave no hole", self.refusals_allowed >= 0, text)

    def on_acked(self, origin: str, peer: str, cursors: Mapping[int, int]) -> None:
        """What is acknowledged stands in the peer's Kafka."""
        for partition, offset in cursors.items():
            missing = self._next_missing(peer, origin, partition)
            is_durable = missing is None or missing.offset >= offset
            detail = f"{peer} says {offset} of {origin}/{partition}, {missing} is not there"
            require("acknowledged is durable", is_durable, detail)

    def on_cursors(self, region: "Region", origin: str, cursors: Mapping[int, int]) -> None:
        """A new session begins behind what stands in the replica topic, and leaves no hole."""
        for partition, offset in cursors.items():
            self.on_acked(origin, region.name, {partition: offset})
            arrived = self._arrived[region.name, (origin, partition)]
            shipped = self._ledger.shipped(origin, partition)
            last = shipped[arrived - 1].offset if arrived else -1
            detail = f"{region.name} wants {origin}/{partition} from {offset}, it has up to {last}"
            require("cursors count what is durable", offset > last, detail)

    def on_replica_appended(self, region: "Region", partition: int) -> None:
        """Each record of an origin arrives once, in order, without a hole, as it was."""
        start = self._replica_read[region.name, partition]
        end = region.cluster.offsets(topics.REPLICA)[partition][1]
        part = region.cluster.read(topics.REPLICA, partition, start, end)
        self._replica_read[region.name, partition] = end
        for record in part.records:
            if record.offset in self._ledger.strays[region.name, partition]:
                continue
            origin, offset = _origin(record)
            missing = self._next_missing(region.name, origin, partition)
            detail = f"{origin}/{partition}/{offset} came to {region.name}, {missing} was next"
            is_next = missing is not None and missing.offset == offset
            require("replica topic holds each record once, in order", is_next, detail)
            self._arrived[region.name, (origin, partition)] += 1
            cluster = self.regions[origin].cluster
            (sent,) = cluster.read(topics.STATE, partition, offset, offset + 1).records
            is_same = sent[1:4] == record[1:4] and sent.headers == record.headers[:-3]
            require("records arrive as they were", is_same, f"{sent} became {record}")

    def _next_missing(self, region: str, origin: str, partition: int) -> Entry | None:
        shipped = self._ledger.shipped(origin, partition)
        arrived = self._arrived[region, (origin, partition)]
        return shipped[arrived] if arrived < len(shipped) else None

    # State

    def on_restored(self, region: "Region") -> None:
        """A node comes back with at least what it had."""
        for partition in range(self._ledger.partition_count):
            self.on_folded(region, partition)
            self.audit(region, partition)

    def on_folded(self, region: "Region", partition: int) -> None:
        """The vector never goes back; equal vectors mean equal state, whenever and wherever."""
        assert region.node is not None
        state = region.node.replica.store.partitions[partition]
        best = self._best.get((region.name, partition), {})
        for origin, offset in best.items():
            detail = f"{region.name}/{partition}: {best} became {state.vector}"
            require("the vector never goes back", state.vector.get(origin, 0) >= offset, detail)
        self._best[region.name, partition] = dict(state.vector)
        key = (partition, frozenset(state.vector.items()))
        detail = f"{region.name}/{partition} at {state.vector}"
        fingerprint = self._seen.setdefault(key, state.fingerprint)
        require("equal vectors, equal fingerprints", fingerprint == state.fingerprint, detail)
        if sum(state.vector.values()) % 4 == 0:
            found = documents(state)
            expected = self._shown.setdefault(key, found)
            require("equal vectors, equal documents", expected == found, detail)

    def audit(self, region: "Region", partition: int) -> None:
        """The fingerprint is the sum of the registers, and the documents are the oracle's."""
        assert region.node is not None
        audit_state(region.node.replica.store.partitions[partition], self._ledger)
        self._read_letters(region)

    def is_converged(self) -> bool:
        """Tell whether every region has folded everything."""
        return all(
            region.node is not None
            and region.node.is_idle
            and state.vector == self._ledger.vector(name, state.partition)
            for name, region in self.regions.items()
            for state in region.node.replica.store.partitions
        )

    def check_end(self) -> None:
        """After convergence: same documents as the oracle's, and no dead letter too many."""
        for name, region in self.regions.items():
            for partition in range(self._ledger.partition_count):
                self.on_folded(region, partition)
                self.audit(region, partition)
            found, expected = self._letters.get(name, Counter()), self._expected_letters(name)
            missing = expected - found.keys()
            require("every refused record has its dead letter", not missing, f"{name}: {missing}")

    def _expected_letters(self, region: str) -> set[tuple[str, int, int, int, str]]:
        expected = {
            (origin, partition, entry.offset, index, reason)
            for (origin, partition), entries in self._ledger.entries.items()
            for entry in entries
            if entry.is_shipped or origin == region
            for index, reason in entry.refusals.items()
        }
        return expected | {
            ("", p, offset, -1, "MissingOrigin")
            for (name, p), offsets in self._ledger.strays.items()
            if name == region
            for offset in offsets
        }

    def _read_letters(self, region: "Region") -> None:
        """No dead letter without a reason, and none twice unless the node died in between."""
        ((_, end),) = region.cluster.offsets(topics.DEADLETTER)
        start = self._letters_read[region.name]
        self._letters_read[region.name] = end
        found = self._letters.setdefault(region.name, Counter())
        fresh = region.cluster.read(topics.DEADLETTER, 0, start, end).records
        expected = self._expected_letters(region.name) if fresh else set()
        for record in fresh:
            letter = self._letter(region, read_dead_letter(record.value or b""))
            found[letter] += 1
            detail = f"{region.name}: {letter}"
            require("only refused records become dead letters", letter in expected, detail)
            is_single = found[letter] <= 1 + self.kills[region.name]
            require("a dead letter is written once", is_single, detail)

    def _letter(self, region: "Region", letter: dict[str, Any]) -> tuple[str, int, int, int, str]:
        origin, partition, offset = region.name, letter["partition"], letter["offset"]
        if letter["topic"] == topics.REPLICA:
            (record,) = region.cluster.read(
                topics.REPLICA, partition, offset, offset + 1
            ).records
            is_stray = offset in self._ledger.strays[region.name, partition]
            origin, offset = ("", offset) if is_stray else _origin(record)
        return origin, partition, offset, letter["change_index"], letter["reason"]


def audit_state(state: PartitionState, ledger: Ledger) -> None:
    """Check a partition against its own registers and against the oracle."""
    where = f"partition {state.partition} at {state.vector}"
    entities = list(state.entities.values())
    total = sum(e.hash + sum(field.hash for field in e.fields.values()) for e in entities)
    is_sum = total % (1 << 64) == state.fingerprint
    require("the fingerprint is the sum of the registers", is_sum, where)
    is_count = sum(e.is_visible for e in entities) == state.visible_count
    require("visible entities are counted", is_count, where)
    expected, found = ledger.documents(state.partition, state.vector), documents(state)
    wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    detail = [f"{name}: {found.get(name)} for {expected.get(name)}" for name in wrong]
    require("documents are the oracle's", not wrong, f"{where}: {'; '.join(detail)}")


def documents(state: PartitionState) -> dict[str, str]:
    """Return what readers of a partition see, by entity, as text."""
    entities: Iterable[Any] = state.entities.values()
    return {e.entity_id: shown(e.entity_type, e.materialise()) for e in entities}


def _origin(record: LogRecord) -> tuple[str, int]:
    found = dict(record.headers[-3:])
    return found["dwcp-origin-region"].decode(), int(found["dwcp-origin-offset"])
