"""What a baseline is made of: the newest documents of our own log."""

import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple

from connectors.log import LogRecord, RecordRange
from schemas.changes import StateChange
from schemas.registry import encode_event
from streams.replication import encode_batch
from streams.state.entity import Entity

PRODUCER: Final = "baseline"
_ROWS_MAX: Final = 8_192
_RECORD_BYTES_MAX: Final = 1 << 24


class Document(NamedTuple):
    """An entity's document, as it is now."""

    stamp: int
    entity_id: str
    entity_type: str
    text: str


def newest_documents(region: str, entities: Iterable[Entity], bytes_max: int) -> list[Document]:
    """Return the newest documents that our own log wrote, the newest last, up to a size."""
    own = (
        Document(entity.version.stamp, entity.entity_id, entity.entity_type, entity.document)
        for entity in entities
        if entity.document is not None
        and entity.version is not None
        and entity.version.region == region
    )
    chosen: list[Document] = []
    size_bytes = 0
    for one in heapq.nlargest(_ROWS_MAX, own):
        size_bytes += len(one.text.encode()) + len(one.entity_id.encode())
        if size_bytes > bytes_max:
            break
        chosen.append(one)
    return chosen[::-1]


def baseline_of(region: str, documents: Iterable[Document]) -> bytes:
    """Return the raw bytes of the unit that both ends take for sent; empty without documents."""
    changes: list[StateChange] = [
        {
            "change_id": f"{PRODUCER}/{number}",
            "entity_id": one.entity_id,
            "entity_type": one.entity_type,
            "operation": "put",
            "document": one.text,
            "deltas": [],
            "hybrid_timestamp": one.stamp,
            "origin_region": region,
        }
        for number, one in enumerate(documents)
    ]
    if not changes:
        return b""
    batch = encode_event("StateBatch", {"producer": PRODUCER, "changes": changes})
    time_ms = (changes[-1]["hybrid_timestamp"] or 0) >> 16
    record = LogRecord(0, time_ms, None, batch, ())
    return encode_batch([RecordRange(0, 0, 1, [record])], _RECORD_BYTES_MAX)
