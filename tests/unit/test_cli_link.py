"""`dwcp link bench` says what it can measure, and refuses what it does not know."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.link.bench import chosen_scenarios
from benchmarks.link.scenarios import DEFAULT, QUICK, SCENARIOS, scenario_named
from benchmarks.wan.emulator import LinkShape
from dwcp.cli.link import link
from schemas.errors import ConfigError


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


def test_a_path_of_ones_own_is_spelled_out() -> None:
    path = scenario_named("300m-120.5ms-0.05%-bbr")

    assert path.shape == LinkShape(300, 120.5, 0.0005)
    assert (path.control, path.settle_s) == ("bbr", 25.0)
    assert scenario_named("20m-100ms-0%-bbr").settle_s == 15.0  # of the list: as it stands there


@pytest.mark.parametrize(
    "name",
    [
        "0m-100ms-0%-bbr",
        "10m-0ms-0%-bbr",
        "10m-3000ms-0%-bbr",
        "10m-100ms-50%-bbr",
        "10m-100ms-0%-vegas",
        "10m-100ms-0%",
        "-10m-100ms-0%-bbr",
    ],
)
def test_a_path_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="spell out RATEm"):
        scenario_named(name)


def test_loopback_alone_needs_no_emulator() -> None:
    scenarios, left_out = chosen_scenarios(("loopback",), is_quick=False)

    assert [scenario.name for scenario in scenarios] == ["loopback"]
    assert left_out == ""


def test_a_plot_of_a_node_that_does_not_answer_is_an_error() -> None:
    done = CliRunner().invoke(link, ["plot", "--url", "http://127.0.0.1:9", "--json"])

    assert done.exit_code != 0
    assert json.loads(done.stdout.splitlines()[-1])["error"]["reason"] == "Node"
