"""The demo's main job: write, cut, heal, wait until equal, audit."""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.embedded.jars import KAFKA_VERSION
from dwcp.client import get_json
from dwcp.demo.audit import audit_all
from dwcp.demo.cluster import DemoCluster
from dwcp.demo.inputs import EntityDocument, spread
from dwcp.demo.memory import resident_mib
from dwcp.demo.result import DemoResult, LinkResult
from dwcp.demo.writers import Writers
from schemas.errors import NodeError
from streams.histogram import Histogram
from streams.topics import STATE

POLL_S: Final = 0.25
STALL_S: Final = 60.0  # without progress for this long, the regions will not get equal

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to do.

    Attributes:
        items: The changes.
        input_name: Where they come from.
        total: How many, if known.
        rate_per_s: Changes a second in all regions together; 0 for as fast as it goes.
        cut_s: Cut the last region off for so long, once half of the changes are written.
        partition_count: Partitions of the state topic.
        diff_bytes: Documents that each writer remembers, to send what changed; 0: whole ones.
    """

    items: Iterable[EntityDocument]
    input_name: str
    total: int | None
    rate_per_s: float
    cut_s: float
    partition_count: int
    diff_bytes: int = 0


@dataclass(slots=True)
class Progress:
    """What is going on; read by the live view."""

    plan: DemoPlan
    cluster: DemoCluster
    writers: Writers
    phase: str = "writing"
    began_s: float = field(default_factory=time.monotonic)
    statuses: dict[str, Status] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    cut_region: str | None = None
    healed_s: float | None = None
    healed_ends: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    caught_up_s: float | None = None
    equal_s: float | None = None
    standing: list[tuple[float, int]] = field(default_factory=list)
    memory_mib: float = 0.0


async def run_demo(
    plan: DemoPlan, cluster: DemoCluster, show: Callable[[Progress], None]
) -> DemoResult:
    """Run a plan on a started cluster.

    Args:
        plan: What to do.
        cluster: Where; started.
        show: Called four times a second.
    """
    writers = Writers(cluster.bootstraps, plan.partition_count, plan.rate_per_s, plan.diff_bytes)
    progress = Progress(plan, cluster, writers)
    names = list(cluster.regions)
    is_half_written = asyncio.Event()
    half = (plan.total or 0) // 2
    items = _set_at(half, is_half_written, spread(_known_regions(plan.items, names), names))
    # Tasks are gathered, not grouped, so that an error of ours reaches the caller as it is.
    watching = asyncio.ensure_future(_watch(progress, show))
    try:
        await asyncio.gather(writers.run(items), _cut_and_heal(progress, is_half_written))
        progress.phase = "settling"
        await watching
    finally:
        watching.cancel()
    progress.phase = "auditing"
    show(progress)
    return await _result(progress)


def _known_regions(
    items: Iterable[EntityDocument], regions: Sequence[str]
) -> Iterator[EntityDocument]:
    """Give regions that an input names and the demo does not have one of the demo's, in turn."""
    turn = itertools.cycle(regions)
    names: dict[str | None, str | None] = {None: None} | {name: name for name in regions}
    for item in items:
        if item.region not in names:
            names[item.region] = next(turn)
        region = names[item.region]
        yield item if region == item.region else dataclasses.replace(item, region=region)


def _set_at(
    count: int, reached: asyncio.Event, items: Iterable[tuple[str, EntityDocument]]
) -> Iterator[tuple[str, EntityDocument]]:
    """Pass items on and set the event when `count` of them have passed, or all."""
    for index, item in enumerate(items):
        if index >= count:
            reached.set()
        yield item
    reached.set()


async def _cut_and_heal(progress: Progress, is_half_written: asyncio.Event) -> None:
    """Cut the last region off in the middle of the writing, and heal it."""
    plan = progress.plan
    if not plan.cut_s:
        return
    await is_half_written.wait()
    region = list(progress.cluster.regions)[-1]
    progress.cluster.cut(region)
    progress.cut_region = region
    await asyncio.sleep(plan.cut_s)
    progress.cluster.heal(region)
    progress.cut_region = None
    progress.healed_s = time.monotonic()
    ends = progress.writers.ends
    progress.healed_ends = {origin: dict(positions) for origin, positions in ends.items()}


async def _watch(progress: Progress, show: Callable[[Progress], None]) -> None:
    """Poll the nodes; ends when all are equal, or stand still for too long."""
    last_moved_s = time.monotonic()
    while progress.equal_s is None and time.monotonic() - last_moved_s < STALL_S:
        before = {region: status["vector"] for region, status in progress.statuses.items()}
        await _poll(progress)
        _judge(progress)
        show(progress)
        now = {region: status["vector"] for region, status in progress.statuses.items()}
        if now != before or progress.phase == "writing":
            last_moved_s = time.monotonic()
        await asyncio.sleep(POLL_S if progress.phase == "writing" else POLL_S / 5)


