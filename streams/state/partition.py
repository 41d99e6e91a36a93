"""The fold of one partition: records of all origins in, entities out. Pure.

Invariants, each held by a test and by the simulation:

* A record below the vector is a duplicate and changes nothing, so a record may come twice or late.
* The fingerprint is the sum of all registers' hashes modulo 2^64: equal registers, equal sum,
  whatever the order in which the writes came.
* A record that cannot be handled advances the vector like any other; what is wrong with it comes
  back as `Rejected`, for the dead letters. Nothing is skipped in silence.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import xxhash

from schemas.changes import StateChange, check_change
from schemas.errors import EventError, WrongEventTypeError, WrongPartitionError, WrongRegionError
from schemas.ids import Version
from schemas.partitioning import partition_of
from schemas.registry import decode_event
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
    """

    is_duplicate: bool
    stamps: list[int]
    touched: list[Entity]
    rejected: list[Rejected]


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
    """

    def __init__(self, partition: int, partition_count: int) -> None:
        self.partition = partition
        self.partition_count = partition_count
        self.entities: dict[str, Entity] = {}
        self.vector: dict[str, int] = {}
        self.fingerprint = 0
        self.visible_count = 0
        self.dirty: set[int] = set()

    def fold(self, origin: str, offset: int, record_time_ms: int, value: bytes | None) -> Folded:
        """Apply the record that stands at `offset` of this partition in the origin's log.

        Args:
            origin: Region whose log it is.
            offset: Its offset there.
            record_time_ms: Its append time there, Unix milliseconds.
            value: Its value, an event of `schemas/`.
        """
        folded = Folded(offset < self.vector.get(origin, 0), [], [], [])
        if folded.is_duplicate:
            return folded
        self.vector[origin] = offset + 1
        try:
            changes = _changes_of(value)
        except EventError as error:
            folded.rejected.append(Rejected(-1, error))
            return folded
        for index, change in enumerate(changes):
            try:
                stamp = check_change(change, record_time_ms)
                self._check_place(change, origin)
            except EventError as error:
                folded.rejected.append(Rejected(index, error))
                continue
            folded.stamps.append(stamp)
            entity = self._apply(change, Version(stamp, origin, offset, index))
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

    def _apply(self, change: StateChange, version: Version) -> Entity | None:
        entity = self.entity(change["entity_id"])
        was_visible = entity.is_visible
        added = entity.apply(change, version)
        if added is None:
            return None
        self.account(entity, added, was_visible=was_visible)
        return entity


def _changes_of(value: bytes | None) -> Iterable[StateChange]:
    if value is None:
        raise WrongEventTypeError(
            "a Kafka tombstone in the state topic: delete with a StateChange, operation delete"
        )
    name, record = decode_event(value)
    if name == "StateBatch":
        changes: list[StateChange] = record["changes"]
        return changes
    if name == "StateChange":
        return [record]  # type: ignore[list-item] # the schema is the type
    raise WrongEventTypeError(f"{name} in the state topic: produce StateChange or StateBatch")
