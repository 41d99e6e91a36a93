"""The way in for services: an async producer of state changes.

Changes are batched per partition: one append is under way per partition at a time, and what comes
meanwhile travels in the next. Each change gets a hybrid timestamp when it is handed over, so the
order of calls is the order that last-writer-wins sees.

Example:
    async with StateProducer(log, region="eu-west", name="scheduler", partition_count=4) as states:
        stored = await states.put("vm-17", {"power": "on"}, entity_type="vm")
        dot = await stored  # the change is durable; dot says where
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from connectors.differ import Differ, Known
from connectors.log import Log, NewRecord
from connectors.pending import Pending, Waiting
from connectors.wanted import answer_wanted
from schemas.changes import (
    FieldDelta,
    Operation,
    StateChange,
    check_entity_id,
    check_text,
    dump_document,
    remove_field,
    set_field,
)
from schemas.clocks import HybridClock
from schemas.errors import DwcpError, InvalidChangeError, RecordTooLargeError
from schemas.ids import Dot
from schemas.partitioning import partition_of
from schemas.registry import encode_event

STATE_TOPIC: Final = "dwcp.state"


def wall_clock_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """Limits of a producer.

    Attributes:
        linger_ms: How long a change waits for company when nothing is under way.
        batch_changes_max: Changes in one record.
        batch_bytes_max: Documents and values in one record; a larger change travels alone.
        pending_changes_max: Changes not yet durable; at the limit callers wait.
        diff_bytes: Documents to remember, so that only what changed is written; 0: all is whole.
    """

    linger_ms: int = 10
    batch_changes_max: int = 200
    batch_bytes_max: int = 262_144
    pending_changes_max: int = 10_000
    diff_bytes: int = 0


class StateProducer:
    """Produces `StateBatch` records into the region's Kafka.

    Args:
        log: The region's log.
        region: Where we produce; changes of another region's name are refused by every fold.
        name: Names the producer in change ids.
        partition_count: Partitions of the state topic.
        settings: Limits.
        wall_ms: Wall clock, Unix milliseconds.

    Attributes:
        last_change: The newest change handed over, with its hybrid timestamp and id.
    """

    def __init__(
        self,
        log: Log,
        *,
        region: str,
        name: str,
        partition_count: int,
        settings: ProducerSettings | None = None,
        wall_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._log = log
        self._region = region
        self._name = name
        self._settings = limits = settings or ProducerSettings()
        self._wall_ms = wall_ms
        self._clock = HybridClock()
        self._sequence = 0
        self.last_change: StateChange | None = None
        self._pending = [
            Pending(limits.batch_changes_max, limits.batch_bytes_max)
            for _ in range(partition_count)
        ]
        self._differs: list[Differ] = []
        if limits.diff_bytes:
            # Patches build on what the same producer wrote: no other process may have its name.
            self._name = f"{name}#{os.urandom(4).hex()}"
            share = limits.diff_bytes // partition_count
            self._differs = [Differ(share) for _ in range(partition_count)]
        self._room = asyncio.Semaphore(self._settings.pending_changes_max)
        self._unsettled: set[asyncio.Future[Dot]] = set()
        self._is_closing = False
        self._flushers: list[asyncio.Future[None]] = []
        self._answering: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._flushers = [
            asyncio.ensure_future(self._run_flusher(partition))
            for partition in range(len(self._pending))
        ]
        if self._differs:
            self._answering = asyncio.ensure_future(
                answer_wanted(self._log, self._name, self._known_of, self._send_again)
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        await asyncio.gather(*self._flushers)
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)

    def _close(self) -> None:
        """Take nothing new, and send what is there at once."""
        self._is_closing = True
        for pending in self._pending:
            pending.close()

    async def put(
        self, entity_id: str, document: Mapping[str, Any], *, entity_type: str = ""
    ) -> asyncio.Future[Dot]:
        """Write a whole document; waits only when too much is pending.

        Returns:
            A future of the change's place, done when it is durable, or its `LogError`.

        Raises:
            InvalidChangeError: The change cannot be.
        """
        return await self._send("put", entity_id, entity_type, document=dump_document(document))

    async def patch(
        self,
        entity_id: str,
        fields: Mapping[str, Any],
        *,
        remove: tuple[str, ...] = (),
        entity_type: str = "",
    ) -> asyncio.Future[Dot]:
        """Set single fields by JSON Pointer, and remove others; see `put`."""
        deltas = [set_field(path, value) for path, value in fields.items()]
        deltas += [remove_field(path) for path in remove]
        if not deltas:
            raise InvalidChangeError("fields", fields, "give at least one field to set or remove")
        return await self._send("patch", entity_id, entity_type, deltas=deltas)

    async def delete(self, entity_id: str, *, entity_type: str = "") -> asyncio.Future[Dot]:
        """Delete an entity; see `put`."""
        return await self._send("delete", entity_id, entity_type)

    async def flush(self) -> None:
        """Wait until all changes so far are durable or have failed."""
        if self._unsettled:
            await asyncio.wait(list(self._unsettled))

    async def _send(
        self,
        operation: Operation,
        entity_id: str,
        entity_type: str,
        *,
        document: str | None = None,
        deltas: list[FieldDelta] | None = None,
        stamp: int | None = None,
    ) -> asyncio.Future[Dot]:
        check_entity_id(entity_id)
        check_text("type", entity_type)
        self._check_open()
        await self._room.acquire()
        try:
            self._check_open()  # it may have closed while we waited
        except DwcpError:
            self._room.release()
            raise
        self._sequence += 1
        change: StateChange = {
            "change_id": f"{self._name}/{self._sequence}",
            "entity_id": entity_id,
            "entity_type": entity_type,
            "operation": operation,
            "document": document,
            "deltas": deltas or [],
            "hybrid_timestamp": stamp or self._clock.tick(self._wall_ms()),
            "origin_region": self._region,
        }
        self.last_change = change
        return self._queue(change)

    def _known_of(self, entity_id: str) -> Known | None:
        return self._differs[partition_of(entity_id, len(self._pending))].known(entity_id)

    async def _send_again(self, entity_id: str, entity_type: str, known: Known) -> None:
        """Send a whole document with its own stamp: it wins over what it would have won over."""
        self._differs[partition_of(entity_id, len(self._pending))].forget(entity_id)
        await self._send("put", entity_id, entity_type, document=known.text, stamp=known.stamp)

    def _check_open(self) -> None:
        if not self._flushers or self._is_closing:
            raise DwcpError("the producer is not open: use it as an async context manager")

    def _queue(self, change: StateChange) -> asyncio.Future[Dot]:
        stored: asyncio.Future[Dot] = asyncio.get_running_loop().create_future()
        stored.add_done_callback(self._settle)
        self._unsettled.add(stored)
        self._pending[partition_of(change["entity_id"], len(self._pending))].add(change, stored)
        return stored

    def _settle(self, stored: asyncio.Future[Dot]) -> None:
        self._unsettled.discard(stored)
        self._room.release()
        if not stored.cancelled():
            stored.exception()  # seen: whoever wants it awaits the future

    async def _run_flusher(self, partition: int) -> None:
        try:
            await self._flush_partition(partition)
        except Exception as error:  # a bug of ours: nobody may wait for ever because of it
            self._close()
            for stored in list(self._unsettled):
                if not stored.done():
                    stored.set_exception(error)
            raise

    async def _flush_partition(self, partition: int) -> None:
        pending = self._pending[partition]
        while True:
            await pending.arrived.wait()
            if not pending:
                if self._is_closing:
                    return
                pending.arrived.clear()
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pending.is_full.wait(), self._settings.linger_ms / 1_000)
            await self._flush_batch(partition, pending.take())

    async def _flush_batch(self, partition: int, taken: Sequence[Waiting]) -> None:
        differ = self._differs[partition] if self._differs else None
        changes = [waiting.change for waiting in taken]
        if differ is not None:
            changes = differ.convert(changes)
        batch = {"producer": self._name, "changes": changes}
        try:
            record = NewRecord(None, encode_event("StateBatch", batch))
            (offset,) = await self._log.append(STATE_TOPIC, partition, [record])
        except DwcpError as error:
            if differ is not None:
                differ.failed()
            if not isinstance(error, RecordTooLargeError) or len(taken) == 1:
                _fail(taken, error)
                return
            # One of them is, or all together: its neighbours must not suffer.
            middle = len(taken) // 2
            await self._flush_batch(partition, taken[:middle])
            await self._flush_batch(partition, taken[middle:])
            return
        if differ is not None:
            differ.stored()
        for index, (_, _, stored) in enumerate(taken):
            if not stored.done():
                stored.set_result(Dot(self._region, partition, offset, index))


def _fail(taken: Sequence[Waiting], error: DwcpError) -> None:
    for _, _, stored in taken:
        if not stored.done():
            stored.set_exception(error)
