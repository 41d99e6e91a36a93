"""A broker with a faulty link before it: clients that come by the link meet its faults."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.settings import front
from tests.faults.proxy import FaultyLink


@dataclass(frozen=True, slots=True)
class FrontedBroker:
    """A running broker and the link before it.

    Attributes:
        broker: Its `bootstrap` passes the link by: for whoever checks.
        link: The faults.
        bootstrap: Kafka's address by the link: for whoever is tested.
    """

    broker: KafkaBroker
    link: FaultyLink
    bootstrap: str


@contextlib.asynccontextmanager
async def fronted_broker(data_dir: Path) -> AsyncIterator[FrontedBroker]:
    """Run a broker that clients reach by a faulty link, also after its metadata's answer."""
    port = free_port()
    link = FaultyLink("127.0.0.1", port)
    proxy_port = await link.start()
    try:
        settings = front(port, proxy_port)
        async with KafkaBroker(data_dir, port=free_port(), settings=settings) as broker:
            yield FrontedBroker(broker, link, f"127.0.0.1:{proxy_port}")
    finally:
        await link.stop()
