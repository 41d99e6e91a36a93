"""Coroutines without an event loop: stepped from outside, so they can be interrupted or killed.

`Replica` of `streams.agents` is a coroutine shell around a `Log`. Over a `SteppedLog` it stops
before each record that it appends: there other things may happen, or the node may die.
"""

import types
from collections.abc import Coroutine, Generator, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from connectors.log import NewRecord
from connectors.memory import MemoryCluster, MemoryLog, MemoryWriter
from schemas.errors import LogUnavailableError, OutcomeUnknownError
from streams import topics
from tests.simulation.timeline import Action

T = TypeVar("T")


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Let others go first."""
    yield


class Job(Generic[T]):
    """A coroutine that goes on when it is told to."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.is_done = False
        self.result: T

    def step(self) -> bool:
        """Go on to the next pause; True when it came to its end."""
        try:
            self._coroutine.send(None)
        except StopIteration as end:
            self.result = end.value
            self.is_done = True
        except BaseException:
            self.is_done = True
            raise
        return self.is_done

    def finish(self) -> T:
        """Go on to the end."""
        while not self.step():
            pass
        return self.result

    def kill(self) -> None:
        """Stop where it is, as a process dies."""
        self.is_done = True
        self._coroutine.close()


class SteppedLog(MemoryLog):
    """A region's log as its node sees it: appends can be interrupted between two records.

    Attributes:
        failures: Appends to a topic that are still to fail; for the topics whose writers expect
            it. Half of them fail after the record was written: the answer was lost.
        are_letters_held: The dead letters' partition has no leader: appends wait.
        on_half_written: Told once when some, but not all, records of an append are written.
    """

    def __init__(self, cluster: MemoryCluster, dice: Random) -> None:
        super().__init__(cluster)
        self._dice = dice
        self.failures = {topics.REPLICA: 0, topics.SNAPSHOTS: 0}
        self.are_letters_held = False
        self.on_half_written: Action | None = None

    def mend(self) -> None:
        """End all faults."""
        self.failures = dict.fromkeys(self.failures, 0)
        self.are_letters_held = False
        self.on_half_written = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        """See `Log`."""
        offsets: list[int] = []
        for record in records:
            await pause()
            while self.are_letters_held and topic == topics.DEADLETTER:
                await pause()
            is_failing = self.failures.get(topic, 0) > 0
            if is_failing:
                self.failures[topic] -= 1
                if self._dice.random() < 0.5:
                    raise LogUnavailableError("the simulation refuses")
            offsets.append(self._cluster.append(topic, partition, record))
            if is_failing:
                raise OutcomeUnknownError("the simulation lost the answer")
            if 0 < len(offsets) < len(records) and topic == topics.SNAPSHOTS:
                self._tell_half_written()
        return offsets

    async def open_writer(self, name: str) -> "SteppedWriter":
        """See `Log`."""
        await pause()
        return SteppedWriter(self, self._cluster, name)

    async def append_at_once(
        self, topic: str, partition: int, records: Sequence[NewRecord], check: Action
    ) -> list[int]:
        """Append in a transaction: others go first before its end, and then all stands there."""
        for record in records:
            self._cluster.check_size(topic, record)
            await pause()
            if topic == topics.SNAPSHOTS:
                self._tell_half_written()
        check()
        is_failing = self.failures.get(topic, 0) > 0
        if is_failing:
            self.failures[topic] -= 1
            if self._dice.random() < 0.5:
                raise LogUnavailableError("the simulation refuses")
        offsets = [self._cluster.append(topic, partition, record) for record in records]
        if is_failing:
            raise OutcomeUnknownError("the simulation lost the answer")
        return offsets

    def _tell_half_written(self) -> None:
        if self.on_half_written is not None:
            tell, self.on_half_written = self.on_half_written, None
            tell()


class SteppedWriter(MemoryWriter):
    """A fenced writer whose appends can be interrupted, and are whole or not there."""

    _log: SteppedLog

    async def _append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        return await self._log.append_at_once(topic, partition, records, self._check)
