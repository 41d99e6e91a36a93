"""`dwcp link bench` says what it can measure, and refuses what it does not know."""

import json

from click.testing import CliRunner

from benchmarks.link.bench import chosen_scenarios
from benchmarks.link.scenarios import DEFAULT, QUICK, SCENARIOS
from dwcp.cli.link import link


def test_the_paths_are_listed() -> None:
    done = CliRunner().invoke(link, ["bench", "--list", "--json"])
    listed = json.loads(done.stdout.splitlines()[-1])["scenarios"]

    assert done.exit_code == 0
    assert listed == [scenario.name for scenario in SCENARIOS]
    assert set(DEFAULT) | set(QUICK) <= set(listed)


def test_an_unknown_path_is_refused_with_the_known_ones() -> None:
    done = CliRunner().invoke(link, ["bench", "--scenario", "moon", "--json"])
    error = json.loads(done.stdout.splitlines()[-1])["error"]

    assert done.exit_code != 0
    assert "moon" in error["message"]
    assert "loopback" in error["message"]


def test_loopback_alone_needs_no_emulator() -> None:
    scenarios, left_out = chosen_scenarios(("loopback",), is_quick=False)

    assert [scenario.name for scenario in scenarios] == ["loopback"]
    assert left_out == ""


def test_a_plot_of_a_node_that_does_not_answer_is_an_error() -> None:
    done = CliRunner().invoke(link, ["plot", "--url", "http://127.0.0.1:9", "--json"])

    assert done.exit_code != 0
    assert json.loads(done.stdout.splitlines()[-1])["error"]["reason"] == "Node"
