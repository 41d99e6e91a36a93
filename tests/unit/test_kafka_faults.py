"""What aiokafka does wrong under faults, and what our callers see of it."""

import asyncio
import contextlib

import pytest
from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

import connectors.kafka_consumers  # noqa: F401 - it mends the connection's send
from connectors.kafka_errors import mapped
from schemas.errors import LogUnavailableError


class Suppressing:
    """Waits as aiokafka's `close()` does: a cancellation ends the wait and is not heard of."""

    def __init__(self) -> None:
        self.is_waiting = asyncio.Event()

    async def wait(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self.is_waiting.set()
            await asyncio.Event().wait()


async def test_a_suppressed_cancellation_is_raised() -> None:
    library, came_back = Suppressing(), False

    async def work() -> None:
        nonlocal came_back
        with mapped("work"):
            await library.wait()
        came_back = True

    working = asyncio.ensure_future(work())
    await library.is_waiting.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not came_back


async def test_cleaning_up_after_a_cancellation_is_not_cancelled_again() -> None:
    library, cleaned = Suppressing(), False

    async def work() -> None:
        nonlocal cleaned
        try:
            await library.wait()
        finally:
            with mapped("clean up"):
                await asyncio.sleep(0)
            cleaned = True

    working = asyncio.ensure_future(work())
    await library.is_waiting.wait()
    working.cancel()
    await working
    assert cleaned


async def test_a_timeout_that_was_suppressed_is_still_one() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            with mapped("wait"):
                await Suppressing().wait()

    with pytest.raises(TimeoutError):
        await work()


async def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    """Else it would end the task that waits, and nobody would be told."""
    with pytest.raises(LogUnavailableError, match="stop: aiokafka gave up"), mapped("stop"):
        raise asyncio.CancelledError


class ClosedWriter:
    """As uvloop's transport behaves between its end and the reader's hearing of it."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, _data: bytes) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    def close(self) -> None:
        self.is_closed = True


async def test_a_transport_that_is_closed_is_a_broken_connection() -> None:
    connection = AIOKafkaConnection("127.0.0.1", 9)
    writer = ClosedWriter()
    connection._reader = connection._writer = writer
    connection._read_task = asyncio.ensure_future(asyncio.Event().wait())
    connection._versions = {3: (0, 5)}
    with pytest.raises(errors.KafkaConnectionError, match="handler is closed"):
        connection.send(MetadataRequest([]))

    assert writer.is_closed
    assert not connection.connected()
