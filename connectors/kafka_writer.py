"""The fenced writer over Kafka's transactions: one transactional id, one owner, group commit.

A transaction costs the broker three answers and a marker on every partition it touched, whatever
it holds. So appends that come while one is being committed wait, and go together into the next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition, errors
from aiokafka.producer.message_accumulator import BatchBuilder

from connectors.kafka_batches import BATCH_BYTES, make_batches, offsets_of
from connectors.kafka_errors import mapped, our_error
from connectors.kafka_producers import STOP_S, drop_producer
from connectors.log import NewRecord
from schemas.errors import LogUnavailableError, WriterFencedError

GROUP_BYTES: Final = 4 << 20  # of one transaction; one larger append has one of its own

CheckSizes = Callable[[str, Sequence[NewRecord]], Awaitable[int]]


@dataclass(slots=True)
class _Write:
    """One append that waits for its transaction."""

    place: TopicPartition
    records: Sequence[NewRecord]
    batch_bytes: int
    done: "asyncio.Future[list[int]]"
    batches: list[BatchBuilder] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(record.size_bytes for record in self.records)


class KafkaWriter:
    """See `FencedWriter`.

    Args:
        producer: Started, with a transactional id of its own.
        name: That id.
        check_sizes: Returns a topic's largest batch, or raises `RecordTooLargeError`.
        append_timeout_s: How long a transaction goes on trying.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        name: str,
        check_sizes: CheckSizes,
        append_timeout_s: float,
    ) -> None:
        self._producer = producer
        self._name = name
        self._check_sizes = check_sizes
        self._append_timeout_s = append_timeout_s
        self._waiting: deque[_Write] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._is_closed = False
        self.transactions = 0

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `FencedWriter`."""
        if not records:
            return []
        limit = await self._check_sizes(topic, records)
        with mapped(f"append to {topic}/{partition}"):
            known = await self._producer.partitions_for(topic)
        if partition not in known:
            raise LogUnavailableError(f"there is no {topic}/{partition}")
        self._check_open()
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        # Seen, also when the caller was cancelled meanwhile.
        done.add_done_callback(lambda it: None if it.cancelled() else it.exception())
        place = TopicPartition(topic, partition)
        self._waiting.append(_Write(place, records, min(BATCH_BYTES, limit), done))
        if self._committing is None:
            self._committing = asyncio.ensure_future(self._commit_all())
        return await asyncio.shield(done)

    async def close(self) -> None:
        """See `FencedWriter`."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._committing is not None:
            await asyncio.wait({self._committing}, timeout=STOP_S)
            if self._committing is not None:
                self._committing.cancel()
                await asyncio.wait({self._committing})
        await drop_producer(self._producer)

    def _check_open(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(f"{self._name} failed before: {self._failure}")
        if self._is_closed:
            raise LogUnavailableError(f"{self._name} is closed")

    async def _commit_all(self) -> None:
        try:
            while self._waiting and self._failure is None:
                await self._commit_group(self._take_group())
        finally:
            self._committing = None
            for write in self._waiting:
                if not write.done.done():
                    write.done.set_exception(LogUnavailableError(f"{self._name} ended before"))
            self._waiting.clear()

    def _take_group(self) -> list[_Write]:
        group = [self._waiting.popleft()]
        room = GROUP_BYTES - group[0].size_bytes
        while self._waiting and (room := room - self._waiting[0].size_bytes) >= 0:
            group.append(self._waiting.popleft())
        return group

    async def _commit_group(self, group: list[_Write]) -> None:
        is_ending = False
        try:
            async with asyncio.timeout(self._append_timeout_s):
                await self._producer.begin_transaction()
                firsts = await self._send(group)
                is_ending = True
                await self._producer.commit_transaction()
        except (errors.KafkaError, OSError, TimeoutError) as error:
            self._fail(group, error, is_ending=is_ending)
        except asyncio.CancelledError as error:
            self._fail(group, TimeoutError("the writer is closed"), is_ending=is_ending)
            raise error from None
        else:
            self.transactions += 1
            for write, offsets in zip(group, firsts, strict=True):
                write.done.set_result(offsets_of(write.place, write.batches, offsets))

    async def _send(self, group: list[_Write]) -> list[list[int]]:
        """Send all batches and return the first offset of each, by write."""
        for write in group:
            write.batches = make_batches(self._producer, write.records, write.batch_bytes)
            for batch in write.batches:
                topic, partition = write.place
                write.sent.append(
                    await self._producer.send_batch(batch, topic, partition=partition)
                )
        return [[one.offset for one in await asyncio.gather(*write.sent)] for write in group]

    def _fail(self, group: list[_Write], error: BaseException, *, is_ending: bool) -> None:
        doing = f"append by {self._name}"
        if isinstance(error, errors.ProducerFenced):
            failure: BaseException = WriterFencedError(
                f"{doing}: another node took over, or the broker ended a transaction that took "
                "too long"
            )
        else:
            failure = our_error(doing, error, is_definite=not is_ending)
        self._failure = failure
        for write in group:
            for one in write.sent:
                one.add_done_callback(lambda it: None if it.cancelled() else it.exception())
            if not write.done.done():
                write.done.set_exception(failure)
