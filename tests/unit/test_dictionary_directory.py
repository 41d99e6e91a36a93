"""Dictionaries outlive the node that holds them, and only that node reads them again."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from connectors.log import LogRecord, NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from schemas.errors import BadUnitError, LogUnavailableError
from schemas.registry import decode_event
from streams import topics
from streams.agents.dictionaries import DictionaryDirectory
from tests.support.changes import ChangeDice
from transport.hde.dictionary import Dictionaries
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.unit import read_unit_header

SIZE = 8_192
LIMIT = 1 << 20


class Broker(MemoryLog):
    """The topic; refuses while it is told to."""

    is_away = False

    def stored(self) -> list[LogRecord]:
        """Return all that was written."""
        ((start, end),) = self._cluster.offsets(topics.BASELINES)
        return self._cluster.read(topics.BASELINES, 0, start, end).records

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        if self.is_away:
            raise LogUnavailableError("no broker")
        return await super().append(topic, partition, records)


@dataclass
class Life:
    """A node from its start to its end."""

    log: Broker
    node: str = "ams-1"
    dictionaries: Dictionaries = field(default_factory=lambda: Dictionaries(SIZE))

    def __post_init__(self) -> None:
        self.directory = DictionaryDirectory(self.dictionaries, "ams", self.node, self.log)

    async def load(self) -> None:
        """Read what stands in the topic after compaction."""
        for value in self.standing().values():
            name, record = decode_event(value)
            assert name == "Dictionary"
            self.directory.on_record(record)

    def standing(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes | None] = {}
        for record in self.log.stored():
            found.pop(record.key or b"", None)
            found[record.key or b""] = record.value
        return {key: value for key, value in found.items() if value is not None}

    def train(self, seed: int = 1) -> int:
        samples = samples_of(seed)
        while not self.dictionaries.is_due:
            self.dictionaries.sample(next(samples))
        name = self.dictionaries.train()
        assert name is not None
        return name


def samples_of(seed: int) -> Iterator[bytes]:
    dice = ChangeDice(seed)
    while True:
        yield from dice.units(20, changes_max=20)


@pytest_asyncio.fixture(loop_scope="session")
async def broker() -> Broker:
    log = Broker(MemoryCluster(lambda: time.time_ns() // 1_000_000))
    await log.create_topics(topics.topic_specs(topics.TopicSettings(1)))
    return log


async def test_a_flow_after_a_restart_of_both_ends_begins_with_the_dictionary(
    broker: Broker,
) -> None:
    ours, theirs = Life(broker), Life(broker, "iad-1")
    name = ours.train()
    theirs.dictionaries.hold(ours.dictionaries.held()[name])
    await ours.directory.keep()
    await theirs.directory.keep()

    ours, theirs = Life(broker), Life(broker, "iad-1")
    await ours.load()
    await theirs.load()
    encoder = FlowEncoder(None, ours.dictionaries)
    decoder = FlowDecoder(LIMIT, None, theirs.dictionaries)
    raw = ChangeDice(9).unit()
    unit = encoder.encode(raw)

    assert read_unit_header(unit).dictionary == name
    assert decoder.decode(unit) == raw
    assert ours.dictionaries.ratio > 1
    assert (ours.dictionaries.newest, theirs.dictionaries.newest) == (name, 0)
    assert ours.directory.to_json() == [{"name": f"{name:016x}", "bytes": SIZE, "is_ours": True}]


async def test_what_other_nodes_hold_is_left_alone(broker: Broker) -> None:
    first, second = Life(broker), Life(broker, "ams-2")
    first.train()
    await first.directory.keep()
    await second.load()
    await second.directory.keep()

    assert second.dictionaries.held() == {}
    assert len(first.standing()) == 1


async def test_one_that_was_trained_meanwhile_stays_the_newest(broker: Broker) -> None:
    first = Life(broker)
    first.train()
    await first.directory.keep()
    second = Life(broker)
    name = second.train(2)
    await second.load()

    assert second.dictionaries.newest == name
    assert len(second.dictionaries.held()) == 2


async def test_what_is_given_up_is_deleted_and_nothing_is_written_twice(broker: Broker) -> None:
    life = Life(broker)
    for number in range(12):
        life.dictionaries.hold(bytes([number]) * 100)
        await life.directory.keep()
        await life.directory.keep()

    assert len(broker.stored()) == 12 + 4
    assert len(life.standing()) == len(life.dictionaries.held()) == 8


async def test_a_broker_that_is_away_is_asked_again(broker: Broker) -> None:
    life = Life(broker)
    life.train()
    broker.is_away = True
    await life.directory.keep()
    broker.is_away = False
    assert life.standing() == {}
    await life.directory.keep()
    assert len(life.standing()) == 1


async def test_one_that_is_not_what_its_name_says_is_refused(broker: Broker) -> None:
    life = Life(broker)
    life.train()
    await life.directory.keep()
    (value,) = life.standing().values()
    _, record = decode_event(value)
    record["content"] += b"\0"

    with pytest.raises(BadUnitError, match="not what its name says"):
        Life(broker).directory.on_record(record)
