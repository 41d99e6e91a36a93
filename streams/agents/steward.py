"""Takes and gives up partitions as the region's consumer group shares them out.

For every partition that the group gave us a task lives: it takes the partition, again and again
until that succeeds, and takes it anew when its writer failed. Nothing waits for it within the
group's callbacks, and it is not cancelled in the middle (aiokafka swallows that now and then).
What links may carry (`holds`) changes for all partitions of a move at once, for every change ends
all sessions.

A writer that was fenced means that another node has the partition now. Mostly the group tells us
the same a moment later. If it does not, we were a zombie or robbed by one, and take it back.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final

import structlog

from schemas.errors import DwcpError, LogError
from schemas.log_trouble import LogTroubleError
from streams.agents.replica import Replica

log = structlog.get_logger(__name__)

RETAKE_S: Final = 2.0  # longer than a zombie needs to hear from the group that it is out
TROUBLE_S: Final = 10.0  # between looks whether an operator has decided
CLOSE_S: Final = 10.0
RESTORES_MAX: Final = 2  # at once: each holds all chunks of its snapshot in memory


class Steward:
    """The partitions of one node.

    Args:
        replica: Where they are held.
        on_moved: Told whenever `holds` has changed.
        fail: Told of errors that must end the node.

    Attributes:
        assigned: What the group gave us.
        holds: What links may carry: taken, restored, not lost.
        troubles: Why a partition that we should hold is not held, by partition.
        is_settled: Every assigned partition was restored, or is in trouble.
    """

    def __init__(
        self,
        replica: Replica,
        on_moved: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.assigned: frozenset[int] = frozenset()
        self.holds: frozenset[int] = frozenset()
        self.troubles: dict[int, DwcpError] = {}
        self._replica = replica
        self._on_moved = on_moved
        self._fail = fail
        self._cares: dict[int, _Care] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._taking: set[int] = set()
        self._restores = asyncio.Semaphore(RESTORES_MAX)
        self._is_handing_over = False
        replica.on_lost = self._on_lost
        replica.on_trouble = self._note

    @property
    def is_settled(self) -> bool:
        """Tell whether all that we were given is held, or known not to be possible now."""
        return not self._taking

    def assign(self, partitions: Collection[int]) -> None:
        """Follow the group: give up what is gone, begin to take what is new."""
        if self._is_handing_over:
            return
        gone, new = self.assigned.difference(partitions), set(partitions) - self.assigned
        kept = self.assigned.intersection(partitions)
        self.assigned = frozenset(partitions)
        log.info("partitions.assigned", kept=sorted(kept), gone=sorted(gone), new=sorted(new))
        self._replica.expect_again(kept)
        self._give_up(gone)
        self._taking |= new
        for partition in new:
            care, before = _Care(partition), self._tasks.get(partition)
            self._cares[partition] = care
            self._tasks[partition] = asyncio.ensure_future(self._keep(care, before))
        self._announce_taken()  # what is gone may have been all that others waited for

    async def hand_over(self) -> None:
        """Before an orderly stop: end what links carry, and write last snapshots.

        The successor then has nothing to replay.
        """
        self._is_handing_over = True
        self._announce(frozenset())
        for partition in sorted(self._replica.held):
            try:
                await self._replica.snapshot_partition(partition)
            except LogError as error:
                # The log still has everything: the successor replays a little more.
                log.warning("snapshot.failed", partition=partition, error=str(error))

    async def close(self) -> None:
        """Give everything up, within `CLOSE_S`."""
        self._is_handing_over = True
        self._give_up(self.assigned)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _give_up(self, partitions: Collection[int]) -> None:
        for partition in self._cares.keys() & set(partitions):
            self._cares.pop(partition).give_up()
        self._taking.difference_update(partitions)
        if self.holds.intersection(partitions):
            self._announce(self.holds.difference(partitions))

    async def _keep(self, care: "_Care", before: "asyncio.Task[None] | None") -> None:
        """Hold a partition until it is given up."""
        partition = care.partition
        try:
            if before is not None:  # given up a moment ago, and still at it
                await asyncio.wait({before})
            while not care.is_over:
                await self._hold(care)
                await self._replica.drop(partition)
                trouble = self.troubles.get(partition)
                is_decided = not isinstance(trouble, LogTroubleError)
                await care.sleep(RETAKE_S if is_decided else TROUBLE_S)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # as below
                self._fail(RuntimeError(f"nobody cancelled the care for partition {partition}"))
            raise
        except Exception as error:
            self._fail(error)  # a bug of ours: nobody would hold the partition, and nobody know
            raise

    async def _hold(self, care: "_Care") -> None:
        """Take a partition and hold it until it is lost or given up."""
        partition = care.partition
        care.begin()
        try:
            async with self._restores:
                if not care.is_over:
                    await self._replica.take(partition)
        except DwcpError as error:
            if not care.is_over:
                self._note(partition, error)
            return
        if care.is_over:
            return
        self.troubles.pop(partition, None)
        self._taking.discard(partition)
        self._announce_taken()
        await care.wait()
        if not care.is_over:
            self._announce(self.holds - {partition})

    def _note(self, partition: int, error: DwcpError) -> None:
        """Remember what is wrong, say it once, and let the others go on without this one."""
        if str(self.troubles.get(partition)) != str(error):
            log.error(
                "partition.trouble", partition=partition, reason=error.reason, text=str(error)
            )
        self.troubles[partition] = error
        self._taking.discard(partition)
        self._announce_taken()

    def _on_lost(self, partition: int, error: DwcpError) -> None:
        care = self._cares.get(partition)
        if not self._is_handing_over and care is not None:
            self.troubles[partition] = error
            care.lose()

    def _announce_taken(self) -> None:
        """Announce what is held now, unless more of the same move is still to come."""
        if not self._taking and not self._is_handing_over:
            self._announce(self._replica.held & self.assigned)

    def _announce(self, holds: frozenset[int]) -> None:
        if holds != self.holds:
            self.holds = holds
            self._on_moved()


class _Care:
    """The care for one partition, from its assignment until it is given up.

    Attributes:
        is_over: It was given up.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.is_over = False
        self._turned = asyncio.Event()

    def begin(self) -> None:
        """Forget that it was lost."""
        if not self.is_over:
            self._turned.clear()

    def lose(self) -> None:
        """Note that its writer failed."""
        self._turned.set()

    def give_up(self) -> None:
        """End the care."""
        self.is_over = True
        self._turned.set()

    async def wait(self) -> None:
        """Wait until it is lost or given up."""
        await self._turned.wait()

    async def sleep(self, seconds: float) -> None:
        """Pause, but not beyond its end."""
        self.begin()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._turned.wait(), seconds)
