"""Carries out what an operator decided about a partition in trouble; for `dwcp topics accept`."""

from collections.abc import Mapping
from typing import Any

from connectors.log import Log
from schemas.errors import ConfigError
from schemas.registry import Record, decode_event
from streams import topics
from streams.accepting import Bounds, accepted_manifest, accepted_records
from streams.agents.holding import FOLDED
from streams.agents.records import records_until
from streams.agents.replica import writer_name
from streams.replication import read_origin
from streams.state.snapshot import MANIFEST_KEY


async def accept(log_: Log, region: str, partition: int, skip: Mapping[str, int]) -> dict[str, Any]:
    """Let a partition go on with its topics as they are; whoever holds it is shut out meanwhile.

    Args:
        log_: The region's log.
        region: Its name.
        partition: The partition.
        skip: Next offset to want of other regions' logs.

    Returns:
        What it was before and is now.

    Raises:
        ConfigError: The decision cannot be carried out like this.
        LogError: Kafka did not do its part.
    """
    await _look(log_, partition, skip)  # a refusal must not shut the holder out
    writer = await log_.open_writer(writer_name(region, partition))
    try:
        bounds, before = await _look(log_, partition, skip)
        after = accepted_manifest(before, region, bounds, skip)
        records = accepted_records(after, await log_.topic_ids(FOLDED))
        await writer.append(topics.SNAPSHOTS, partition, records)
    finally:
        await writer.close()
    return {"region": region, "partition": partition, "before": before, "after": after}


async def _look(
    log_: Log, partition: int, skip: Mapping[str, int]
) -> tuple[dict[str, Bounds], Record | None]:
    """Return how the topics are, and the last manifest."""
    bounds = {topic: await _bounds(log_, topic, partition) for topic in FOLDED}
    manifest = await _last_manifest(log_, partition)
    if skip:
        await _check_covered(log_, partition, manifest, bounds[topics.REPLICA], skip)
    return bounds, manifest


async def _bounds(log_: Log, topic: str, partition: int) -> Bounds:
    starts, ends = await log_.start_offsets(topic), await log_.end_offsets(topic)
    if partition not in ends:
        raise ConfigError("--partition", partition, f"{topic} has {len(ends)} partitions")
    return Bounds(starts[partition], ends[partition])


async def _last_manifest(log_: Log, partition: int) -> Record | None:
    found: Record | None = None
    start, end = await _bounds(log_, topics.SNAPSHOTS, partition)
    at, ends = {partition: start}, {partition: end}
    async for _, record in records_until(log_, topics.SNAPSHOTS, at, ends):
        if record.key == MANIFEST_KEY and record.value is not None:
            found = decode_event(record.value)[1]
    return found


async def _check_covered(
    log_: Log, partition: int, manifest: Record | None, bounds: Bounds, skip: Mapping[str, int]
) -> None:
    """Refuse while a replay would bring back the old positions of a skipped origin."""
    start = max(bounds.start, 0 if manifest is None else manifest["replica_offset"])
    at, ends = {partition: start}, {partition: bounds.end}
    async for _, record in records_until(log_, topics.REPLICA, at, ends):
        origin = read_origin(record.headers).region
        if origin in skip:
            raise ConfigError(
                "--origin",
                origin,
                "its records are not in a snapshot yet: stop the nodes in order (SIGTERM), so "
                "that the last snapshot covers them, and call again",
            )
