"""Life and death of aiokafka's producers; what is private there is touched here only.

`aiokafka` waits 20 ms when a transaction begins while the markers of the one before are still
being written. On a broker nearby they take about a millisecond, so the wait was most of a small
transaction's time; the constant below is aiokafka 0.14's, which is pinned.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors
from aiokafka.producer import sender as aiokafka_sender

from connectors.kafka_batches import BATCH_BYTES
from connectors.kafka_errors import mapped

STOP_S: Final = 2.0
TRANSACTION_BACKOFF_S: Final = 0.002

aiokafka_sender.BACKOFF_OVERRIDE = TRANSACTION_BACKOFF_S


async def start_producer(client: Mapping[str, Any]) -> AIOKafkaProducer:
    """Start an idempotent producer; raises aiokafka's errors and `TimeoutError`.

    With a `transactional_id` its open transaction is decided and its older owner fenced when
    this returns.
    """
    producer = AIOKafkaProducer(
        **client,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=BATCH_BYTES,
    )
    try:
        # aiokafka asks for a producer id for ever.
        async with asyncio.timeout(2 * client["request_timeout_ms"] / 1_000):
            await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Let a producer finish what it has, for `STOP_S`; what is left then fails and is not sent."""
    await asyncio.wait({asyncio.ensure_future(producer.flush())}, timeout=STOP_S)
    await drop_producer(producer)


async def drop_producer(producer: AIOKafkaProducer) -> None:
    """End a producer at once; what it holds fails and is not sent."""
    sending = producer._sender.sender_task  # noqa: SLF001 - its own stop() would flush for ever
    sending.cancel()
    await asyncio.wait({sending})
    _give_up(producer)
    try:
        with mapped("stop the producer"):
            await producer.stop()
    finally:
        _end_waiting(producer)


def _give_up(producer: AIOKafkaProducer) -> None:
    """Fail all that a producer still holds, after its sender has ended."""
    accumulator = producer._message_accumulator  # noqa: SLF001 - there is no public way
    queues = [*accumulator._batches.values(), accumulator._pending_batches]  # noqa: SLF001
    waiter = producer._txn_manager._transaction_waiter  # noqa: SLF001
    if waiter is not None and waiter.done() and not waiter.cancelled():
        waiter.exception()
    held = [batch for queue in queues for batch in queue]
    accumulator.fail_all(errors.ProducerClosed())
    for batch in held:  # seen; who still wants to know was told, and asyncio need not complain
        batch.future.exception()
        batch._drain_waiter.exception()  # noqa: SLF001


def _end_waiting(producer: AIOKafkaProducer) -> None:
    """Fail those who wait for a topic that the broker does not name just now.

    The client asks on and on, and nobody answers any more: they would wait for ever.
    """
    client = producer.client

    def force_metadata_update() -> None:
        raise errors.ProducerClosed

    client.force_metadata_update = force_metadata_update
    waiting = client._md_update_fut  # noqa: SLF001 - there is no public way
    if waiting is not None and not waiting.done():
        waiting.set_exception(errors.ProducerClosed())
        waiting.exception()  # seen: perhaps nobody waits
