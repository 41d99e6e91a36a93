"""Records of a log up to an end, then no more."""

from collections.abc import AsyncIterator, Mapping

from connectors.log import Log, LogRecord


async def records_until(
    log_: Log, topic: str, positions: Mapping[int, int], ends: Mapping[int, int]
) -> AsyncIterator[tuple[int, LogRecord]]:
    """Yield (partition, record) of each partition up to `ends`, then stop."""
    left = {p: at for p, at in positions.items() if at < ends[p]}
    if not left:
        return
    tail = log_.tail(topic, left)
    try:
        async for ranges in tail:
            for part in ranges:
                for record in part.records:
                    if record.offset < ends[part.partition]:
                        yield part.partition, record
                if part.to_offset >= ends[part.partition]:
                    left.pop(part.partition, None)
            if not left:
                return
    finally:
        await tail.aclose()
