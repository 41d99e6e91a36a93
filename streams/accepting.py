"""What an operator decides when a log is not what it was: where a partition goes on. Pure."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from connectors.log import NewRecord
from schemas.registry import Record, encode_event
from streams import topics
from streams.state.partition import BUCKET_COUNT
from streams.state.snapshot import LOGS_KEY, MANIFEST_KEY, TROUBLE_KEY


class Bounds(NamedTuple):
    """Where one partition of a topic begins and ends."""

    start: int
    end: int


def accepted_manifest(
    manifest: Record | None, region: str, bounds: Mapping[str, Bounds], skip: Mapping[str, int]
) -> Record:
    """Return a manifest that fits the topics as they are.

    Args:
        manifest: The last one; None when there never was one.
        region: Our region.
        bounds: Of both folded topics.
        skip: Next offset to want of other regions' logs, where the operator says so.
    """
    old = manifest or {"origins": [], "replica_offset": 0}
    vector = {one["region"]: one["offset"] for one in old["origins"]} | dict(skip)
    vector[region] = _clamped(vector.get(region, 0), bounds[topics.STATE])
    return {
        "bucket_count": BUCKET_COUNT,
        "state_offset": vector[region],
        "replica_offset": _clamped(old["replica_offset"], bounds[topics.REPLICA]),
        "origins": [{"region": r, "offset": o} for r, o in sorted(vector.items())],
    }


def accepted_records(manifest: Record, ids: Mapping[str, str]) -> list[NewRecord]:
    """Return what to write into the snapshot topic: the decision, and no trouble any more."""
    return [
        NewRecord(MANIFEST_KEY, encode_event("SnapshotManifest", manifest)),
        NewRecord(LOGS_KEY, json.dumps(dict(ids)).encode()),
        NewRecord(TROUBLE_KEY, None),
    ]


def _clamped(offset: int, bounds: Bounds) -> int:
    return min(max(offset, bounds.start), bounds.end)
