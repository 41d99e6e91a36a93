"""What clients did and what they were told, and what stands in topics: the checker's whole input.

Nothing here comes from the system under test: it is what a stranger with a stock Kafka client and
an HTTP client knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Operation = Literal["put", "patch", "delete"]
Outcome = Literal["acknowledged", "refused", "unknown"]
"""Unknown: no answer, or one that says so. Whether the change is stored is then left open."""


@dataclass(slots=True)
class Write:
    """A change that a client tried to make.

    Attributes:
        token: Its name; puts and patches carry it in the document.
        region: Where it was written.
        via: "kafka" or "http".
        outcome: What the client was told.
        place: Partition and offset that it was told, if acknowledged.
        index: Which change of the record, if it was told.
    """

    token: str
    region: str
    via: Literal["kafka", "http"]
    operation: Operation
    entity: str
    outcome: Outcome = "unknown"
    place: tuple[int, int] | None = None
    index: int = 0


class Change(NamedTuple):
    """One change as it stands in a state topic, decoded."""

    token: str
    operation: str
    """put, patch, delete, or chained: a patch that stands for a whole document."""
    entity: str
    entity_type: str
    document: str | None
    fields: Sequence[tuple[str, bool, Any]]
    """Path, whether it is removed, value."""
    stamp: int
    """Hybrid timestamp: the producer's, else from the append time."""
    producer: str = ""
    base_stamp: int | None = None
    """chained: of the same producer's document below it; put: its own, if such may follow."""


class StateRecord(NamedTuple):
    """A record of a region's own state topic."""

    partition: int
    offset: int
    digest: bytes
    """Of key, value, headers and timestamp."""
    changes: Sequence[Change]


class ReplicaRecord(NamedTuple):
    """A record of a region's replica topic."""

    partition: int
    offset: int
    digest: bytes
    """As of the origin's record: without the headers that name the origin."""
    origin: tuple[str, int, int]
    """Region, partition, offset; an empty region where the headers say nothing usable."""


Entities = dict[str, tuple[str, str]]
"""Type and canonical JSON by entity."""


@dataclass(slots=True)
class Seen:
    """All of it.

    Attributes:
        writes: Of all clients.
        logs: State topics in the order of a `read_committed` reader, by region.
        replicas: Replica topics likewise.
        states: What each region serves over HTTP.
    """

    writes: list[Write] = field(default_factory=list)
    logs: dict[str, list[StateRecord]] = field(default_factory=dict)
    replicas: dict[str, list[ReplicaRecord]] = field(default_factory=dict)
    states: dict[str, Entities] = field(default_factory=dict)
