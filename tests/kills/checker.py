"""Judges a history: nothing lost, nothing twice, nothing out of order, all regions equal. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.kills.history import Change, ReplicaRecord, Seen, StateRecord, Write
from tests.kills.model import expected_entities

SHOWN_MAX: Final = 5
"""Examples kept of each kind of violation."""

KINDS: Final = ("lost", "duplicates", "reordered", "altered", "invented", "unequal")
STANDS_FOR: Final = {"put": ("put", "chained"), "patch": ("patch",), "delete": ("delete",)}
Origin = tuple[str, int, int]
"""Region, partition, offset."""


class Place(NamedTuple):
    """Where a change stands."""

    region: str
    partition: int
    offset: int
    change_index: int


@dataclass(slots=True)
class Verdict:
    """What was found; all counts have to be 0.

    Attributes:
        lost: Acknowledged changes that their own state topic does not hold where it was said, and
            records of a state topic that another region's replica topic lacks.
        duplicates: Records that stand in a replica topic once more, changes that a state topic
            holds once more.
        reordered: Replica records behind a later one of the same origin and partition.
        altered: Replica records whose key, value, headers, timestamp or partition is another.
        invented: Replica records of no record, and changes that stand in a log though refused.
        unequal: Entities that a region serves otherwise than the logs say.
        examples: The first few of each, in words.
    """

    lost: int = 0
    duplicates: int = 0
    reordered: int = 0
    altered: int = 0
    invented: int = 0
    unequal: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, text: str) -> None:
        """Count a violation and keep it as an example, if it is among the first."""
        setattr(self, kind, getattr(self, kind) + 1)
        kept = self.examples.setdefault(kind, [])
        if len(kept) < SHOWN_MAX:
            kept.append(text)

    @property
    def is_good(self) -> bool:
        """Whether nothing was found."""
        return not self.examples

    def to_json(self) -> dict[str, Any]:
        """Return counts and examples."""
        return {**{kind: getattr(self, kind) for kind in KINDS}, "examples": self.examples}


def judge(seen: Seen) -> Verdict:
    """Compare what clients were told with what topics and regions hold."""
    verdict = Verdict()
    for region, records in seen.logs.items():
        _judge_log(verdict, region, records, [w for w in seen.writes if w.region == region])
    origins = {
        (region, record.partition, record.offset): record.digest
        for region, records in seen.logs.items()
        for record in records
    }
    for region, replica in seen.replicas.items():
        others = {place: digest for place, digest in origins.items() if place[0] != region}
        _judge_replica(verdict, region, replica, others)
    expected = expected_entities(seen.logs)
    for region, entities in seen.states.items():
        for entity in sorted(expected.keys() | entities.keys()):
            want, have = expected.get(entity), entities.get(entity)
            if want != have:
                verdict.note("unequal", f"{region} {entity}: serves {have}, logs say {want}")
    return verdict


def _judge_log(
    verdict: Verdict, region: str, records: Sequence[StateRecord], writes: Sequence[Write]
) -> None:
    held: dict[Place, Change] = {}
    first: dict[str, Place] = {}
    for place, change in _changes(region, records):
        held[place] = change
        earlier = held.get(first[change.token]) if change.token in first else None
        if change.token and earlier is not None and not _is_asked_for(earlier, change):
            verdict.note("duplicates", f"{change.token} at {first[change.token]} and {place}")
        first.setdefault(change.token, place)
    known = {write.token for write in writes}
    for token, place in first.items():
        if token and token not in known:
            verdict.note("invented", f"{token} at {place}: nobody wrote it")
    for write in writes:
        if write.outcome == "refused" and write.token in first:
            verdict.note("invented", f"{write.token} at {first[write.token]}: it was refused")
        elif write.outcome == "acknowledged" and not _is_held(write, held):
            where = f"{write.region}/{write.place}/{write.index}"
            verdict.note("lost", f"{write.via} {write.token}: acknowledged, but not at {where}")


def _changes(region: str, records: Sequence[StateRecord]) -> Iterator[tuple[Place, Change]]:
    for record in records:
        for index, change in enumerate(record.changes):
            yield Place(region, record.partition, record.offset, index), change


def _is_asked_for(earlier: Change, change: Change) -> bool:
    """Say whether a whole document follows a chained patch whose base was not held: it may."""
    same = earlier.stamp == change.stamp and earlier.producer == change.producer
    return same and (earlier.operation, change.operation) == ("chained", "put")


def _is_held(write: Write, held: Mapping[Place, Change]) -> bool:
    assert write.place is not None, "an acknowledgement names a place"
    change = held.get(Place(write.region, *write.place, write.index))
    return (
        change is not None
        and change.entity == write.entity
        and change.operation in STANDS_FOR[write.operation]
        and change.token in ("", write.token)  # a delete over HTTP carries none
    )


def _judge_replica(
    verdict: Verdict, region: str, replica: Sequence[ReplicaRecord], others: Mapping[Origin, bytes]
) -> None:
    seen: set[Origin] = set()
    last: dict[tuple[str, int], int] = {}
    for record in replica:
        here = f"{region} {record.partition}/{record.offset} from {record.origin}"
        origin, partition, offset = record.origin
        if record.origin not in others:
            verdict.note("invented", f"{here}: no such record there")
        elif record.origin in seen:
            verdict.note("duplicates", f"{here}: once more")
        elif offset < last.get((origin, record.partition), -1):
            verdict.note("reordered", f"{here}: behind {last[origin, record.partition]}")
        if others.get(record.origin, record.digest) != record.digest:
            verdict.note("altered", f"{here}: other content")
        if partition != record.partition:
            verdict.note("altered", f"{here}: in another partition")
        seen.add(record.origin)
        last[origin, record.partition] = max(offset, last.get((origin, record.partition), -1))
    for missing in sorted(others.keys() - seen):
        verdict.note("lost", f"{region}: lacks {missing}")
