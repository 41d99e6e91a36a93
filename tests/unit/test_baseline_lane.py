"""The directory of baselines is followed whatever the broker does."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest

from connectors.log import NewRecord, RecordRange
from connectors.memory import MemoryLog
from dwcp.baseline_lane import follow
from schemas.errors import LogError, LogUnavailableError, OffsetOutOfRangeError
from schemas.registry import encode_event
from streams import topics
from streams.agents.baselines import Baselines, BaselineSettings
from streams.agents.dictionaries import DictionaryDirectory
from streams.baselines.anchors import Anchors
from tests.support.links import Region
from tests.support.waiting import until
from transport.hde.dictionary import Dictionaries

WAIT_S = 20


class FailingLog(MemoryLog):
    """A log whose next calls fail, one after the other."""

    def __init__(self, region: Region, *failures: LogError | None) -> None:
        super().__init__(region.cluster)
        self.failures = list(failures)

    def fail(self) -> None:
        """Raise what is next, if anything."""
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure

    async def start_offsets(self, topic: str) -> dict[int, int]:
        self.fail()
        return await super().start_offsets(topic)

    async def tail(
        self, topic: str, positions: Mapping[int, int], *, bytes_max: int = 524_288
    ) -> AsyncGenerator[list[RecordRange], None]:
        self.fail()
        async for ranges in super().tail(topic, positions, bytes_max=bytes_max):
            yield ranges


@pytest.mark.parametrize(
    "failures",
    [
        (LogUnavailableError("no broker"), LogUnavailableError("no broker")),
        (None, OffsetOutOfRangeError("made anew"), LogUnavailableError("no broker")),
    ],
    ids=["it is away at the start", "it goes away later"],
)
async def test_a_log_that_cannot_be_read_is_tried_again(failures: tuple[LogError | None]) -> None:
    region = Region("ams")
    log = FailingLog(region, *failures)
    before = DictionaryDirectory(Dictionaries(), "ams", "ams-1", region.log)
    before.dictionaries.hold(b"held before a restart")
    await before.keep()
    dictionaries = Dictionaries()
    baselines = Baselines(
        region.replica,
        "ams-1",
        log,
        [],
        BaselineSettings(),
        DictionaryDirectory(dictionaries, "ams", "ams-1", log),
    )
    record, _ = Anchors("iad", "iad-1").next(b"what iad holds", 1)
    following = asyncio.ensure_future(follow(baselines, log, retry_s=0.0))
    try:
        await until(lambda: following.done() or not log.failures, WAIT_S, "all failures")
        value = encode_event("Baseline", record)
        await region.log.append(topics.BASELINES, 0, [NewRecord(record["name"], value)])
        await until(
            lambda: following.done() or bool(baselines.directory.to_json()), WAIT_S, "the baseline"
        )
        assert not following.done()
        assert [one["region"] for one in baselines.directory.to_json()] == ["iad"]
        assert list(dictionaries.held().values()) == [b"held before a restart"]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
