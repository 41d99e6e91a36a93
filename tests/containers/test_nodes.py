"""Regions in containers: two by testcontainers, and all three of docker/ by compose."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from testcontainers.core.container import DockerContainer

from connectors.embedded.host import free_port
from tests.containers.engine import compose_command
from tests.containers.kafka import kafka_container, on_host
from tests.support.repository import ROOT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

REGIONS = ("eu-west", "us-east")
READY_S = 120.0
COMPOSE_PORTS = (6066, 6067, 6068)
TOKENS = {"DWCP_READ_TOKEN": "r" * 32, "DWCP_WRITE_TOKEN": "w" * 32}


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Make them as docker/certs.sh does."""
    folder = tmp_path / "certs"
    for words in (["init"], *(["issue", "--region", region] for region in REGIONS)):
        command = [sys.executable, "-m", "dwcp", "certs", *words, "--dir", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    for path in folder.iterdir():
        path.chmod(0o644)  # the container's user is another
    return folder


def shipped_config(region: str, kafka: int, links: dict[str, int], web: int) -> dict[str, Any]:
    """Return docker/regions' configuration with addresses on loopback."""
    config: dict[str, Any] = yaml.safe_load(
        (ROOT / "docker" / "regions" / f"{region}.yaml").read_text()
    )
    config["kafka"]["bootstrap"] = f"127.0.0.1:{kafka}"
    config["link"]["listen"] = f"127.0.0.1:{links[region]}"
    config["peers"] = {r: f"127.0.0.1:{port}" for r, port in links.items() if r != region}
    config["web"] |= {"bind": "127.0.0.1", "port": web}
    return config


def call(port: int, path: str, body: Any = None) -> Any:
    """Ask a node, with the rights to write."""
    data = None if body is None else json.dumps(body).encode()
    headers = {
        "Authorization": f"Bearer {TOKENS['DWCP_WRITE_TOKEN' if data else 'DWCP_READ_TOKEN']}"
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def answers(port: int, path: str, expected: dict[str, Any]) -> bool:
    """Say whether a node's answer has these members."""
    try:
        found = call(port, path)
    except (urllib.error.URLError, OSError):
        return False
    return all(found.get(key) == value for key, value in expected.items())


@contextlib.contextmanager
def region(
    name: str, images: tuple[str, str], config: dict[str, Any], folder: Path, certificates: Path
) -> Iterator[DockerContainer]:
    """Run a region's Kafka and node."""
    kafka_image, node_image = images
    data = folder / name
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    port = int(config["kafka"]["bootstrap"].rpartition(":")[2])
    node = on_host(node_image).with_volume_mapping(str(path), "/etc/dwcp/region.yaml", "ro")
    node.with_volume_mapping(str(certificates), "/certs", "ro")
    for key, value in TOKENS.items():
        node.with_env(key, value)
    node.with_kwargs(network_mode="host", restart_policy={"Name": "always"})  # until Kafka is there
    with kafka_container(kafka_image, port, str(data)), node:
        yield node


def test_a_change_goes_from_region_to_region(
    kafka_image: str, node_image: str, tmp_path: Path, certificates: Path
) -> None:
    links = {name: free_port() for name in REGIONS}
    webs = {name: free_port() for name in REGIONS}
    with contextlib.ExitStack() as stack:
        for name in REGIONS:
            config = shipped_config(name, free_port(), links, webs[name])
            images = (kafka_image, node_image)
            stack.enter_context(region(name, images, config, tmp_path, certificates))
        for name in REGIONS:
            wait_until(
                partial(answers, webs[name], "/status", {"is_ready": True}),
                READY_S,
                f"{name} to be ready",
            )
        change = {"entity": "vm-17", "type": "vm", "document": {"power": "on"}}
        stored = call(webs["eu-west"], "/state", change)["stored"]
        wait_until(
            lambda: answers(webs["us-east"], "/state/vm-17", {"document": {"power": "on"}}),
            READY_S,
            "the change in the other region",
        )

    assert stored[0]["region"] == "eu-west"


def test_compose_brings_up_three_regions(engine: str, kafka_image: str, node_image: str) -> None:
    compose = compose_command()
    if not compose:
        pytest.skip("neither `docker compose` nor `docker-compose` is here")
    images = {"DWCP_KAFKA_IMAGE": kafka_image, "DWCP_NODE_IMAGE": node_image}
    environment = {**os.environ, **TOKENS, **images, "DOCKER_HOST": engine}
    file = ["--file", str(ROOT / "docker" / "compose.yaml"), "--project-name", "dwcp-test"]

    def run(*words: str) -> None:
        subprocess.run([*compose, *file, *words], env=environment, check=True, timeout=240)

    try:
        run("up", "--detach")
        for port in COMPOSE_PORTS:
            wait_until(
                partial(answers, port, "/status", {"is_ready": True}),
                READY_S,
                f"the node on port {port} to be ready",
            )
        change = {"entity": "vm-17", "type": "vm", "document": {"power": "on"}}
        call(COMPOSE_PORTS[0], "/state", change)
        for port in COMPOSE_PORTS:
            wait_until(
                partial(answers, port, "/state/vm-17", {"document": {"power": "on"}}),
                READY_S,
                f"the change on port {port}",
            )
    finally:
        run("down", "--volumes")
