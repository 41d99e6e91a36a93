"""Brings a holding to where the logs are: its snapshot, then both topics to their ends."""

import contextlib
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

from connectors.log import Log, LogRecord
from schemas.log_trouble import LogTruncatedError, RetentionOverrunError
from streams.agents.holding import FOLDED, Holding
from streams.agents.records import records_until

Fold = Callable[[Holding, str, LogRecord], Awaitable[None]]


async def restore(
    log_: Log, holding: Holding, fold: Fold, left_out: Mapping[tuple[str, int], int]
) -> dict[str, float]:
    """Load the snapshot, then replay until every record that was left out meanwhile is folded.

    Args:
        log_: The region's log.
        holding: Empty so far.
        fold: Folds one record of a topic.
        left_out: Offset behind the last record that a consumer left out, by topic and partition;
            grows meanwhile.

    Returns:
        What it cost, by name.

    Raises:
        LogTroubleError: A log is not the one that the snapshot was taken of.
    """
    began = time.monotonic()
    with _no_collection():
        entity_count = await holding.load()
    snapshot_s = time.monotonic() - began
    count = 0
    while True:
        for topic in FOLDED:
            # What was seen before the end is asked for: consumers see more while Kafka answers.
            seen = max(holding.positions[topic], left_out.get((topic, holding.partition), 0))
            end = (await log_.end_offsets(topic))[holding.partition]
            if end < seen:
                raise LogTruncatedError(topic, holding.partition, seen, end)
            count += await replay(log_, holding, topic, end, fold)
        if not holding.is_behind(left_out):
            return {
                "entities": entity_count,
                "records_replayed": count,
                "snapshot_s": round(snapshot_s, 3),
            }


async def replay(log_: Log, holding: Holding, topic: str, end: int, fold: Fold) -> int:
    """Fold what stands between our position and `end`; returns the number of records.

    Raises:
        RetentionOverrunError: The log begins behind our position.
    """
    partition, at = holding.partition, holding.positions[topic]
    start = (await log_.start_offsets(topic))[partition]
    if at < start:
        raise RetentionOverrunError(topic, partition, at, start)
    count = 0
    async for _, record in records_until(log_, topic, {partition: at}, {partition: end}):
        await fold(holding, topic, record)
        count += 1
    holding.positions[topic] = max(holding.positions[topic], end)
    return count


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles: there are none among entities, and it takes a third.

    What is there afterwards is not looked at again, so that a large state does not make the
    collector's pauses long; counting references still frees it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
