"""The clusters that every contract of the log runs on."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from connectors.log import Log
from tests.support.clusters import Cluster, InMemory, OnKafka


@pytest.fixture(scope="module", params=["memory", pytest.param("kafka", marks=pytest.mark.broker)])
def bootstrap(request: pytest.FixtureRequest) -> str | None:
    """Where Kafka is, or None for the cluster in memory."""
    if request.param == "memory":
        return None
    return str(request.getfixturevalue("kafka_broker").bootstrap)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(bootstrap: str | None) -> AsyncIterator[Cluster]:
    made: Cluster = InMemory() if bootstrap is None else OnKafka(bootstrap)
    yield made
    await made.close()


@pytest.fixture
def log(cluster: Cluster) -> Log:
    return cluster.log