async def _poll(progress: Progress) -> None:
    async def ask(region: str, url: str) -> None:
        try:
            progress.statuses[region] = await get_json(url, "/status")
            progress.down.discard(region)
        except NodeError:
            progress.down.add(region)

    await asyncio.gather(*(ask(region, url) for region, url in progress.cluster.urls.items()))
    progress.memory_mib = max(progress.memory_mib, await asyncio.to_thread(resident_mib))


def _judge(progress: Progress) -> None:
    """Note when the cut region has caught up, and when all are equal."""
    statuses, now_s = list(progress.statuses.values()), time.monotonic()
    if len(statuses) < len(progress.cluster.regions):
        return
    standing = min(sum(status["changes_folded"].values()) for status in statuses)
    progress.standing.append((now_s, standing))
    is_healed = progress.healed_s is not None and progress.caught_up_s is None
    if is_healed and _covers(statuses, progress.healed_ends):
        progress.caught_up_s = now_s
    if progress.phase != "settling" or progress.down:
        return
    fingerprints = {status["fingerprint"] for status in statuses}
    if _covers(statuses, progress.writers.ends) and len(fingerprints) == 1:
        progress.equal_s = now_s


def _covers(statuses: Iterable[Status], ends: Mapping[str, Mapping[int, int]]) -> bool:
    return all(
        status["vector"].get(origin, {}).get(str(partition), 0) >= end
        for status in statuses
        for origin, positions in ends.items()
        for partition, end in positions.items()
    )


async def _result(progress: Progress) -> DemoResult:
    writers, cluster = progress.writers, progress.cluster
    expected = await asyncio.to_thread(writers.expected.documents)
    topics, difference_count, differences = await audit_all(
        cluster.bootstraps, cluster.urls, writers.records, expected
    )
    refused = [f"not stored: {text}" for text in writers.failed[:5]]
    is_equal = progress.equal_s is not None and not difference_count
    visible = Histogram()
    for status in progress.statuses.values():
        for bucket, count in status["visible_ms"]["buckets"].items():
            visible.counts[int(bucket)] += count
    end_s = progress.equal_s or time.monotonic()
    settled_from_s = max(writers.last_s, progress.healed_s or 0.0)
    seconds = end_s - writers.first_s
    return DemoResult(
        converged=is_equal and not topics.lost and not topics.duplicates and not writers.failed,
        events=writers.stored,
        entities=len(expected),
        lost=topics.lost,
        duplicates=topics.duplicates,
        events_per_s=round(writers.stored / seconds, 1) if seconds > 0 else 0.0,
        visible_ms_p50=visible.quantile_ms(0.5),
        visible_ms_p99=visible.quantile_ms(0.99),
        converge_s=round(max(0.0, end_s - settled_from_s), 3),
        broker=f"Apache Kafka {KAFKA_VERSION}",
        links=tuple(links_of(progress)),
        differences=(*refused, *differences),
        cut_s=progress.plan.cut_s,
        heal_to_equal_s=_heal_s(progress),
        seconds=round(seconds, 3),
        sustained_events_per_s=_sustained(progress.standing, writers.stored),
        memory_mib=round(progress.memory_mib, 1),
        input_name=progress.plan.input_name,
    )


def _heal_s(progress: Progress) -> float | None:
    if progress.healed_s is None or progress.caught_up_s is None:
        return None
    return round(progress.caught_up_s - progress.healed_s, 3)


def links_of(progress: Progress) -> Iterator[LinkResult]:
    """Yield what every link has carried so far."""
    for origin, target in sorted(progress.cluster.links):
        shaped = progress.cluster.links[origin, target]
        status = progress.statuses.get(origin, {"links_out": []})
        encoded = [link["encoded_bytes"] for link in status["links_out"] if link["peer"] == target]
        raw = progress.writers.raw_bytes[origin]
        wire = sum(link.forward_bytes + link.backward_bytes for link in shaped)
        stored = progress.cluster.regions[origin].stored_bytes(STATE)
        yield LinkResult(origin, target, raw, sum(encoded), wire, stored)


def _sustained(standing: Sequence[tuple[float, int]], total: int) -> float:
    """Return changes a second that came to stand in all regions in the middle half of the run."""
    first = next((point for point in standing if point[1] >= total * 0.25), None)
    last = next((point for point in standing if point[1] >= total * 0.75), None)
    if first is None or last is None or last[0] <= first[0]:
        return 0.0
    return round((last[1] - first[1]) / (last[0] - first[0]), 1)
