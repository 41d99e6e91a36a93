"""The partitions that a node holds, and their digest."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from schemas.errors import PartitionNotHeldError
from schemas.partitioning import partition_of
from schemas.registry import Record
from streams.state.entity import FINGERPRINT_MASK, Entity
from streams.state.partition import PartitionState


class PartitionDigest(NamedTuple):
    """What a node holds of one partition, small enough to compare first.

    Attributes:
        vector: Next offset by origin region.
        fingerprint: Sum of its registers' hashes modulo 2^64.
        entity_count: Entities that readers see.
    """

    vector: Mapping[str, int]
    fingerprint: int
    entity_count: int


class Digest(NamedTuple):
    """What a node holds, by partition: nodes of two regions seldom hold the same ones."""

    partitions: Mapping[int, PartitionDigest]

    @property
    def vector(self) -> dict[str, dict[int, int]]:
        """Next offset by origin region and partition; partitions at 0 are left out."""
        found: dict[str, dict[int, int]] = {}
        for partition, digest in self.partitions.items():
            for origin, offset in digest.vector.items():
                found.setdefault(origin, {})[partition] = offset
        return found

    @property
    def fingerprint(self) -> int:
        """Sum of the partitions' fingerprints modulo 2^64."""
        return sum(d.fingerprint for d in self.partitions.values()) & FINGERPRINT_MASK

    @property
    def entity_count(self) -> int:
        """Entities that readers see."""
        return sum(d.entity_count for d in self.partitions.values())

    def contradictions(self, other: "Digest") -> list[int]:
        """Return partitions of which both saw the same writes and hold different state."""
        return [
            partition
            for partition, ours in self.partitions.items()
            if (theirs := other.partitions.get(partition)) is not None
            and ours.vector == theirs.vector
            and ours.fingerprint != theirs.fingerprint
        ]

    def to_record(self) -> Record:
        """Return the Avro record."""
        return {
            "partitions": [
                {
                    "partition": partition,
                    "vector": [
                        {"region": region, "offset": offset}
                        for region, offset in sorted(digest.vector.items())
                    ],
                    "fingerprint": digest.fingerprint.to_bytes(8, "little"),
                    "entity_count": digest.entity_count,
                }
                for partition, digest in sorted(self.partitions.items())
            ]
        }

    @classmethod
    def from_record(cls, record: Record) -> "Digest":
        """Read the Avro record."""
        return cls(
            {
                part["partition"]: PartitionDigest(
                    {origin["region"]: origin["offset"] for origin in part["vector"]},
                    int.from_bytes(part["fingerprint"], "little") & FINGERPRINT_MASK,
                    part["entity_count"],
                )
                for part in record["partitions"]
            }
        )


class StateStore:
    """The partitions of one node.

    Args:
        region: Our region.
        partition_count: Partitions of the state topic.

    Attributes:
        partitions: Those that are held, by number.
    """

    def __init__(self, region: str, partition_count: int) -> None:
        self.region = region
        self.partition_count = partition_count
        self.partitions: dict[int, PartitionState] = {}

    def partition_of(self, entity_id: str) -> int:
        """Return the partition an entity belongs to, held or not."""
        return partition_of(entity_id, self.partition_count)

    def get(self, entity_id: str) -> Entity | None:
        """Return the entity, also a deleted one, or None when nobody ever wrote it.

        Raises:
            PartitionNotHeldError: Its partition is not here.
        """
        partition = self.partition_of(entity_id)
        state = self.partitions.get(partition)
        if state is None:
            raise PartitionNotHeldError(f"partition {partition} is not held here")
        return state.entities.get(entity_id)

    def entities(self, partitions: Iterable[int] | None = None) -> Iterator[Entity]:
        """Yield every entity, deleted ones too, in no order; take a list before you await.

        Args:
            partitions: Only of these; all that are held if None.
        """
        for partition in self.partitions if partitions is None else partitions:
            yield from self.partitions[partition].entities.values()

    def digest(self) -> Digest:
        """Return what we hold, to compare with a peer's."""
        return Digest(
            {
                p: PartitionDigest(dict(state.vector), state.fingerprint, state.visible_count)
                for p, state in sorted(self.partitions.items())
            }
        )
