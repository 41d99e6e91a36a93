"""The fold of one partition: records of all origins in, entities out. Pure.

Invariants, each held by a test and by the simulation:

* A record below the vector is a duplicate and changes nothing, so a record may come twice or late.
* The fingerprint is the sum of all registers' hashes modulo 2^64: equal registers, equal sum,
  whatever the order in which the writes came.
* A record that cannot be handled advances the vector like any other; what is wrong with it comes
  back as `Rejected`, for the dead letters. Nothing is skipped in silence.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import xxhash

from schemas.changes import StateChange, check_change
from schemas.errors import (
    EventError,
    UnknownBaseError,
    WrongEventTypeError,
    WrongPartitionError,
    WrongRegionError,
)
from schemas.ids import Version
from schemas.partitioning import partition_of
from schemas.patching import patched_text
from schemas.registry import Record, decode_event
from streams.state.bases import Base, Bases
from streams.state.entity import FINGERPRINT_MASK, Entity

BUCKET_COUNT: Final = 64


class Rejected(NamedTuple):
    """A record, or one change of it, that could not be handled."""

    change_index: int
    error: EventError


class Folded(NamedTuple):
    """What one record did.

    Attributes:
        is_duplicate: The record was known; nothing happened.
        stamps: Hybrid timestamp of every change that was handled, also of hidden ones.
        touched: Entities whose registers changed, in order, maybe more than once.
        rejected: What has to go to the dead letters.
        wanted: Whole documents that producers of this log have to be asked for.
    """

    is_duplicate: bool
    stamps: list[int]
    touched: list[Entity]
    rejected: list[Rejected]
    wanted: list[Record]


class PartitionState:
    """All entities of one partition, as one region holds them.

    Args:
        partition: Its number.
        partition_count: Partitions of the state topic.

    Attributes:
        vector: Next offset by origin region.
        fingerprint: Sum of the registers' hashes modulo 2^64.
        visible_count: Entities that readers see.
        dirty: Buckets that changed since they were last taken for a snapshot.
        covered: Next offset by origin region that the newest durable manifest names.
    """

    def __init__(self, partition: int, partition_count: int) -> None:
        self.partition = partition
        self.partition_count = partition_count
        self.entities: dict[str, Entity] = {}
        self.vector: dict[str, int] = {}
        self.fingerprint = 0
        self.visible_count = 0
        self.dirty: set[int] = set()
        self.covered: dict[str, int] = {}

    def fold(self, origin: str, offset: int, record_time_ms: int, value: bytes | None) -> Folded:
        """Apply the record that stands at `offset` of this partition in the origin's log.

        Args:
            origin: Region whose log it is.
            offset: Its offset there.
            record_time_ms: Its append time there, Unix milliseconds.
            value: Its value, an event of `schemas/`.
        """
        folded = Folded(offset < self.vector.get(origin, 0), [], [], [], [])
        if folded.is_duplicate:
            return folded
        self.vector[origin] = offset + 1
        try:
            producer, changes = _changes_of(value)
        except EventError as error:
            folded.rejected.append(Rejected(-1, error))
            return folded
        stamp = 0
        for index, change in enumerate(changes):
            try:
                stamp = check_change(change, record_time_ms)
                self._check_place(change, origin)
                entity = self._apply(change, Version(stamp, origin, offset, index), producer)
            except EventError as error:
                folded.rejected.append(Rejected(index, error))
                if isinstance(error, UnknownBaseError):
                    folded.wanted.append(_wanted(change, error, stamp))
                continue
            folded.stamps.append(stamp)
            if entity is not None:
                folded.touched.append(entity)
        return folded

    def reject(self, origin: str, offset: int) -> bool:
        """Advance past a record that somebody else puts to the dead letters.

        Returns:
            Whether it is new; a duplicate has its dead letter already.
        """
        is_new = offset >= self.vector.get(origin, 0)
        if is_new:
            self.vector[origin] = offset + 1
        return is_new

    def entity(self, entity_id: str) -> Entity:
        """Return the entity, made empty if it is new."""
        entity = self.entities.get(entity_id)
        if entity is None:
            bucket = xxhash.xxh3_64_intdigest(entity_id.encode()) % BUCKET_COUNT
            entity = self.entities[entity_id] = Entity(entity_id, bucket)
        return entity

    def account(self, entity: Entity, added: int, *, was_visible: bool) -> None:
        """Note that an entity's registers changed by `added` in the fingerprint."""
        self.fingerprint = (self.fingerprint + added) & FINGERPRINT_MASK
        self.visible_count += entity.is_visible - was_visible
        self.dirty.add(entity.bucket)

    def _check_place(self, change: StateChange, origin: str) -> None:
        if change["origin_region"] != origin:
            raise WrongRegionError(
                f"origin_region = {change['origin_region']!r} in the log of {origin!r}: "
                f"configure the producer with its own region"
            )
        # Known entities were checked at first sight; hashing in Python costs more than the fold.
        entity_id = change["entity_id"]
        if entity_id in self.entities:
            return
        right = partition_of(entity_id, self.partition_count)
        if right != self.partition:
            raise WrongPartitionError(
                f"entity {entity_id!r} belongs to partition {right}, not {self.partition}: key "
                f"records by entity id and partition by murmur2 (librdkafka: "
                f"partitioner=murmur2_random)"
            )

    def _apply(self, change: StateChange, version: Version, producer: str) -> Entity | None:
        base_version = change.get("base_version")
        if change["operation"] == "patch" and base_version is not None:
            return self._apply_chained(change, version, producer, base_version)
        entity = self.entity(change["entity_id"])
        was_visible = entity.is_visible
        added = entity.apply(change, version)
        if change["operation"] != "patch":
            document = None if base_version is None else change["document"]
            self._hold(entity, producer, version, document)
        if added is None:
            return None
        self.account(entity, added, was_visible=was_visible)
        return entity

    def _apply_chained(
        self, change: StateChange, version: Version, producer: str, base_version: int
    ) -> Entity | None:
        """Apply a patch that stands for a whole document."""
        entity = self.entities.get(change["entity_id"])
        key = (version.region, producer)
        held = entity.bases.get(key) if entity is not None and entity.bases else None
        if held is not None and (version.offset, version.change_index) <= held.place:
            return None  # a replay: what it did is in the snapshot
        if entity is None or held is None or held.document is None or held.stamp != base_version:
            raise UnknownBaseError(producer, change["entity_id"], base_version)
        document = patched_text(held.document, change["deltas"])
        was_visible = entity.is_visible
        added = entity.put(document, version)
        entity.name_type(change["entity_type"], version)
        self._hold(entity, producer, version, document)
        if added is None:
            return None
        self.account(entity, added, was_visible=was_visible)
        return entity

    def _hold(self, entity: Entity, producer: str, version: Version, document: str | None) -> None:
        """Keep what later patches of the same producer may build on."""
        key = (version.region, producer)
        if entity.bases is None:
            if document is None:
                return
            entity.bases = Bases()
        elif (document is None and key not in entity.bases) or entity.bases.has_passed(
            key, (version.offset, version.change_index)
        ):
            return
        base = Base(version.stamp, version.offset, version.change_index, document)
        entity.bases.hold(key, base, self.covered)
        self.dirty.add(entity.bucket)


def _wanted(change: StateChange, error: UnknownBaseError, stamp: int) -> Record:
    return {
        "producer": error.producer,
        "entity_id": error.entity_id,
        "entity_type": change["entity_type"],
        "hybrid_timestamp": stamp,
    }


def _changes_of(value: bytes | None) -> tuple[str, Iterable[StateChange]]:
    """Return the producer's name and its changes."""
    if value is None:
        raise WrongEventTypeError(
            "a Kafka tombstone in the state topic: delete with a StateChange, operation delete"
        )
    name, record = decode_event(value)
    if name == "StateBatch":
        changes: list[StateChange] = record["changes"]
        return record["producer"], changes
    if name == "StateChange":
        change: Any = record  # the schema is the type
        return record["change_id"].rpartition("/")[0], [change]
    raise WrongEventTypeError(f"{name} in the state topic: produce StateChange or StateBatch")
