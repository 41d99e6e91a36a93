"""Avro schemas by name and by fingerprint; records to bytes and back.

Layout of an event (Avro 1.11, "Single-object encoding"):

======  =====  ==========================================================
offset  bytes  meaning
======  =====  ==========================================================
0       2      C3 01
2       8      CRC-64-AVRO fingerprint of the writer's schema, little-endian
10      n      Avro binary
======  =====  ==========================================================

The files `avro/dwcp.<Name>.avsc` are the truth. `avro/history/<Name>.<version>.avsc` keeps every
version that was ever written to a topic; all of them can be read.
"""

import functools
import io
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, load_schema, parse_schema, to_parsing_canonical_form

from schemas.errors import MalformedEventError, UnknownSchemaError

Record = dict[str, Any]

MAGIC: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
FOLDER: Final = Path(str(resources.files("schemas"))) / "avro"

# What fastavro raises on bytes that are not what they claim to be.
DECODE_ERRORS: Final = (
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
)


@functools.cache
def schema(name: str) -> Any:
    """Return the parsed current schema of `name`, for example `StateChange`."""
    return load_schema(FOLDER / f"dwcp.{name}.avsc")


def fingerprint_of(parsed: Any) -> bytes:
    """Return the 8 bytes that name a schema in an event's header."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO"))


@functools.cache
def event_header(name: str) -> bytes:
    """Return the 10 bytes that begin every event written with the current schema of `name`."""
    return MAGIC + fingerprint_of(schema(name))


@functools.cache
def written() -> dict[bytes, tuple[str, Any, Any]]:
    """Map each known header to (name, writer's schema, reader's schema or None when equal)."""
    known: dict[bytes, tuple[str, Any, Any]] = {}
    for path in sorted((FOLDER / "history").glob("*.avsc")):
        match = re.fullmatch(r"(\w+)\.(\d+)\.avsc", path.name)
        assert match is not None, f"{path.name} is not <Name>.<version>.avsc"
        name = match[1]
        writer = parse_schema(json.loads(path.read_text()))
        header = MAGIC + fingerprint_of(writer)
        known[header] = (name, writer, None if header == event_header(name) else schema(name))
    return known


def encode_with(parsed: Any, datum: Any) -> bytes:
    """Encode by any parsed schema, without header."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, datum)
    return out.getvalue()


def encode_bare(name: str, record: Record) -> bytes:
    """Encode a record without header, for messages whose type is named elsewhere."""
    return encode_with(schema(name), record)


def decode_bare(name: str, data: bytes) -> Record:
    """Decode what `encode_bare` made.

    Raises:
        MalformedEventError: The bytes are not exactly one such record.
    """
    return _decode(name, data, 0, schema(name), None)


def encode_event(name: str, record: Record) -> bytes:
    """Encode an event with its single-object header."""
    out = io.BytesIO()
    out.write(event_header(name))
    fastavro.schemaless_writer(out, schema(name), record)
    return out.getvalue()


def decode_event(data: bytes) -> tuple[str, Record]:
    """Decode an event of any version ever written.

    Returns:
        The schema's name and the record, by the current schema.

    Raises:
        MalformedEventError: No single-object header, or bytes that do not decode.
        UnknownSchemaError: A fingerprint that no kept schema has.
    """
    header = data[:HEADER_BYTES]
    found = written().get(header)
    if found is None:
        if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
            start = data[:16].hex(" ")
            raise MalformedEventError(
                f"the record begins with [{start}], not with the Avro single-object header "
                f"[c3 01 <fingerprint>]: produce StateChange or StateBatch"
            )
        raise UnknownSchemaError(
            f"schema fingerprint {header[2:].hex()} is not known here: upgrade this node, or "
            f"produce with a schema from schemas/avro/history"
        )
    name, writer, reader = found
    return name, _decode(name, data, HEADER_BYTES, writer, reader)


def _decode(name: str, data: bytes, start: int, writer: Any, reader: Any) -> Record:
    source = io.BytesIO(data)
    source.seek(start)
    try:
        record = fastavro.schemaless_reader(source, writer, reader)
    except DECODE_ERRORS as error:
        raise MalformedEventError(
            f"{len(data):,} bytes do not decode as {name}: {type(error).__name__} {error}"
        ) from error
    rest = len(data) - source.tell()
    if rest:
        raise MalformedEventError(f"{rest:,} bytes follow the {name} record")
    if not isinstance(record, dict):
        raise MalformedEventError(f"{name} decoded to {type(record).__name__}, not a record")
    return record
