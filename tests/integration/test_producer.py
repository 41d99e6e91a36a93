"""`StateProducer` over a log that can be slow, and can fail."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from connectors.log import NewRecord, TopicSpec
from connectors.memory import MemoryCluster, MemoryLog
from connectors.producer import STATE_TOPIC, ProducerSettings, StateProducer
from schemas.clocks import stamp_wall_ms
from schemas.errors import (
    DwcpError,
    InvalidChangeError,
    LogUnavailableError,
    OutcomeUnknownError,
    RecordTooLargeError,
)
from schemas.ids import Dot
from schemas.partitioning import partition_of
from schemas.registry import Record, decode_event
from tests.support.waiting import until

PARTITION_COUNT = 4
WALL_MS = 1_790_000_000_000


class GatedLog(MemoryLog):
    """Appends while its gate is open, and fails as it is told.

    Attributes:
        under_way: Appends that have begun and not ended, by partition.
        fail: Called before each append, to raise.
    """

    def __init__(self, **settings: str) -> None:
        cluster = MemoryCluster(lambda: WALL_MS)
        named = {name.replace("_", "."): value for name, value in settings.items()}
        cluster.create(TopicSpec(STATE_TOPIC, PARTITION_COUNT, settings=named))
        super().__init__(cluster)
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = [0] * PARTITION_COUNT
        self.fail: Callable[[int], None] = lambda _: None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        self.under_way[partition] += 1
        assert self.under_way[partition] == 1, "one append at a time keeps the order"
        try:
            await self.gate.wait()
            self.fail(partition)
            return await super().append(topic, partition, records)
        finally:
            self.under_way[partition] -= 1

    def batches(self, partition: int) -> list[list[Record]]:
        """Return the changes of each record."""
        (_, end) = self._cluster.offsets(STATE_TOPIC)[partition]
        found = self._cluster.read(STATE_TOPIC, partition, 0, end).records
        decoded = [decode_event(record.value or b"") for record in found]
        assert all(name == "StateBatch" for name, _ in decoded)
        return [record["changes"] for _, record in decoded]

    def change_at(self, dot: Dot) -> Record:
        return self.batches(dot.partition)[dot.offset][dot.change_index]


def producer_on(log: MemoryLog, **settings: int) -> StateProducer:
    return StateProducer(
        log,
        region="eu-west",
        name="scheduler",
        partition_count=PARTITION_COUNT,
        settings=ProducerSettings(**{"linger_ms": 1, **settings}),
        wall_ms=lambda: WALL_MS,
    )


def entities_of(partition: int, count: int) -> list[str]:
    """Return names of entities of one partition."""
    names = (f"vm-{n}" for n in range(100_000))
    found = (name for name in names if partition_of(name, PARTITION_COUNT) == partition)
    return [next(found) for _ in range(count)]


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_change_becomes_what_its_schema_says() -> None:
    log = GatedLog()
    async with producer_on(log) as states:
        put = await states.put("vm-17", {"power": "on", "größe": [1, None]}, entity_type="vm")
        patch = await states.patch("vm-17", {"/power": "off", "/n": [1]}, remove=("/größe",))
        delete = await states.delete("vm-17", entity_type="vm")
        dots = [await put, await patch, await delete]
    changes = [log.change_at(dot) for dot in dots]

    assert [dot.region for dot in dots] == ["eu-west"] * 3
    assert {dot.partition for dot in dots} == {partition_of("vm-17", PARTITION_COUNT)}
    assert changes[0] == {
        "change_id": "scheduler/1",
        "entity_id": "vm-17",
        "entity_type": "vm",
        "key_space": "default",
        "operation": "put",
        "document": '{"power":"on","größe":[1,null]}',
        "deltas": [],
        "base_version": None,
        "hybrid_timestamp": WALL_MS << 16,
        "origin_region": "eu-west",
        "trace_id": None,
    }
    assert [change["operation"] for change in changes] == ["put", "patch", "delete"]
    assert changes[1]["deltas"] == [
        {"path": "/power", "operation": "set", "value": "off"},
        {"path": "/n", "operation": "set", "value": {"json": "[1]"}},
        {"path": "/größe", "operation": "remove", "value": None},
    ]
    assert states.last_change is not None
    assert states.last_change["change_id"] == "scheduler/3"


async def test_each_future_gives_the_place_of_its_own_change() -> None:
    log = GatedLog()
    async with producer_on(log, batch_changes_max=7) as states:
        stored = {f"vm-{n}": await states.put(f"vm-{n}", {"n": n}) for n in range(500)}
        dots = {entity: await future for entity, future in stored.items()}

    assert len(set(dots.values())) == 500
    assert {entity: log.change_at(dot)["entity_id"] for entity, dot in dots.items()} == {
        entity: entity for entity in dots
    }


async def test_what_comes_while_an_append_is_under_way_travels_together() -> None:
    log = GatedLog()
    entity, *others = entities_of(2, 51)
    log.gate.clear()
    async with producer_on(log, linger_ms=0) as states:
        await states.put(entity, {})
        await until(lambda: log.under_way[2] == 1, 5, "the first append")
        for other in others:
            await states.put(other, {})
        log.gate.set()
        await states.flush()

    assert [len(changes) for changes in log.batches(2)] == [1, 50]


async def test_a_batch_has_no_more_changes_than_allowed() -> None:
    log = GatedLog()
    async with producer_on(log, batch_changes_max=10, linger_ms=60_000) as states:
        stored = [await states.put(entity, {}) for entity in entities_of(1, 35)]
        await asyncio.wait_for(asyncio.gather(*stored[:30]), 5)  # full ones do not linger

    assert [len(changes) for changes in log.batches(1)] == [10, 10, 10, 5]


@pytest.mark.parametrize("kind", ["put", "put beyond ASCII", "patch", "patch as JSON"])
async def test_a_batch_has_no_more_bytes_than_allowed(kind: str) -> None:
    log = GatedLog()
    text = "ß" * 2_000 if kind == "put beyond ASCII" else "x" * 4_000
    async with producer_on(log, batch_bytes_max=20_000) as states:
        for entity in entities_of(0, 20):
            if kind.startswith("put"):
                await states.put(entity, {"text": text})
            else:
                value: Any = [text] if kind == "patch as JSON" else text
                await states.patch(entity, {"/text": value})

    assert [len(changes) for changes in log.batches(0)] == [4, 4, 4, 4, 4]


async def test_changes_of_an_entity_keep_the_order_of_the_calls() -> None:
    log = GatedLog()
    partition = partition_of("vm-1", PARTITION_COUNT)
    async with producer_on(log, batch_changes_max=8, pending_changes_max=20) as states:
        for n in range(300):
            await states.patch("vm-1", {"/n": n})
    changes = [change for batch in log.batches(partition) for change in batch]
    stamps = [change["hybrid_timestamp"] for change in changes]

    assert [change["deltas"][0]["value"] for change in changes] == list(range(300))
    assert stamps == sorted(set(stamps))
    assert {stamp_wall_ms(stamp) for stamp in stamps} == {WALL_MS}


async def test_who_has_too_much_pending_waits() -> None:
    log = GatedLog()
    log.gate.clear()
    async with producer_on(log, pending_changes_max=5) as states:
        for n in range(5):
            await states.put(f"vm-{n}", {})
        sixth = asyncio.ensure_future(states.put("vm-6", {}))
        await settle()
        assert not sixth.done()
        log.gate.set()
        dot = await asyncio.wait_for(await asyncio.wait_for(sixth, 5), 5)

    assert log.change_at(dot)["entity_id"] == "vm-6"


async def test_an_error_reaches_the_changes_it_concerns_and_no_others() -> None:
    log = GatedLog()
    lame, sound = entities_of(0, 2), entities_of(3, 2)
    error = OutcomeUnknownError("the answer never came")

    def fail(partition: int) -> None:
        if partition == 0:
            raise error

    async with producer_on(log) as states:
        log.fail = fail
        stored = [await states.put(entity, {}) for entity in (*lame, *sound)]
        found = await asyncio.gather(*stored, return_exceptions=True)
        log.fail = lambda _: None
        later = await (await states.put(lame[0], {}))

    assert found[:2] == [error, error]
    assert [log.change_at(dot)["entity_id"] for dot in found[2:] if isinstance(dot, Dot)] == sound
    assert log.change_at(later)["entity_id"] == lame[0]


async def test_an_oversized_change_fails_alone() -> None:
    """Its size is under the batch limit, so only the log can tell which one it was."""
    log = GatedLog(max_message_bytes="20000")
    entities = entities_of(1, 9)
    async with producer_on(log, linger_ms=60_000) as states:
        stored = [
            await states.put(entity, {"text": "x" * (30_000 if index in (3, 7) else 1_000)})
            for index, entity in enumerate(entities)
        ]
    found = await asyncio.gather(*stored, return_exceptions=True)

    assert [isinstance(one, RecordTooLargeError) for one in found] == [
        i in (3, 7) for i in range(9)
    ]
    dots = {entities[i]: one for i, one in enumerate(found) if isinstance(one, Dot)}
    assert all(log.change_at(dot)["entity_id"] == entity for entity, dot in dots.items())
    order = [change["entity_id"] for batch in log.batches(1) for change in batch]
    assert order == [entities[i] for i in (0, 1, 2, 4, 5, 6, 8)]


async def test_closing_sends_what_is_pending_without_lingering() -> None:
    log = GatedLog()
    async with asyncio.timeout(5):
        async with producer_on(log, linger_ms=60_000) as states:
            stored = [await states.put(f"vm-{n}", {}) for n in range(40)]

    assert all(future.done() for future in stored)
    assert sum(len(changes) for p in range(4) for changes in log.batches(p)) == 40


async def test_closing_ends_well_when_a_change_fails() -> None:
    log = GatedLog()

    def fail(_: int) -> None:
        raise LogUnavailableError("no broker")

    log.fail = fail
    async with producer_on(log) as states:
        stored = await states.put("vm-1", {})

    assert isinstance(stored.exception(), LogUnavailableError)


async def test_a_producer_that_is_not_open_takes_nothing() -> None:
    states = producer_on(GatedLog())
    with pytest.raises(DwcpError, match="not open"):
        await states.put("vm-1", {})
    async with states:
        pass
    with pytest.raises(DwcpError, match="not open"):
        await states.put("vm-1", {})


async def test_who_waits_for_room_when_it_closes_is_told() -> None:
    log = GatedLog()
    log.gate.clear()
    async with producer_on(log, pending_changes_max=2) as states:
        for n in range(2):
            await states.put(f"vm-{n}", {})
        waiting = asyncio.ensure_future(states.put("vm-3", {}))
        await settle()
        asyncio.get_running_loop().call_soon(log.gate.set)

    with pytest.raises(DwcpError, match="not open"):
        await asyncio.wait_for(waiting, 5)


async def test_flushing_waits_for_what_was_there_and_not_for_ever() -> None:
    log = GatedLog()
    first, second = entities_of(0, 1)[0], entities_of(1, 1)[0]
    log.gate.clear()
    async with producer_on(log) as states:
        stored = await states.put(first, {})
        flushing = asyncio.ensure_future(states.flush())
        await until(lambda: log.under_way[0] == 1, 5, "the append")
        assert not flushing.done()
        log.gate.set()
        await stored
        log.gate.clear()
        later = await states.put(second, {})
        await asyncio.wait_for(flushing, 5)
        assert not later.done()
        log.gate.set()

    assert later.done()


async def test_a_change_given_up_by_its_caller_disturbs_nobody() -> None:
    log = GatedLog()
    log.gate.clear()
    async with producer_on(log, pending_changes_max=3) as states:
        stored = [await states.put(entity, {}) for entity in entities_of(0, 3)]
        stored[1].cancel()
        fourth = asyncio.ensure_future(states.put("vm-4", {}))
        await asyncio.wait_for(fourth, 5)  # there is room again
        log.gate.set()
        dots = [await stored[0], await stored[2]]

    assert [dot.change_index for dot in dots] == [0, 2]


async def test_a_bug_below_is_told_to_everybody_and_nobody_waits_for_ever() -> None:
    log = GatedLog()

    def fail(_: int) -> None:
        raise ZeroDivisionError

    log.fail = fail
    states = await producer_on(log).__aenter__()
    stored = await states.put("vm-1", {})
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(stored, 5)
    with pytest.raises(DwcpError, match="not open"):
        await asyncio.wait_for(states.put("vm-1", {}), 5)
    with pytest.raises(ZeroDivisionError):
        await states.__aexit__(None, None, None)


HALF = "\ud800"  # half a surrogate pair: JSON lets it in, UTF-8 does not
INVALID: dict[str, tuple[Callable[[StateProducer], Any], str]] = {
    "no entity": (lambda s: s.put("", {}), "entity"),
    "entity no text": (lambda s: s.put(5, {}), "entity"),  # type: ignore[arg-type]
    "entity half a pair": (lambda s: s.delete(HALF), "entity"),
    "entity too long": (lambda s: s.put("ß" * 513, {}), "entity"),
    "type half a pair": (lambda s: s.put("e", {}, entity_type=HALF), "type"),
    "type no text": (lambda s: s.delete("e", entity_type=5), "type"),  # type: ignore[arg-type]
    "document a list": (lambda s: s.put("e", [1]), "document"),  # type: ignore[arg-type]
    "document NaN": (lambda s: s.put("e", {"a": float("nan")}), "document"),
    "document bytes": (lambda s: s.put("e", {"a": b""}), "document"),
    "document half a pair": (lambda s: s.put("e", {"a": HALF}), "document"),
    "no fields": (lambda s: s.patch("e", {}), "fields"),
    "path no pointer": (lambda s: s.patch("e", {"a": 1}), "path"),
    "path half a pair": (lambda s: s.patch("e", {f"/{HALF}": 1}), "path"),
    "removed half a pair": (lambda s: s.patch("e", {}, remove=(f"/{HALF}",)), "path"),
    "value infinite": (lambda s: s.patch("e", {"/a": float("inf")}), "/a"),
    "value half a pair": (lambda s: s.patch("e", {"/a": HALF}), "/a"),
    "value deep half a pair": (lambda s: s.patch("e", {"/a": [HALF]}), "/a"),
}


@pytest.mark.parametrize("case", INVALID)
async def test_a_change_that_cannot_be_is_refused_at_once(case: str) -> None:
    log = GatedLog()
    call, field = INVALID[case]
    async with producer_on(log, pending_changes_max=1) as states:
        for _ in range(2):  # a refused change takes no room
            with pytest.raises(InvalidChangeError) as caught:
                await asyncio.wait_for(call(states), 5)
        dot = await (await states.put("e", {}))

    assert caught.value.field == field
    assert log.change_at(dot)["change_id"] == "scheduler/1"
    assert sum(len(batches) for p in range(4) for batches in log.batches(p)) == 1
