"""The live view's numbers, out of the demo's progress."""

import time

from dwcp.demo.result import DemoSnapshot, RegionSnapshot, RegionState
from dwcp.demo.run import Progress, links_of


def snapshot_of(progress: Progress) -> DemoSnapshot:
    """Return what the live view shows."""
    return DemoSnapshot(
        phase=progress.phase,
        produced=progress.writers.produced,
        total=progress.plan.total,
        elapsed_s=time.monotonic() - progress.began_s,
        regions=tuple(_region(progress, name) for name in progress.cluster.regions),
        links=tuple(links_of(progress)),
    )


def _region(progress: Progress, name: str) -> RegionSnapshot:
    status = progress.statuses.get(name)
    state: RegionState = "up"
    if name in progress.down:
        state = "down"
    elif name == progress.cut_region:
        state = "cut"
    if status is None:
        return RegionSnapshot(name, "down", 0, 0, {}, 0.0)
    applied = sum(status["changes_folded"].values())
    lag = {
        origin: sum(
            max(0, end - status["vector"].get(origin, {}).get(str(partition), 0))
            for partition, end in ends.items()
        )
        for origin, ends in progress.writers.ends.items()
    }
    per_s = applied / max(1e-3, time.monotonic() - progress.began_s)
    return RegionSnapshot(name, state, applied, status["entities"], lag, per_s)
