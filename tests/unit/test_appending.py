"""Units that wait are appended together, answered in their order, and refused one by one."""

import asyncio
from typing import Any, cast

import pytest

from connectors.log import LogRecord, RecordRange
from schemas.errors import BadUnitError, LogUnavailableError
from streams.agents.appending import GROUP_BYTES, Appending, joined
from streams.agents.replica import Replica
from streams.replication import encode_batch
from tests.support.sessions import established, ship, tell
from transport.session.events import Acked, Rewound, Unit
from transport.session.outbound import OutboundSession


class HeldReplica:
    """Takes what leaves no hole; `gate` holds appends back, and `failure` fails them."""

    def __init__(self) -> None:
        self.cursors = {0: 0, 1: 0}
        self.appends: list[tuple[int, int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.came = asyncio.Event()
        self.failure: Exception | None = None

    async def take_in(self, _origin: str, part: RecordRange) -> int:
        self.came.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        cursor = self.cursors[part.partition]
        if part.from_offset > cursor:
            raise BadUnitError(f"a hole before {part.from_offset}")
        new = [record for record in part.records if record.offset >= cursor]
        self.cursors[part.partition] = max(cursor, part.to_offset)
        if new:
            self.appends.append((part.partition, new[0].offset, part.to_offset))
        return len(new)


class Bench:
    """An origin, a link and what appends at its end."""

    def __init__(self) -> None:
        self.out, self.into = established(credit_bytes=64 << 20)
        self.replica = HeldReplica()
        self.heard: list[Any] = []
        self.appending = Appending(self.into, cast(Replica, self.replica), self._flush)

    def _flush(self) -> None:
        self.heard += tell(self.into, self.out)

    def put(self, *ranges: RecordRange) -> Unit:
        unit = ship(self.out, self.into, encode_batch(ranges, 1 << 20))
        self.appending.put(unit)
        return unit

    async def run_to_the_end(self) -> None:
        self.appending.end()
        async with asyncio.timeout(30):
            await self.appending.run()


def part(partition: int, from_offset: int, to_offset: int, value: bytes = b"v") -> RecordRange:
    offsets = range(from_offset, to_offset)
    return RecordRange(
        partition, from_offset, to_offset, [LogRecord(at, 1, b"k", value, ()) for at in offsets]
    )


async def test_what_waits_is_one_append_a_partition_and_one_answer() -> None:
    bench = Bench()
    for at in range(0, 100, 2):
        bench.put(part(0, at, at + 2), part(1, at, at + 1), part(1, at + 1, at + 2))

    await bench.run_to_the_end()

    assert sorted(bench.replica.appends) == [(0, 0, 100), (1, 0, 100)]
    assert bench.heard == [Acked(50, {0: 100, 1: 100})]
    assert (bench.appending.status.units, bench.appending.status.records) == (50, 200)


async def test_while_one_group_is_appended_the_next_gathers() -> None:
    bench = Bench()
    bench.replica.gate.clear()
    bench.put(part(0, 0, 1))
    running = asyncio.ensure_future(bench.appending.run())
    await bench.replica.came.wait()
    for at in range(1, 10):
        bench.put(part(0, at, at + 1))
    bench.replica.gate.set()
    bench.appending.end()
    await running

    assert bench.replica.appends == [(0, 0, 1), (0, 1, 10)]
    assert [event.sequence for event in bench.heard] == [1, 10]


async def test_a_group_is_bounded() -> None:
    bench = Bench()
    for at in range(24):
        bench.put(part(0, at, at + 1, bytes(GROUP_BYTES // 8)))

    await bench.run_to_the_end()

    assert [to - first for _, first, to in bench.replica.appends] == [8, 8, 8]


async def test_a_unit_that_does_not_decode_is_refused_after_those_before_it() -> None:
    bench = Bench()
    bench.put(part(0, 0, 1))
    damaged = bench.put(part(0, 1, 2))
    bench.put(part(0, 2, 3))
    payload = bytearray(damaged.payload)
    payload[-1] ^= 1
    bench.appending.waiting[1] = Unit(damaged.sequence, bytes(payload), damaged.raw_bytes)

    await bench.run_to_the_end()

    assert bench.replica.appends == [(0, 0, 1)]
    assert bench.heard[0] == Acked(1, {0: 1})
    assert isinstance(bench.heard[1], Rewound)
    assert bench.heard[1].cursors == {0: 1}
    assert bench.heard[2] == Acked(3, {0: 1})  # dropped, but its credit is given back
    assert spent(bench.out) == 0
    assert bench.appending.status.refused_epochs == 1


async def test_of_a_group_only_the_unit_with_the_hole_is_refused() -> None:
    bench = Bench()
    bench.put(part(0, 0, 1), part(1, 0, 1))
    bench.put(part(0, 2, 3))  # 1 is missing
    bench.put(part(0, 3, 4))
    bench.put(part(1, 1, 2))

    await bench.run_to_the_end()

    assert bench.replica.appends == [(0, 0, 1), (1, 0, 2)]
    assert [type(event) for event in bench.heard] == [Acked, Rewound, Acked]
    assert bench.heard[1].cursors == {0: 1, 1: 2}
    assert spent(bench.out) == 0
    bench.out.begin_epoch()
    bench.put(part(0, 1, 4))
    await bench.run_to_the_end()
    assert bench.replica.appends[-1] == (0, 1, 4)


async def test_a_failed_append_ends_it_unanswered() -> None:
    bench = Bench()
    bench.put(part(0, 0, 1))
    bench.replica.failure = LogUnavailableError("Kafka is away")

    with pytest.raises(LogUnavailableError, match="away"):
        await bench.run_to_the_end()

    assert bench.heard == []


def test_ranges_are_joined_where_they_follow_one_another() -> None:
    ranges = [part(0, 0, 2), part(1, 5, 6), part(0, 2, 3), part(0, 4, 5), part(1, 6, 6)]

    assert joined(ranges) == {
        0: [part(0, 0, 3), part(0, 4, 5)],
        1: [part(1, 5, 6)],
    }


def spent(out: OutboundSession) -> int:
    """Return what of the granted bytes is used up."""
    return (64 << 20) - (out._credit_bytes - out.raw_bytes)
