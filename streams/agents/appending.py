"""Appends what one session takes in: units that wait go together, one append a partition.

A unit costs the broker a transaction on every partition that it touches, whatever it holds. While
one group is being appended the next gathers; so the busier the region, the larger the groups.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from connectors.log import RecordRange
from schemas.errors import BadUnitError
from streams import topics
from streams.agents.encoding import decode_timed
from streams.agents.replica import Replica
from streams.agents.status import ReceiverStatus
from streams.replication import decode_batch
from transport.session.events import Unit
from transport.session.inbound import InboundSession

log = structlog.get_logger(__name__)

GROUP_BYTES: Final = 4 << 20  # raw, as much as the writer puts into one transaction


@dataclass(frozen=True, slots=True)
class Decoded:
    """A unit, the ranges that it held (none when its epoch was refused before), and the CPU."""

    unit: Unit
    ranges: list[RecordRange]
    cpu_ns: int


# The units decoded, and why the first that still waits could not be.
Group = tuple[list[Decoded], BadUnitError | None]


class Appending:
    """The units of one session on their way into the replica topic.

    Args:
        session: Decodes and answers.
        replica: Where they go.
        flush: Sends what the session has to say.

    Attributes:
        waiting: Units not yet taken into a group; the credit bounds them.
        cursors: Next offset wanted of the origin's log, by partition.
        status: Where it is written what became of them.
    """

    def __init__(
        self, session: InboundSession, replica: Replica, flush: Callable[[], None]
    ) -> None:
        self.cursors: dict[int, int] = {}
        self.status = ReceiverStatus("")
        self._session = session
        self._replica = replica
        self._flush = flush
        self.waiting: deque[Unit] = deque()
        self._came = asyncio.Event()
        self._is_ending = False

    def put(self, unit: Unit) -> None:
        """Let a unit wait for its append, behind those before it."""
        self.waiting.append(unit)
        self._came.set()

    def end(self) -> None:
        """Let `run` return when all that waits has been appended."""
        self._is_ending = True
        self._came.set()

    async def run(self) -> None:
        """Append until `end`.

        Raises:
            DwcpError: Of the replica, or of the session; what was under way has ended.
        """
        while self.waiting or not self._is_ending:
            if self.waiting:
                await self.append_some()
            else:
                self._came.clear()
                await self._came.wait()

    async def append_some(self) -> None:
        """Append a group of what waits, and answer."""
        group, error = await self._decoded()
        try:
            await self._append_all(part for one in group for part in one.ranges)
        except BadUnitError:
            await self._append_singly(group)  # finds which; what was appended is left out
        else:
            self._acknowledge(group)
            if error is not None:
                self._refuse(self.waiting.popleft(), error)
        self._flush()

    async def _decoded(self) -> Group:
        return await asyncio.to_thread(self._decode)

    def _decode(self) -> Group:
        """Take units that wait, about `GROUP_BYTES`; one that cannot be decoded stays first."""
        group: list[Decoded] = []
        room = GROUP_BYTES
        while self.waiting and room > 0:
            unit = self.waiting[0]
            try:
                raw, cpu_ns = decode_timed(self._session, unit)
                ranges = decode_batch(raw) if raw is not None else []
            except BadUnitError as error:
                return group, error
            group.append(Decoded(self.waiting.popleft(), ranges, cpu_ns))
            room -= unit.raw_bytes
        return group, None

    async def _append_singly(self, group: Sequence[Decoded]) -> None:
        """Append unit by unit up to one that leaves a hole; what follows it is decoded again."""
        for number, one in enumerate(group):
            try:
                await self._append_all(one.ranges)
            except BadUnitError as error:
                self.waiting.extendleft(each.unit for each in reversed(group[number + 1 :]))
                self._refuse(one.unit, error)
                return
            self._acknowledge([one])

    def _acknowledge(self, group: Sequence[Decoded]) -> None:
        for one in group:
            self.status.units += 1
            self.status.encoded_bytes += len(one.unit.payload)
            self.status.flows[topics.STATE].note(one.unit.payload, one.cpu_ns)
        if group:  # also of what was dropped: else its credit would be gone for ever
            self._session.acknowledge([one.unit for one in group], self.cursors)

    def _refuse(self, unit: Unit, error: BadUnitError) -> None:
        log.warning("unit.refused", peer=self._session.peer_region, error=str(error))
        self.status.refused_epochs += 1
        self.status.flows[topics.STATE].nacks += 1
        self._session.refuse_epoch(unit, str(error), self.cursors)

    async def _append_all(self, ranges: Iterable[RecordRange]) -> None:
        """Append ranges, those of each partition in order, partitions side by side.

        All have ended, one way or the other, when this returns or raises.
        """
        jobs = [self._append_each(parts) for parts in joined(ranges).values()]
        for result in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _append_each(self, ranges: Iterable[RecordRange]) -> None:
        for part in ranges:
            self.status.records += await self._take_in(part)
            self.cursors[part.partition] = max(self.cursors.get(part.partition, 0), part.to_offset)

    async def _take_in(self, part: RecordRange) -> int:
        return await self._replica.take_in(self._session.peer_region, part)


def joined(ranges: Iterable[RecordRange]) -> dict[int, list[RecordRange]]:
    """Return the ranges by partition; those that follow one another without a hole are one."""
    runs: dict[int, list[list[RecordRange]]] = {}
    for part in ranges:
        of_partition = runs.setdefault(part.partition, [])
        if of_partition and of_partition[-1][-1].to_offset == part.from_offset:
            of_partition[-1].append(part)
        else:
            of_partition.append([part])
    return {partition: list(map(_one_range, found)) for partition, found in runs.items()}


def _one_range(run: Sequence[RecordRange]) -> RecordRange:
    records = [record for part in run for record in part.records]
    return RecordRange(run[0].partition, run[0].from_offset, run[-1].to_offset, records)
