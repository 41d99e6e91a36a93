"""The fixed limits that `dwcp config show` prints."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dwcp.cli import main
from dwcp.config import load_config
from dwcp.limits import LIMITS, limits_table
from tests.support.repository import ROOT
from transport.frame import PAYLOAD_BYTES_MAX


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_number_that_the_code_enforces(name: str) -> None:
    assert LIMITS[name].value > 0


def test_the_table_of_limits_is_the_code_s_own() -> None:
    document = (ROOT / "docs" / "limits.md").read_text()

    assert limits_table() in document


def test_config_show_prints_settings_and_limits(tmp_path: Path) -> None:
    path = tmp_path / "region.yaml"
    path.write_text("region: eu-west\n")

    shown = json.loads(CliRunner().invoke(main, ["config", "show", str(path), "--json"]).stdout)

    assert shown["region"] == "eu-west"
    assert shown["limits"]["frame.payload_bytes"] == PAYLOAD_BYTES_MAX


def test_what_config_show_prints_for_people_is_a_configuration(tmp_path: Path) -> None:
    path, again = tmp_path / "region.yaml", tmp_path / "again.yaml"
    path.write_text("region: eu-west\nlink: {plain: true}\n")

    printed = CliRunner().invoke(main, ["config", "show", str(path)]).stdout
    again.write_text(printed)

    assert "# http.body_bytes: 2,097,152" in printed
    assert yaml.safe_load(printed)["region"] == "eu-west"
    assert load_config(again) == load_config(path)
