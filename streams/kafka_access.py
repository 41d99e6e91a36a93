"""What a node, and a service that writes, need to do in their region's Kafka: no more."""

from connectors.kafka_access import Access
from streams import topics


def node_access(region: str) -> list[Access]:
    """Return what a node needs.

    Its topics it creates itself; where they exist already, CREATE is not needed.
    """
    read_and_written = (topics.STATE, topics.REPLICA, topics.SNAPSHOTS)
    return [
        *(
            Access("topic", name, ("READ", "WRITE", "DESCRIBE_CONFIGS"))
            for name in (*read_and_written, topics.WANTED, topics.BASELINES)
        ),
        Access("topic", topics.DEADLETTER, ("WRITE", "DESCRIBE_CONFIGS")),
        Access("topic", topics.LINKS, ("DESCRIBE", "DESCRIBE_CONFIGS")),
        Access("topic", "dwcp.", ("CREATE",), is_prefix=True),
        Access("group", group_of(region), ("READ",)),
        Access("transactional-id", f"{group_of(region)}-", ("WRITE",), is_prefix=True),
    ]


def producer_access() -> list[Access]:
    """Return what a `StateProducer`, or `dwcp produce`, needs."""
    return [
        Access("topic", topics.STATE, ("WRITE", "DESCRIBE_CONFIGS")),
        Access("topic", topics.WANTED, ("READ",)),
    ]


def group_of(region: str) -> str:
    """Return a region's consumer group; its transactional ids begin so, too."""
    return f"dwcp-{region}"
