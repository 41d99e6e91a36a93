"""After the demo: does every region's Kafka hold every change once, and all hold the same state?"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from connectors.kafka import KafkaLog
from dwcp.client import get_lines
from dwcp.demo.expected import canonical
from streams.replication import read_origin
from streams.topics import REPLICA

DIFFERENCES_SHOWN = 5

Places = Mapping[tuple[str, int, int], int]


class TopicAudit(NamedTuple):
    """Changes that a region's replica topic lacks, and changes it holds again."""

    lost: int
    duplicates: int


async def audit_topic(region: str, bootstrap: str, records: Places) -> TopicAudit:
    """Count what a region's replica topic lacks or holds twice of the other regions' records.

    Args:
        region: The region.
        bootstrap: Its Kafka.
        records: Changes in each acknowledged record, by (region, partition, offset).
    """
    seen: dict[tuple[str, int, int], int] = {}
    log = KafkaLog({"bootstrap_servers": bootstrap})
    try:
        ends = await log.end_offsets(REPLICA)
        for partition, end in ends.items():
            found = await log.read(REPLICA, partition, 0, end)
            for record in found.records:
                origin = read_origin(record.headers)
                place = (origin.region, origin.partition, origin.offset)
                seen[place] = seen.get(place, 0) + 1
    finally:
        await log.close()
    others = {place: count for place, count in records.items() if place[0] != region}
    lost = sum(count for place, count in others.items() if place not in seen)
    twice = sum(count * (seen[place] - 1) for place, count in others.items() if place in seen)
    return TopicAudit(lost, twice)


async def compare_state(
    region: str, url: str, expected: Mapping[str, tuple[str, str]]
) -> tuple[int, list[str]]:
    """Compare what a region serves with what it has to hold, entity by entity.

    Returns:
        How many entities differ, and the first few differences in words.
    """
    differences: list[str] = []
    count = 0
    left = dict(expected)
    async for line in get_lines(url, "/state", {}):
        wanted = left.pop(line["entity"], None)
        if wanted != (line["type"], canonical(line["document"])):
            count += 1
            what = "should not be there" if wanted is None else "holds another document"
            differences.append(f"{region}: {line['entity']} {what}")
    differences += [f"{region}: {entity} is missing" for entity in left]
    return count + len(left), differences[:DIFFERENCES_SHOWN]


async def audit_all(
    bootstraps: Mapping[str, str],
    urls: Mapping[str, str],
    records: Places,
    expected: Mapping[str, tuple[str, str]],
) -> tuple[TopicAudit, int, list[str]]:
    """Audit all regions; returns the sums and the first differences."""
    topics = await asyncio.gather(*(audit_topic(r, b, records) for r, b in bootstraps.items()))
    states = [await compare_state(region, url, expected) for region, url in urls.items()]
    total = TopicAudit(sum(t.lost for t in topics), sum(t.duplicates for t in topics))
    texts = [text for _, found in states for text in found]
    return total, sum(count for count, _ in states), texts[:DIFFERENCES_SHOWN]
