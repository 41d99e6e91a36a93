"""A broker of the node's own, where the configuration names no Kafka."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from dwcp.config import RegionConfig
from schemas.errors import BrokerDiedError


@contextlib.asynccontextmanager
async def own_broker(
    config: RegionConfig, fail: Callable[[BaseException], None]
) -> AsyncIterator[None]:
    """Run a broker; `fail` is told when it dies."""
    from connectors.embedded.broker import KafkaBroker  # noqa: PLC0415 - not with your own Kafka

    def ended(watching: "asyncio.Future[BrokerDiedError]") -> None:
        if not watching.cancelled():
            fail(watching.exception() or watching.result())

    broker = KafkaBroker(config.data_dir / "kafka", port=config.kafka.port)
    await broker.start()
    watching = asyncio.ensure_future(broker.wait_died())
    watching.add_done_callback(ended)
    try:
        yield
    finally:
        watching.cancel()
        await broker.stop()
