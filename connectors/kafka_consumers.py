"""Life and death of aiokafka's consumers; what is private there is touched here only.

Four faults of aiokafka 0.14 (pinned), all met under kills, are mended here and in `mapped`:

- Its `stop()` and others suppress cancellations, also those of whoever waits: see `mapped`.
- A fetcher that ended by an error it did not expect says so in the program's log only: `getmany`
  then returns nothing for ever.
- Closing a fetcher cancels its fetches; one that waits before it tries again, as while the broker
  is away, ends cancelled, and so does `stop()`: a cancellation that nobody asked for.
- uvloop refuses a write on a transport that has just been closed with a RuntimeError; aiokafka
  expects an OSError, and its fetcher or sender ends by it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, errors
from aiokafka.conn import AIOKafkaConnection, CloseReason

from connectors.kafka_errors import mapped
from schemas.errors import LogUnavailableError


@contextlib.asynccontextmanager
async def running_consumer(
    client: Mapping[str, Any], settings: Mapping[str, Any], doing: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer outside every group that reads committed records only.

    Args:
        client: aiokafka's connection settings.
        settings: More settings of the consumer.
        doing: For errors.
    """
    consumer = AIOKafkaConsumer(
        **client, **settings, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        with mapped(doing):
            await consumer.start()
        yield consumer
    finally:
        with mapped(doing):
            await _stop(consumer)


def check_fetching(consumer: AIOKafkaConsumer) -> None:
    """Make sure that a consumer still asks for records.

    Raises:
        LogUnavailableError: It does not: open another one.
    """
    if consumer._fetcher._fetch_task.done():  # noqa: SLF001 - nothing public tells
        raise LogUnavailableError("the consumer's fetcher has ended: a new one is needed")


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    except (errors.KafkaError, asyncio.CancelledError):  # see above; `mapped` raises real ones
        # The connections are still open, and stop() does nothing a second time.
        await consumer._client.close()  # noqa: SLF001


_send: Final = AIOKafkaConnection.send


def _send_or_close(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 - aiokafka's signature
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise errors.KafkaConnectionError(
            f"Connection at {self.host}:{self.port} broken: {error}"
        ) from error


AIOKafkaConnection.send = _send_or_close
