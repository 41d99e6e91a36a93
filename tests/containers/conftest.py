"""The engine and the images, or the reason why there are none."""

import os
from collections.abc import Iterator

import pytest

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # an image of its own; read at the import

from tests.containers.engine import an_engine, docker, has_image
from tests.containers.images import NODE_IMAGE, build_kafka


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """Give the engine's address, which testcontainers uses, too."""
    with an_engine() as address:
        if address is None:
            pytest.skip("no container engine answers, and none can be started (root and dockerd)")
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = address
        try:
            yield address
        finally:
            os.environ.pop("DOCKER_HOST")
            if before is not None:
                os.environ["DOCKER_HOST"] = before


@pytest.fixture(scope="session")
def kafka_image(engine: str) -> str:
    """Give Kafka's image: DWCP_KAFKA_IMAGE, else one built of our jars."""
    chosen = os.environ.get("DWCP_KAFKA_IMAGE")
    if chosen is None:
        return build_kafka(engine)
    if not has_image(engine, chosen):
        try:
            docker(engine, "pull", chosen)
        except RuntimeError as error:
            pytest.skip(f"DWCP_KAFKA_IMAGE={chosen} cannot be had: {error}")
    return chosen


@pytest.fixture(scope="session")
def node_image(engine: str) -> str:
    """Give a node's image: DWCP_NODE_IMAGE, else the one of `make docker-images`."""
    chosen = os.environ.get("DWCP_NODE_IMAGE", NODE_IMAGE)
    if not has_image(engine, chosen):
        pytest.skip(f"there is no image {chosen}: make docker-images")
    return chosen
