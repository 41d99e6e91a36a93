"""Snapshots of a partition as buckets in a compacted topic.

Record keys in `dwcp.snapshots` (partition p holds the snapshot of partition p):

==================  ======================================================================
key                 value
==================  ======================================================================
``bucket/B/C``      `SnapshotBucket`: chunk C of bucket B; null when there is none any more
``manifest``        `SnapshotManifest`: all buckets hold at least what lies below its offsets
``logs``            JSON: ids of the topics that the manifest's offsets mean
``trouble``         JSON: why nothing of the partition goes on; null when an operator decided
==================  ======================================================================

Invariant: offsets are read *before* the first bucket is taken and written *after* the last one is
durable. Buckets may be newer than the manifest, or a mixture after a crash; because joining is
idempotent and the log is replayed from the manifest's offsets, that is harmless. So only buckets
that changed are written, and nothing stops while they are.

An entity may move from one chunk of its bucket to another, so no chunk may be written over before
all others are durable: several chunks get numbers that do not stand in the topic yet, and the old
ones are deleted when the new ones are durable.
"""

import itertools
import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from schemas.ids import Version
from schemas.registry import Record, decode_event, encode_event
from streams.state.bases import Base, Bases
from streams.state.entity import Entity
from streams.state.partition import BUCKET_COUNT, PartitionState

CHUNK_BYTES: Final = 262_144
MANIFEST_KEY: Final = b"manifest"
LOGS_KEY: Final = b"logs"
TROUBLE_KEY: Final = b"trouble"
_NEVER: Final = {"hybrid_timestamp": -1, "region": "", "offset": -1, "index": -1}


def bucket_key(bucket: int, chunk: int) -> bytes:
    """Return the record key of one chunk."""
    return f"bucket/{bucket}/{chunk}".encode()


def take_dirty(state: PartitionState) -> dict[int, list[Entity]]:
    """Return the entities of every bucket that changed; they count as clean from now on."""
    taken: dict[int, list[Entity]] = {bucket: [] for bucket in sorted(state.dirty)}
    state.dirty.clear()
    for entity in state.entities.values():
        if entity.bucket in taken:
            taken[entity.bucket].append(entity)
    return taken


def encode_chunks(entities: list[Entity]) -> list[bytes]:
    """Encode a bucket's entities as they are now, in chunks of about 256 KiB of JSON text."""
    chunks: list[bytes] = []
    records: list[Record] = []
    size_bytes = 0
    for entity in entities:
        records.append(_entity_record(entity))
        size_bytes += len(entity.document or "") + 64 * (1 + len(entity.fields))
        size_bytes += sum(len(base["document"] or "") + 64 for base in records[-1]["bases"])
        if size_bytes >= CHUNK_BYTES:
            chunks.append(encode_event("SnapshotBucket", {"entities": records}))
            records, size_bytes = [], 0
    if records:
        chunks.append(encode_event("SnapshotBucket", {"entities": records}))
    return chunks


def chunk_numbers(standing: AbstractSet[int], count: int) -> list[int]:
    """Return numbers for the new chunks of a bucket, of which `standing` are in the topic.

    A single chunk holds the whole bucket, so it may take the place of an old one.
    """
    if count == 1 and standing:
        return [min(standing)]
    free = (number for number in itertools.count() if number not in standing)
    return list(itertools.islice(free, count))


def encode_manifest(state: PartitionState, region: str, replica_offset: int) -> bytes:
    """Encode where a replay has to begin: call it before the first bucket is taken."""
    origins = [{"region": r, "offset": o} for r, o in sorted(state.vector.items())]
    record = {
        "bucket_count": BUCKET_COUNT,
        "state_offset": state.vector.get(region, 0),
        "replica_offset": replica_offset,
        "origins": origins,
    }
    return encode_event("SnapshotManifest", record)


