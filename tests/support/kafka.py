"""One broker for all broker tests: `conftest.py` re-exports the fixture."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port

__all__ = ["free_port", "kafka_broker", "unique_topic"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBroker]:
    """Run one broker for the whole session; tests use topics of their own and do not stop it."""
    folder: Path = tmp_path_factory.mktemp("kafka")
    async with KafkaBroker(folder, port=free_port()) as broker:
        yield broker


def unique_topic(stem: str) -> str:
    """Name a topic that no other test uses."""
    return f"{stem}-{os.urandom(4).hex()}"
