"""The least rights in Kafka: the list for operators is the one that nodes check."""

import json

import pytest
from click.testing import CliRunner

from connectors.kafka_access import Access, named
from dwcp.cli import main
from streams.kafka_access import node_access, producer_access
from streams.topics import TopicSettings, topic_specs
from tests.support.repository import ROOT


def test_every_topic_of_a_region_is_in_the_list() -> None:
    listed = {one.name for one in node_access("eu-west") if one.kind == "topic"}

    assert {spec.name for spec in topic_specs(TopicSettings())} == listed - {"dwcp."}


@pytest.mark.parametrize("one", node_access("<region>"), ids=str)
def test_the_table_for_operators_says_the_same(one: Access) -> None:
    """Each resource is named in a row that has its rights in the nodes' column."""
    lines = (ROOT / "docs" / "security.md").read_text().splitlines()
    name = one.name + ("*" if one.is_prefix else "")
    (row,) = [line for line in lines if line.startswith("| ") and f"`{name}`" in line]
    rights = row.split("|")[2]

    assert all(operation in rights for operation in one.operations)
    assert len(one.operations) == len(
        [word for word in rights.split() if word.strip(",").isupper()]
    )


def test_the_command_prints_lines_for_kafka_s_own_tool_and_json() -> None:
    words = ["kafka", "acls", "--region", "eu-west", "--user", "node"]
    lines = CliRunner().invoke(main, words).stdout.splitlines()
    (answer,) = CliRunner().invoke(main, [*words, "--json"]).stdout.splitlines()

    assert len(lines) == len(node_access("eu-west"))
    assert all("--allow-principal User:node --operation " in line for line in lines)
    assert lines[-1].endswith("--transactional-id dwcp-eu-west- --resource-pattern-type prefixed")
    assert [one["name"] for one in json.loads(answer)["acls"]] == [
        one.name for one in node_access("eu-west")
    ]
    service = CliRunner().invoke(main, ["kafka", "acls", "--service", "--user", "s"]).stdout
    assert len(service.splitlines()) == len(producer_access())


def test_what_is_missing_is_said_in_a_sentence() -> None:
    assert named(node_access("eu")[-2:]) == (
        "READ on group dwcp-eu; WRITE on transactional-id dwcp-eu-*"
    )
