"""What every region has to hold, worked out without any of our code.

The ledger keeps what was written where, as plain values. The replay sorts the writes and does them
one after the other: that is all that last-writer-wins means.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Vector = Mapping[str, int]
NEVER_PUT = object()


class Write(NamedTuple):
    """One accepted change; sorts by what decides between two of them."""

    stamp: int
    region: str
    offset: int
    change_index: int
    entity: str
    type: str
    operation: Literal["put", "patch", "delete"]
    document: dict[str, Any] | None
    fields: dict[tuple[str, ...], tuple[bool, Any]]  # by path: (is it removed, value)


@dataclass(slots=True)
class Entry:
    """What one committed record of an origin's log has to do.

    Attributes:
        writes: Accepted changes.
        refusals: Reason of the dead letter by index of the change; -1 is the whole record.
        is_shipped: Links carry it; else only its own region ever sees it.
    """

    offset: int
    writes: list[Write] = field(default_factory=list)
    refusals: dict[int, str] = field(default_factory=dict)
    is_shipped: bool = True


class Ledger:
    """Every committed record by (region, partition), in the order of the log.

    Args:
        regions: Names.
        partition_count: Partitions of the state topic.

    Attributes:
        shipped: Those of them that links have to carry.
        strays: Offsets of records that do not belong in a region's replica topic, by
            (region, partition).
    """

    def __init__(self, regions: Iterable[str], partition_count: int) -> None:
        self.regions = list(regions)
        self.partition_count = partition_count
        places = [(r, p) for r in self.regions for p in range(partition_count)]
        self.entries: dict[tuple[str, int], list[Entry]] = {place: [] for place in places}
        self.shipped: dict[tuple[str, int], list[Entry]] = {place: [] for place in places}
        self.strays: dict[tuple[str, int], set[int]] = {place: set() for place in places}

    def add(self, origin: str, partition: int, entry: Entry) -> None:
        """Note a record at the end of an origin's log."""
        self.entries[origin, partition].append(entry)
        if entry.is_shipped:
            self.shipped[origin, partition].append(entry)

    def vector(self, region: str, partition: int) -> dict[str, int]:
        """Return what a region's vector has to be when everything has arrived."""
        found = {}
        for origin in self.regions:
            known = (self.entries if origin == region else self.shipped)[origin, partition]
            if known:
                found[origin] = known[-1].offset + 1
        return found

    def documents(self, partition: int, vector: Vector) -> dict[str, str]:
        """Return what readers have to see when everything below `vector` is applied."""
        writes = [
            write
            for origin in self.regions
            for entry in self.entries[origin, partition]
            if entry.offset < vector.get(origin, 0)
            for write in entry.writes
        ]
        return replay(writes)


class _Entity:
    """A document, and the fields written over it since, in the order of writing."""

    def __init__(self) -> None:
        self.type = ""
        self.document: Any = NEVER_PUT
        self.fields: dict[tuple[str, ...], tuple[bool, Any]] = {}

    def do(self, write: Write) -> None:
        self.type = write.type
        if write.operation != "patch":
            self.document = write.document
            self.fields = {}
            return
        for path in sorted(write.fields):
            self.fields.pop(path, None)
            self.fields[path] = write.fields[path]

    def show(self) -> dict[str, Any] | None:
        if self.document is None:
            return None
        document = {} if self.document is NEVER_PUT else copy.deepcopy(self.document)
        for (*parents, last), (is_removed, value) in self.fields.items():
            place: Any = document
            for name in parents:
                if not isinstance(place.get(name), dict):
                    if is_removed:
                        place = {}
                        break
                    place[name] = {}
                place = place[name]
            if is_removed:
                place.pop(last, None)
            else:
                place[last] = copy.deepcopy(value)
        return document


def replay(writes: Iterable[Write]) -> dict[str, str]:
    """Do all writes in their order; the result is text by entity, as `shown` writes it."""
    entities: dict[str, _Entity] = {}
    for write in sorted(writes, key=lambda w: w[:4]):
        entities.setdefault(write.entity, _Entity()).do(write)
    return {name: shown(entity.type, entity.show()) for name, entity in entities.items()}


def shown(entity_type: str, document: dict[str, Any] | None) -> str:
    """Write what readers see as text, where 1, 1.0 and true differ."""
    return f"{entity_type} {json.dumps(document, sort_keys=True)}"
