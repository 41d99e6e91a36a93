"""`dwcp kafka`: what it says to machines, and that up, status and down belong together."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connectors.embedded.folder import BrokerFolder
from connectors.embedded.host import LOOPBACK
from connectors.embedded.locks import try_lock
from dwcp.cli.kafka import kafka
from tests.support.kafka import free_port
from tests.support.waiting import is_gone

ERROR = 3


def run(*arguments: str) -> tuple[Result, dict[str, Any]]:
    """Run with --json; return the result and the object on the last line of stdout."""
    result = CliRunner().invoke(kafka, [*arguments, "--json"])
    return result, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_every_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(kafka, [command, "--help"])

    assert result.exit_code == 0
    assert f"dwcp kafka {command}" in result.stdout


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_name_that_is_a_path_is_refused(command: str) -> None:
    result, said = run(command, "--name", "../elsewhere")

    assert result.exit_code == ERROR
    assert said["error"]["reason"] == "Config"


def test_no_broker_is_no_error_for_status_and_down(tmp_path: Path) -> None:
    status, state = run("status", "--data-dir", str(tmp_path / "none"))
    down, stopped = run("down", "--data-dir", str(tmp_path / "none"))

    assert (status.exit_code, down.exit_code) == (0, 0)
    assert (state["running"], state["ready"], state["pid"]) == (False, False, None)
    assert stopped["stopped"] is False
    assert not (tmp_path / "none").exists()


def test_the_folder_is_named_after_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    _, said = run("status", "--name", "second")

    assert said["data_dir"] == str(tmp_path / "dwcp" / "kafka" / "second")


def test_down_does_not_stop_what_is_no_broker_of_ours(tmp_path: Path) -> None:
    folder = BrokerFolder.at(tmp_path)
    folder.make()
    held = try_lock(folder.lock_path)
    assert held is not None
    holder = subprocess.Popen(
        [sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE, pass_fds=(held,)
    )
    with holder:
        result, said = run("down", "--data-dir", str(tmp_path))
        status, state = run("status", "--data-dir", str(tmp_path))
        assert holder.poll() is None
        holder.communicate(b"\n")

    assert result.exit_code == ERROR
    assert "no broker that this user may stop" in said["error"]["message"]
    assert (status.exit_code, state["running"], state["pid"]) == (0, True, None)


def test_a_cache_that_cannot_be_written_is_one_object_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    result, said = run("up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port()))

    assert result.exit_code == ERROR
    assert said["error"]["reason"] == "JarDownload"


def test_a_taken_port_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.create_server((LOOPBACK, port := free_port())):
        result, said = run("up", "--data-dir", str(tmp_path / "data"), "--port", str(port))

    assert result.exit_code == ERROR
    assert said["error"]["reason"] == "PortInUse"
    assert not (tmp_path / "cache").exists()


@pytest.mark.broker
def test_up_status_and_down_of_a_real_broker(tmp_path: Path) -> None:
    place, port = ["--data-dir", str(tmp_path)], free_port()
    up, started = run("up", *place, "--port", str(port))
    try:
        assert up.exit_code == 0
        assert started["started"] is True
        _, again = run("up", *place)
        other, refused = run("up", *place, "--port", str(free_port()))
        _, state = run("status", *place)
        shown = CliRunner().invoke(kafka, ["status", *place])
    finally:
        down, stopped = run("down", *place)

    assert again["started"] is False
    assert again["pid"] == started["pid"]
    assert other.exit_code == ERROR
    assert f"runs already on port {port}" in refused["error"]["message"]
    assert state["ready"] is True
    assert state["bootstrap"] == f"127.0.0.1:{port}"
    assert state["version"] == "4.1.1"
    assert 50_000_000 < state["resident_bytes"] < 400_000_000
    assert state["uptime_s"] > 0
    assert shown.stdout == ""
    assert down.exit_code == 0
    assert stopped["stopped"] is True
    assert is_gone(started["pid"])
    assert run("status", *place)[1]["running"] is False
