"""Every file in docker/ is what it should be: by reading, and by compose where it is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dwcp.config import load_config
from tests.containers.engine import compose_command
from tests.support.repository import ROOT, committed_files, name_of

DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"
REGIONS = sorted(path.stem for path in (DOCKER / "regions").glob("*.yaml"))
DOCKERFILES = sorted(DOCKER.rglob("Dockerfile"))
SCRIPTS = sorted(DOCKER.rglob("*.sh"))
MADE = {"wheels", "root.tar"}  # by tests.containers.images, and never committed
INSTRUCTIONS = {
    *("ARG", "FROM", "COPY", "ADD", "RUN", "USER", "WORKDIR", "ENV", "EXPOSE", "VOLUME"),
    *("ENTRYPOINT", "CMD", "LABEL"),
}


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DWCP_READ_TOKEN", "r" * 32)
    monkeypatch.setenv("DWCP_WRITE_TOKEN", "w" * 32)


def compose() -> dict[str, Any]:
    """Read the compose file with its variables replaced, as compose does."""
    text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", _variable, COMPOSE.read_text())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _variable(match: re.Match[str]) -> str:
    return os.environ.get(match[1]) or match[2] or ""


def test_every_file_is_looked_at_here() -> None:
    known = {*DOCKERFILES, *SCRIPTS, COMPOSE, *(DOCKER / "regions").glob("*.yaml")}
    others = {name_of(path) for path in committed_files() if DOCKER in path.parents} - {
        name_of(path) for path in known
    }

    assert others == {
        "docker/.dockerignore",
        "docker/README.md",  # tests/architecture reads documents
        "docker/kafka/.dockerignore",
        "docker/kafka/log4j2.properties",
    }


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_a_dockerfile_is_well_formed(path: Path) -> None:
    steps = instructions(path)
    names = [name for name, _ in steps]

    assert set(names) <= INSTRUCTIONS
    assert "FROM" in names[:2]
    for name, rest in steps:
        if name in ("ENTRYPOINT", "CMD", "VOLUME"):
            assert isinstance(json.loads(rest), list), f"{name}: the form without a shell"
        if name in ("COPY", "ADD") and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source in MADE or (path.parent / source).exists(), source
                assert f"!{source}" in (path.parent / ".dockerignore").read_text().split()


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_posix_shell(path: Path) -> None:
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell is not None
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert path.read_text().startswith("#!/bin/sh\n")
    assert "set -eu" in path.read_text()


def test_kafka_s_log_settings_are_properties() -> None:
    lines = (DOCKER / "kafka" / "log4j2.properties").read_text().splitlines()

    assert all(re.fullmatch(r"[\w.]+ = .+", line) for line in lines)


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_s_configuration_is_good_and_fits_the_compose_file(region: str) -> None:
    path = DOCKER / "regions" / f"{region}.yaml"
    config, services = load_config(path), compose()["services"]

    assert config.region == region
    assert set(config.peers) == set(REGIONS) - {region}
    assert str(config.kafka.bootstrap).rpartition(":")[0] == f"kafka-{region}"
    written = yaml.safe_load(path.read_text())
    assert all(written["peers"][peer] == f"node-{peer}:7400" for peer in config.peers)
    node = services[f"node-{region}"]
    assert f"./regions/{region}.yaml:/etc/dwcp/region.yaml:ro" in node["volumes"]
    assert set(node["environment"]) >= {"DWCP_READ_TOKEN", "DWCP_WRITE_TOKEN"}


def test_the_compose_file_names_only_what_is_there() -> None:
    found = compose()
    services, volumes = found["services"], found["volumes"]

    assert set(services) == {"certs"} | {
        f"{kind}-{r}" for kind in ("kafka", "node") for r in REGIONS
    }
    assert services["certs"]["command"] == ["eu-west", "us-east", "ap-south"]
    assert set(services["certs"]["command"]) == set(REGIONS)
    clusters = [services[f"kafka-{region}"]["environment"]["CLUSTER_ID"] for region in REGIONS]
    assert len(set(clusters)) == len(REGIONS)
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or (DOCKER / source).exists(), f"{name}: {volume}"
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is open to all"


def test_certificates_are_made_once(tmp_path: Path) -> None:
    """The script itself, with its folder put in place of the container's."""
    script = tmp_path / "certs.sh"
    script.write_text((DOCKER / "certs.sh").read_text().replace("/certs", str(tmp_path / "certs")))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):
        command = ["/bin/sh", str(script), *REGIONS]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": path})

    made = {path.name for path in (tmp_path / "certs").iterdir()}
    assert {"ca.pem", *(f"{region}.pem" for region in REGIONS)} <= made


def test_compose_itself_takes_the_file() -> None:
    words = compose_command()
    if not words:
        pytest.skip("neither `docker compose` nor `docker-compose` is here")
    checked = [*words, "-f", str(COMPOSE), "config", "--quiet"]
    said = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
