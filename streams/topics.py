"""The topics of a region and the settings they need."""

from dataclasses import dataclass
from typing import Final

from connectors.log import TopicSpec

STATE: Final = "dwcp.state"
REPLICA: Final = "dwcp.replica.state"
SNAPSHOTS: Final = "dwcp.snapshots"
DEADLETTER: Final = "dwcp.deadletter"
LINKS: Final = "dwcp.links"
BASELINES: Final = "dwcp.baselines"  # dictionaries and baselines, by name
WANTED: Final = "dwcp.wanted"  # whole documents that a fold asks producers for

RECORD_BYTES_MAX: Final = 1 << 20  # producers split their batches below this
SHIPPED_BYTES_MAX: Final = 8 << 20  # what the link carries at most: topics may be set up to it
DEADLETTER_VALUE_BYTES_MAX: Final = 900_000

_HOUR_MS: Final = 3_600_000
_WANTED_MS: Final = _HOUR_MS  # who is not there to hear it sends whole documents when it returns
# A segment is compacted only when it is closed: Kafka's own 1 GiB or a week would let every start
# read all snapshots of a week. Larger than the largest record, as Kafka wants it.
_SNAPSHOT_SEGMENT_BYTES: Final = 32 << 20
_SNAPSHOT_SEGMENT_MS: Final = _HOUR_MS // 6


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What operators choose about topics.

    Attributes:
        partition_count: Partitions of the state topics, equal in all regions, 1 to 1,024.
        replication_factor: Copies of every topic.
        retention_hours: How long a region may be away and still catch up from the log.
    """

    partition_count: int = 4
    replication_factor: int = 1
    retention_hours: int = 168


def topic_specs(settings: TopicSettings) -> list[TopicSpec]:
    """Return every topic of a region.

    `dwcp.state` takes the broker's append time, which is what drift and staleness are measured
    with; the replica topic keeps the origin's. The replica topic takes whatever an origin took.
    """
    quorum = {"min.insync.replicas": str(max(1, settings.replication_factor // 2 + 1))}
    kept = {"retention.ms": str(settings.retention_hours * _HOUR_MS), "cleanup.policy": "delete"}
    large = {"max.message.bytes": str(2 * SHIPPED_BYTES_MAX)}
    compacted = {
        "cleanup.policy": "compact",
        "segment.bytes": str(_SNAPSHOT_SEGMENT_BYTES),
        "segment.ms": str(_SNAPSHOT_SEGMENT_MS),
        "min.cleanable.dirty.ratio": "0.1",
    }
    # Kafka 4 refuses what is an hour ahead: a peer's wrong clock would stop its link for ever.
    foreign_time = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str((1 << 63) - 1),
    }
    each: list[tuple[str, int, dict[str, str]]] = [
        (
            STATE,
            settings.partition_count,
            kept
            | {
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(RECORD_BYTES_MAX),
            },
        ),
        (
            REPLICA,
            settings.partition_count,
            kept | large | foreign_time,
        ),
        (SNAPSHOTS, settings.partition_count, large | compacted),
        (DEADLETTER, 1, kept),
        (LINKS, 1, kept),
        (BASELINES, 1, large | compacted),
        (WANTED, 1, {"retention.ms": str(_WANTED_MS), "cleanup.policy": "delete"}),
    ]
    return [
        TopicSpec(name, count, settings.replication_factor, own | quorum)
        for name, count, own in each
    ]
