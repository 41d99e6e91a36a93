"""The topics of a region have the settings that the promises need."""

import pytest

from streams import topics
from streams.topics import TopicSettings, topic_specs

SPECS = {spec.name: spec for spec in topic_specs(TopicSettings(partition_count=6))}


def test_there_is_a_topic_for_each_purpose_with_the_partitions_it_needs() -> None:
    assert {name: spec.partition_count for name, spec in SPECS.items()} == {
        "dwcp.state": 6,
        "dwcp.replica.state": 6,
        "dwcp.snapshots": 6,
        "dwcp.deadletter": 1,
        "dwcp.links": 1,
        "dwcp.wanted": 1,
        "dwcp.baselines": 1,
    }


def test_the_broker_stamps_the_state_topic_and_the_replica_topic_keeps_the_stamp() -> None:
    assert SPECS[topics.STATE].settings["message.timestamp.type"] == "LogAppendTime"
    assert SPECS[topics.REPLICA].settings["message.timestamp.type"] == "CreateTime"


def test_only_snapshots_and_baselines_are_compacted() -> None:
    policies = {name: spec.settings["cleanup.policy"] for name, spec in SPECS.items()}

    assert policies.pop(topics.SNAPSHOTS) == "compact"
    assert policies.pop(topics.BASELINES) == "compact"
    assert set(policies.values()) == {"delete"}


def test_the_replica_topic_takes_whatever_a_link_carries_with_its_headers() -> None:
    taken = int(SPECS[topics.REPLICA].settings["max.message.bytes"])

    assert taken >= topics.SHIPPED_BYTES_MAX + 100_000


def test_a_dead_letter_fits_its_topic() -> None:
    kafkas_default = 1_048_588

    assert "max.message.bytes" not in SPECS[topics.DEADLETTER].settings
    assert kafkas_default - topics.DEADLETTER_VALUE_BYTES_MAX > 100_000


def test_retention_is_written_in_milliseconds() -> None:
    specs = topic_specs(TopicSettings(retention_hours=2))

    kept = {spec.settings.get("retention.ms") for spec in specs if spec.name != topics.WANTED}
    assert kept == {"7200000", None}


@pytest.mark.parametrize(("copies", "quorum"), [(1, "1"), (2, "2"), (3, "2"), (5, "3")])
def test_a_write_is_durable_on_a_majority_of_its_copies(copies: int, quorum: str) -> None:
    specs = topic_specs(TopicSettings(replication_factor=copies))

    assert {spec.settings["min.insync.replicas"] for spec in specs} == {quorum}
    assert {spec.replication_factor for spec in specs} == {copies}
