"""Inputs of a measurement: JSONL, an Avro container file, or a topic.

* JSONL is the demo's `--input`: one `{"time_ms", "entity", "type", "document"}` a line.
* An Avro container of our `StateChange` or `StateBatch` gives changes; any other gives its records.
* A topic gives the records that it holds now, at most `event_count_max` of them.

Records that are not ours keep the key that they have. Those of a container have none, unless a
field of theirs is named for it.
"""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import fastavro
from fastavro.schema import SchemaParseException, UnknownType, parse_schema

from connectors.kafka import KafkaLog
from connectors.log import LogRecord
from dwcp.demo.inputs import read_jsonl
from dwcp.hde.events import Event, Source, document_events
from schemas.errors import ConfigError, EventError, InvalidChangeError
from schemas.registry import MAGIC, decode_event, encode_with, fingerprint_of

CONTAINER_MAGIC: Final = b"Obj\x01"
_HASH_BYTES: Final = 1 << 20


def file_source(path: str, event_count_max: int | None = None, key: str | None = None) -> Source:
    """Return the events of a file; what it is tell its first bytes.

    Args:
        path: Of the file; `-` is standard input.
        event_count_max: How many to read; None: all.
        key: Of a container of strangers' records: the field whose value is a record's key, with
            dots between the names for one inside others.

    Raises:
        ConfigError: It cannot be read, or is no container and has a key.
    """
    schemas: dict[bytes, Any] = {}
    try:
        is_container = path != "-" and _first_bytes(path) == CONTAINER_MAGIC
    except OSError as error:
        remedy = f"give a file that can be read ({error.strerror or error})"
        raise ConfigError("input", path, remedy) from error
    if key is not None and not is_container:
        raise ConfigError("--key", key, "only the records of an Avro container need one")

    def events(digest: "hashlib._Hash") -> Iterator[Event]:
        if path == "-":
            made = document_events(read_jsonl(path), digest)
        else:
            _hash_file(Path(path), digest)
            made = (
                _container_events(path, key, schemas)
                if is_container
                else document_events(read_jsonl(path))
            )
        return itertools.islice(made, event_count_max)

    return Source(path, events, schemas=schemas)


def topic_source(
    bootstrap: str, topic: str, event_count_max: int, schema_files: Sequence[str] = ()
) -> Source:
    """Return the events that a topic holds now, read once.

    Args:
        bootstrap: Of the Kafka cluster.
        topic: Its name.
        event_count_max: How many to read at most.
        schema_files: Avro schemas of its records, which stand in single object encoding.

    Raises:
        ConfigError: A schema cannot be read.
    """
    schemas = dict(map(_read_schema, schema_files))
    records = asyncio.run(_read_topic(bootstrap, topic, event_count_max))

    def events(digest: "hashlib._Hash") -> Iterator[Event]:
        for record in records:
            digest.update((record.key or b"") + (record.value or b""))
        made = itertools.chain.from_iterable(map(_record_events, records))
        return itertools.islice(made, event_count_max)

    return Source(topic, events, schemas=schemas)


def _read_schema(path: str) -> tuple[bytes, Any]:
    """Return the fingerprint of the schema in a file, and the schema."""
    try:
        parsed = parse_schema(json.loads(Path(path).read_text()))
    except (OSError, ValueError, SchemaParseException, UnknownType) as error:
        remedy = f"give a file with an Avro schema ({type(error).__name__}: {error})"
        raise ConfigError("--schema", path, remedy) from error
    return fingerprint_of(parsed), parsed


async def _read_topic(bootstrap: str, topic: str, record_count_max: int) -> list[LogRecord]:
    log = KafkaLog({"bootstrap_servers": bootstrap})
    found: list[LogRecord] = []
    try:
        starts, ends = await log.start_offsets(topic), await log.end_offsets(topic)
        left = {p: ends[p] for p in starts if starts[p] < ends[p]}
        if not left:
            return found
        tail = log.tail(topic, {p: starts[p] for p in left})
        try:
            async for ranges in tail:
                for part in ranges:
                    found += (r for r in part.records if r.offset < ends[part.partition])
                    if part.to_offset >= ends[part.partition]:
                        left.pop(part.partition, None)
                if not left or len(found) >= record_count_max:
                    break
        finally:
            await tail.aclose()
    finally:
        await log.close()
    return found[:record_count_max]


def _record_events(record: LogRecord) -> Iterator[Event]:
    """Take a record apart when it is ours; any other is one event."""
    key, value = record.key, record.value or b""
    try:
        name, content = decode_event(value)
    except EventError:
        name, content = "", {}
    if name in {"StateChange", "StateBatch"}:
        yield from _our_events(name, content, record.record_time_ms)
        return
    size_bytes = len(value) + len(key or b"")
    yield _stranger(record.record_time_ms, key, value, size_bytes)


def _stranger(time_ms: int, key: bytes | None, value: bytes, json_bytes: int) -> Event:
    size_bytes = len(value) + len(key or b"")
    entity = None if key is None else key.hex()
    return Event(time_ms, entity, None, key, value, size_bytes, json_bytes)


def _key_of(record: Any, path: str) -> bytes | None:
    """Return the value of a record's field as bytes: a text as UTF-8, a number in decimal."""
    found = record
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            raise ConfigError("--key", path, f"name a field that every record has: no {name!r}")
        found = found[name]
    if found is None or isinstance(found, bytes):
        return found
    return str(found).encode()


def _our_events(name: str, content: dict[str, Any], time_ms: int) -> Iterator[Event]:
    changes: list[Any] = content["changes"] if name == "StateBatch" else [content]
    for change in changes:
        stamp = change["hybrid_timestamp"]
        at_ms = time_ms if stamp is None else stamp >> 16
        json_bytes = len(_json_of(change))
        yield Event(at_ms, change["entity_id"], change, None, None, json_bytes, json_bytes)


def _container_events(path: str, key: str | None, schemas: dict[bytes, Any]) -> Iterator[Event]:
    number = 0
    try:
        with Path(path).open("rb") as file:
            reader = fastavro.reader(file)
            parsed = parse_schema(reader.writer_schema)
            name = parsed.get("name", "") if isinstance(parsed, dict) else ""
            fingerprint = fingerprint_of(reader.writer_schema)
            schemas[fingerprint] = parsed
            for number, record in enumerate(reader, 1):  # noqa: B007 - read in the handler
                if name in {"dwcp.StateChange", "dwcp.StateBatch"} and isinstance(record, dict):
                    yield from _our_events(name.removeprefix("dwcp."), record, 0)
                else:
                    value = MAGIC + fingerprint + encode_with(parsed, record)
                    own_key = None if key is None else _key_of(record, key)
                    yield _stranger(0, own_key, value, len(_json_of(record)))
    except (InvalidChangeError, ConfigError):
        raise
    except Exception as error:  # fastavro raises what it meets
        remedy = f"record {number + 1}: not readable as an Avro container ({error!r})"
        raise InvalidChangeError("input", path, remedy) from error


def _json_of(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode(errors="surrogatepass")


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _first_bytes(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(len(CONTAINER_MAGIC))


def _hash_file(path: Path, digest: "hashlib._Hash") -> None:
    with path.open("rb") as file:
        while piece := file.read(_HASH_BYTES):
            digest.update(piece)
