"""All partitions that a node holds, and their digest."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.partitioning import partition_of
from schemas.registry import Record
from streams.state.entity import FINGERPRINT_MASK, Entity
from streams.state.partition import PartitionState


class Digest(NamedTuple):
    """What a region holds, small enough to compare first.

    Attributes:
        vector: Next offset by origin region and partition; partitions at 0 are left out.
        fingerprint: Sum of the partitions' fingerprints modulo 2^64.
        entity_count: Entities that readers see.
    """

    vector: Mapping[str, Mapping[int, int]]
    fingerprint: int
    entity_count: int

    def is_contradicted_by(self, other: "Digest") -> bool:
        """Tell whether both saw the same writes and hold different state: an alarm."""
        return self.vector == other.vector and self.fingerprint != other.fingerprint

    def to_record(self) -> Record:
        """Return the Avro record."""
        return {
            "vector": [
                {
                    "region": region,
                    "positions": [
                        {"partition": partition, "offset": offset}
                        for partition, offset in sorted(positions.items())
                    ],
                }
                for region, positions in sorted(self.vector.items())
            ],
            "fingerprint": self.fingerprint.to_bytes(8, "little"),
            "entity_count": self.entity_count,
        }

    @classmethod
    def from_record(cls, record: Record) -> "Digest":
        """Read the Avro record."""
        vector = {
            origin["region"]: {p["partition"]: p["offset"] for p in origin["positions"]}
            for origin in record["vector"]
        }
        fingerprint = int.from_bytes(record["fingerprint"], "little") & FINGERPRINT_MASK
        return cls(vector, fingerprint, record["entity_count"])


class StateStore:
    """The partitions of one node.

    Args:
        region: Our region.
        partition_count: Partitions of the state topic.
    """

    def __init__(self, region: str, partition_count: int) -> None:
        self.region = region
        self.partitions = [PartitionState(p, partition_count) for p in range(partition_count)]

    def get(self, entity_id: str) -> Entity | None:
        """Return the entity, also a deleted one, or None when nobody ever wrote it."""
        partition = self.partitions[partition_of(entity_id, len(self.partitions))]
        return partition.entities.get(entity_id)

    def entities(self) -> Iterator[Entity]:
        """Yield every entity, deleted ones too, in no order; take a list before you await."""
        for partition in self.partitions:
            yield from partition.entities.values()

    def cursors(self, origin: str) -> dict[int, int]:
        """Return the next offset we lack of each partition of an origin's log."""
        return {p.partition: p.vector.get(origin, 0) for p in self.partitions}

    def digest(self) -> Digest:
        """Return what we hold, to compare with a peer's."""
        vector: dict[str, dict[int, int]] = {}
        for state in self.partitions:
            for origin, offset in state.vector.items():
                vector.setdefault(origin, {})[state.partition] = offset
        fingerprint = sum(p.fingerprint for p in self.partitions) & FINGERPRINT_MASK
        return Digest(vector, fingerprint, sum(p.visible_count for p in self.partitions))
