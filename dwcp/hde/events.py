"""What a measurement reads: state changes, or records of a stranger's topic, one event each."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from dwcp.demo.inputs import EntityDocument
from dwcp.hde.streams import Stream
from schemas.changes import StateChange, dump_document

REGION: Final = "eu-west"
PRODUCER: Final = "bench"


class Event(NamedTuple):
    """One event.

    Attributes:
        time_ms: When it was made, Unix milliseconds.
        entity: What it changes; None when nobody can tell.
        change: As a producer of ours writes it; None for a stranger's record.
        key: Of a stranger's record.
        value: Of a stranger's record.
        size_bytes: About its size in a batch.
        json_bytes: Its size as one line of compact JSON.
        floor_bits: Information that the generator put into it.
        is_first: Nothing was seen of its entity before; only the bench tells.
    """

    time_ms: int
    entity: str | None
    change: StateChange | None
    key: bytes | None
    value: bytes | None
    size_bytes: int
    json_bytes: int
    floor_bits: float = 0.0
    is_first: bool = False


class Source:
    """Events, and what is known of them when they have all been read.

    Args:
        name: Names the input for people.
        events: Makes the events, feeding the hash with every byte it reads.
        has_floor: `Event.floor_bits` means something.
        schemas: Of strangers' records, by fingerprint; may be filled while they are read.

    Attributes:
        sha256: Of the input, once it was read to its end.
    """

    def __init__(
        self,
        name: str,
        events: "Callable[[hashlib._Hash], Iterator[Event]]",
        *,
        has_floor: bool = False,
        schemas: dict[bytes, Any] | None = None,
    ) -> None:
        self.name = name
        self.has_floor = has_floor
        self.schemas: dict[bytes, Any] = {} if schemas is None else schemas
        self._events = events
        self.sha256 = ""

    def read(self) -> Iterator[Event]:
        """Yield all events; may be called again."""
        digest = hashlib.sha256()
        yield from self._events(digest)
        self.sha256 = digest.hexdigest()


class Stamper:
    """Turns documents into changes as a `StateProducer` does; its clock is the documents'."""

    def __init__(self) -> None:
        self._stamp = 0
        self._sequence = 0

    def change(self, item: EntityDocument, document: str | None) -> StateChange:
        """Stamp one; `document` is its document as JSON text."""
        self._stamp = max(self._stamp + 1, item.time_ms << 16)
        self._sequence += 1
        return {
            "change_id": f"{PRODUCER}/{self._sequence}",
            "entity_id": item.entity,
            "entity_type": item.entity_type,
            "operation": "delete" if document is None else "put",
            "document": document,
            "deltas": [],
            "hybrid_timestamp": self._stamp,
            "origin_region": REGION,
        }


def stream_source(open_it: Callable[[], Stream], name: str) -> Source:
    """Return the events of a named stream, which is made anew at each reading."""
    is_synthetic = name.startswith("synthetic-")

    def events(digest: "hashlib._Hash") -> Iterator[Event]:
        stream, before = open_it(), 0.0
        for event in document_events(stream.items, digest):
            if stream.dice is None:
                yield event
            else:
                yield event._replace(floor_bits=stream.dice.bits - before)
                before = stream.dice.bits

    return Source(name, events, has_floor=is_synthetic)


def document_events(
    items: Iterable[EntityDocument], digest: "hashlib._Hash | None" = None
) -> Iterator[Event]:
    """Turn documents into events; the hash gets each as its line of `--input`."""
    stamper = Stamper()
    for item in items:
        document = None if item.document is None else dump_document(item.document)
        line = json_line(item, document)
        if digest is not None:
            digest.update(line + b"\n")
        change = stamper.change(item, document)
        size_bytes = len(line)
        yield Event(item.time_ms, item.entity, change, None, None, size_bytes, len(line))


def json_line(item: EntityDocument, document: str | None) -> bytes:
    """Write a change as one line of `--input`, without its end."""
    names = dump_document(
        {"time_ms": item.time_ms, "entity": item.entity, "type": item.entity_type}
    )
    return f'{names[:-1]},"document":{document or "null"}}}'.encode()