class SnapshotReader:
    """Joins a partition's snapshot records, in the order of the topic, into an empty state.

    Attributes:
        replica_offset: Where to replay the replica topic from; 0 without a manifest.
        standing: Numbers of the chunks standing in the topic, by bucket.
        logs: Ids of the topics that the offsets mean; empty when nobody wrote them yet.
        trouble: What stands in the way, by `reason` and `text`; empty when nothing does.
    """

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._chunks: dict[tuple[int, int], bytes] = {}
        self._manifest: bytes | None = None
        self.replica_offset = 0
        self.logs: dict[str, str] = {}
        self.trouble: dict[str, str] = {}
        self.standing: dict[int, set[int]] = {}

    def feed(self, key: bytes, value: bytes | None) -> None:
        """Take one record; later ones of the same key replace earlier ones."""
        if key == MANIFEST_KEY:
            self._manifest = value
            return
        if key in (LOGS_KEY, TROUBLE_KEY):
            found: dict[str, str] = {} if value is None else json.loads(value)
            if key == LOGS_KEY:
                self.logs = found
            else:
                self.trouble = found
            return
        bucket, chunk = (int(part) for part in key.split(b"/")[1:])
        standing = self.standing.setdefault(bucket, set())
        if value is None:
            standing.discard(chunk)
            self._chunks.pop((bucket, chunk), None)
        else:
            standing.add(chunk)
            self._chunks[bucket, chunk] = value

    def finish(self) -> int:
        """Join everything into the state and return how many entities came."""
        return sum(self.steps())

    def steps(self) -> Iterator[int]:
        """Join everything, a chunk a step, and yield how many entities it held.

        Without a manifest nothing is joined: the first snapshot was never completed.
        """
        if self._manifest is None:
            return
        _, manifest = decode_event(self._manifest)
        self.replica_offset = manifest["replica_offset"]
        self._state.vector = {o["region"]: o["offset"] for o in manifest["origins"]}
        self._state.covered = dict(self._state.vector)
        for key in sorted(self._chunks):
            _, record = decode_event(self._chunks.pop(key))
            for entity in record["entities"]:
                _join(self._state, entity)
            yield len(record["entities"])
        self._state.dirty.clear()


def _entity_record(entity: Entity) -> Record:
    version = _NEVER if entity.version is None else _version_record(entity.version)
    return {
        "entity_id": entity.entity_id,
        "entity_type": entity.entity_type,
        "document": entity.document,
        **version,
        "fields": list(_field_records(entity)),
        "bases": list(_base_records(entity)),
    }


def _field_records(entity: Entity) -> Iterator[Record]:
    for path, field in entity.fields.items():
        yield {
            "path": path,
            "removed": field.is_removed,
            "value": field.value,
            **_version_record(field.version),
        }


def _base_records(entity: Entity) -> Iterator[Record]:
    for (origin, producer), base in (entity.bases or {}).items():
        is_shared = base.document is not None and base.document == entity.document
        yield {
            "origin": origin,
            "producer": producer,
            "hybrid_timestamp": base.stamp,
            "offset": base.offset,
            "index": base.change_index,
            "is_shared": is_shared,
            "document": None if is_shared else base.document,
        }


def _join_bases(entity: Entity, records: list[Record], own: str | None) -> None:
    """Join bases; of two chunks that hold the entity the later one counts."""
    found = Bases()
    for record in records:
        document = own if record["is_shared"] else record["document"]
        base = Base(record["hybrid_timestamp"], record["offset"], record["index"], document)
        found[record["origin"], record["producer"]] = base
    bases = entity.bases if entity.bases is not None else Bases()
    bases.join(found)
    entity.bases = bases or None


def _version_record(version: Version) -> Record:
    return {
        "hybrid_timestamp": version.stamp,
        "region": version.region,
        "offset": version.offset,
        "index": version.change_index,
    }


def _version(record: Record) -> Version:
    return Version(record["hybrid_timestamp"], record["region"], record["offset"], record["index"])


def _join(state: PartitionState, record: Record) -> None:
    entity = state.entity(record["entity_id"])
    was_visible = entity.is_visible
    added = 0
    newest = []
    if record["hybrid_timestamp"] >= 0:
        newest.append(_version(record))
        added += entity.put(record["document"], newest[-1]) or 0
    for field in record["fields"]:
        newest.append(_version(field))
        is_removed = field["removed"]
        one = entity.set_field(field["path"], field["value"], newest[-1], is_removed=is_removed)
        added += one or 0
    _join_bases(entity, record["bases"], record["document"])
    if entity.newest is None or max(newest) > entity.newest:
        entity.newest = max(newest)
        entity.entity_type = record["entity_type"]
    state.account(entity, added, was_visible=was_visible)
