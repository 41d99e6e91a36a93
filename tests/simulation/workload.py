"""The generator: what services write into the regions' logs, and what it has to lead to.

Every record is drawn together with its expectation, which goes to the ledger by hand, not by our
own code: accepted writes as plain values, refused ones with the reason of their dead letter.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

from connectors.log import NewRecord
from connectors.memory import MemoryCluster
from schemas.changes import FieldDelta, StateChange
from schemas.clocks import HybridClock
from schemas.partitioning import partition_of
from schemas.registry import encode_event
from streams import topics
from tests.simulation.chains import Chains
from tests.simulation.oracle import Entry, Ledger, Write
from tests.simulation.poison import bad_change, bad_record

TYPES: Final = ("vm", "rack", "job")
PATHS: Final = {
    "/a": ("a",),
    "/b": ("b",),
    "/a/x": ("a", "x"),
    "/a/x/y": ("a", "x", "y"),
    "/c~1d": ("c/d",),
    "/~01": ("~1",),
    "/": ("",),
}
DRIFT_MS: Final = 500


@dataclass(slots=True)
class Draft:
    """A record to be written, and what it has to do; a stamp of None means the append time."""

    value: bytes | None
    writes: list[tuple[int, int | None, dict[str, Any]]]
    refusals: dict[int, str]


class Writer:
    """The services of one region.

    Args:
        region: Where they write.
        cluster: Its Kafka.
        ledger: Told of everything.
        dice: Randomness of the workload alone.
        entities: Names to write about.

    Attributes:
        skew_ms: How far the services' clocks are ahead of the broker's.
    """

    def __init__(
        self,
        region: str,
        cluster: MemoryCluster,
        ledger: Ledger,
        dice: Random,
        entities: list[str],
    ) -> None:
        self.region = region
        self.skew_ms = dice.randint(-400, 400)
        self._cluster = cluster
        self._ledger = ledger
        self._dice = dice
        self._entities = entities
        self._clock = HybridClock()
        self._chains = Chains(region, dice)
        self._chain_weight = dice.choice((5, 15, 200))
        self._count = 0

    def write(self, wall_ms: int) -> None:
        """Append one record of some kind; `wall_ms` is the broker's clock."""
        (kind,) = self._dice.choices(
            ("change", "batch", "chain", "poison", "aborted", "oversize", "stray"),
            (40, 23, self._chain_weight, 11, 7, 2, 1),
        )
        # Chains need company: most are about one entity.
        is_usual = kind != "chain" or self._dice.random() < 0.2
        entity = self._dice.choice(self._entities) if is_usual else self._entities[0]
        partition = partition_of(entity, self._ledger.partition_count)
        if kind == "stray":
            record = NewRecord(b"who", b"am I", (("dwcp-origin-region", b"x"),))
            offset = self._cluster.append(topics.REPLICA, partition, record)
            self._ledger.strays[self.region, partition].add(offset)
        elif kind == "poison":
            self._append(partition, Draft(*self._poison(entity)), wall_ms)
        elif kind == "chain":
            is_aborted = self._dice.random() < 0.05
            chain = self._chains.draw(entity, wall_ms)
            draft = Draft(chain.value, chain.writes, chain.refusals)
            self._append(partition, draft, wall_ms, is_aborted=is_aborted)
            if not is_aborted:
                self._chains.commit(entity, chain)
        elif kind == "batch":
            self._append(partition, self._batch(partition, wall_ms), wall_ms)
        elif kind == "oversize":
            padding = (("padding", bytes(topics.SHIPPED_BYTES_MAX + 1)),)
            draft = Draft(self._change(entity, wall_ms)[1], [], {-1: "RecordTooLarge"})
            self._append(partition, draft, wall_ms, padding)
        else:
            stamp, value, plain = self._change(entity, wall_ms)
            draft = Draft(value, [(0, stamp, plain)], {})
            self._append(partition, draft, wall_ms, is_aborted=kind == "aborted")

    def _append(
        self,
        partition: int,
        draft: Draft,
        wall_ms: int,
        headers: tuple[tuple[str, bytes], ...] = (),
        *,
        is_aborted: bool = False,
    ) -> None:
        record = NewRecord(self._dice.choice((None, b"key")), draft.value, headers)
        offset = self._cluster.append(topics.STATE, partition, record, is_aborted=is_aborted)
        if is_aborted:
            return
        entry = Entry(offset, refusals=dict(draft.refusals), is_shipped=not headers)
        for index, stamp, plain in draft.writes:
            settled = wall_ms << 16 if stamp is None else stamp
            if (settled >> 16) - wall_ms > DRIFT_MS:
                entry.refusals[index] = "ClockAhead"
            else:
                entry.writes.append(Write(settled, self.region, offset, index, **plain))
        self._ledger.add(self.region, partition, entry)

    def _batch(self, partition: int, wall_ms: int) -> Draft:
        """Draw a batch of one partition; single changes in it may be bad."""
        count = self._ledger.partition_count
        mine = [name for name in self._entities if partition_of(name, count) == partition]
        draft = Draft(b"", [], {})
        changes: list[Any] = []
        for index in range(self._dice.randint(0, 5)):
            entity = self._dice.choice(mine)
            change, plain = self._draw(entity)
            change["hybrid_timestamp"] = self._stamp(wall_ms)
            if self._dice.random() < 0.15:
                change, draft.refusals[index] = bad_change(self._dice, change, count)
            else:
                draft.writes.append((index, change["hybrid_timestamp"], plain))
            changes.append(change)
        draft.value = encode_event("StateBatch", {"producer": self.region, "changes": changes})
        return draft

    def _change(self, entity: str, wall_ms: int) -> tuple[int | None, bytes, dict[str, Any]]:
        change, plain = self._draw(entity)
        stamp = change["hybrid_timestamp"] = self._stamp(wall_ms)
        return stamp, encode_event("StateChange", dict(change)), plain

    def _poison(self, entity: str) -> tuple[bytes | None, list[Any], dict[int, str]]:
        change, _ = self._draw(entity)
        if self._dice.random() < 0.5:
            change, reason = bad_change(self._dice, change, self._ledger.partition_count)
            return encode_event("StateChange", dict(change)), [], {0: reason}
        value, reason = bad_record(self._dice, encode_event("StateChange", dict(change)))
        return value, [], {-1: reason}

    def _stamp(self, wall_ms: int) -> int | None:
        """Draw a hybrid timestamp: good clocks, equal ones, late ones, and some far ahead."""
        (kind,) = self._dice.choices(
            ("none", "clock", "equal", "late", "edge", "ahead"), (15, 30, 30, 15, 5, 5)
        )
        if kind == "none":
            return None
        if kind == "clock":
            return min(self._clock.tick(wall_ms + self.skew_ms), wall_ms + DRIFT_MS << 16)
        if kind == "equal":
            return wall_ms // 512 * 512 << 16
        if kind == "late":
            return (wall_ms - self._dice.randint(0, 3_000) << 16) + self._dice.randint(0, 3)
        if kind == "edge":
            return (wall_ms + DRIFT_MS << 16) + self._dice.randint(0, 65_535)
        return wall_ms + DRIFT_MS + self._dice.randint(1, 5_000) << 16

    def _draw(self, entity: str) -> tuple[StateChange, dict[str, Any]]:
        """Draw a change, as Avro wants it and as plain values."""
        operation: Literal["put", "patch", "delete"]
        (operation,) = self._dice.choices(("put", "patch", "delete"), (35, 50, 15))
        document = self._document() if operation == "put" else None
        deltas: list[FieldDelta] = []
        fields: dict[tuple[str, ...], tuple[bool, Any]] = {}
        for _ in range(self._dice.randint(1, 3) if operation == "patch" else 0):
            path, value = self._path(), self._value()
            is_removed = self._dice.random() < 0.3
            fields[PATHS[path]] = (is_removed, None if is_removed else value)
            deltas.append(_delta(path, value, is_removed=is_removed))
        self._count += 1
        entity_type = self._dice.choice(TYPES)
        plain = {
            "entity": entity,
            "type": entity_type,
            "operation": operation,
            "document": document,
            "fields": fields,
        }
        change: StateChange = {
            "change_id": f"{self.region}-{self._count}",
            "entity_id": entity,
            "entity_type": entity_type,
            "operation": operation,
            "document": None if document is None else json.dumps(document),
            "deltas": deltas,
            "hybrid_timestamp": None,
            "origin_region": self.region,
        }
        return change, plain

    def _path(self) -> str:
        return self._dice.choice(list(PATHS)[: self._dice.choice((1, len(PATHS)))])

    def _document(self) -> dict[str, Any]:
        names = self._dice.sample(("a", "b", "c/d", "e"), self._dice.randint(0, 3))
        return {name: self._value() for name in names}

    def _value(self) -> Any:
        scalars: list[Any] = [0, 1, 1.0, True, None, "", "é\0", -7, 2.5e-3, 1 << 70, self._count]
        return self._dice.choice([*scalars, {"x": self._count}, {"x": {"y": 1}}, [1, {"x": 2}], {}])


def _delta(path: str, value: Any, *, is_removed: bool) -> FieldDelta:
    if is_removed:
        return {"path": path, "operation": "remove", "value": None}
    if isinstance(value, (dict, list)) or (isinstance(value, int) and value >= 1 << 63):
        return {"path": path, "operation": "set", "value": {"json": json.dumps(value)}}
    return {"path": path, "operation": "set", "value": value}
