"""Batches of records to columns of changes, and back to the same bytes.

A value that is one of our events, in any version that has exactly the fields known here, is
taken apart; whatever would not be put together to the same bytes (another schema, Avro blocks cut
otherwise, a number written longer than need be) stays as it is.
"""

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import fastavro
from fastavro.schema import parse_schema, to_parsing_canonical_form

from schemas.registry import DECODE_ERRORS, HEADER_BYTES, written
from transport.hde.typed.integers import varints

_FIELDS: Final = (
    "change_id",
    "entity_id",
    "entity_type",
    "key_space",
    "operation",
    "document",
    "deltas",
    "base_version",
    "hybrid_timestamp",
    "origin_region",
    "trace_id",
)
_DELTA_FIELDS: Final = ("path", "operation", "value")
_VALUE_TYPES: Final = ["null", "long", "double", "bytes", "boolean"]
NULL, LONG, DOUBLE, STRING, BOOLEAN, JSON = range(6)
BRANCH_COUNT: Final = 6
_BRANCHES: Final = {type(None): 0, int: 1, float: 2, bytes: 3, bool: 4, dict: 5}
_DOUBLE: Final = struct.Struct("<d")
_LENGTHS: Final = varints(range(4_096))
_SMALL: Final = varints(range(-64, 4_096))
_KIND_STARTS: Final = [
    b"".join(varints(divmod(kind, BRANCH_COUNT))) for kind in range(64 * BRANCH_COUNT)
]

Value = int | float | bytes | bool | None


@dataclass(slots=True)
class Changes:
    """Changes as columns; of the deltas all in one, with their counts.

    A delta's kind is its operation * 6 + the branch of its value.
    """

    change_id: list[bytes] = field(default_factory=list)
    entity_id: list[bytes] = field(default_factory=list)
    entity_type: list[bytes] = field(default_factory=list)
    key_space: list[bytes] = field(default_factory=list)
    operation: list[int] = field(default_factory=list)
    document: list[bytes | None] = field(default_factory=list)
    base_version: list[int | None] = field(default_factory=list)
    hybrid_timestamp: list[int | None] = field(default_factory=list)
    origin_region: list[bytes] = field(default_factory=list)
    trace_id: list[bytes | None] = field(default_factory=list)
    delta_counts: list[int] = field(default_factory=list)
    paths: list[bytes] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


def wire_schema(parsed: Any) -> Any:
    """Return a schema of the same bytes that reads as plainly as can be.

    Texts read as bytes, enums as integers: nothing is interpreted that would have to be undone.
    """
    return parse_schema(_wire(json.loads(to_parsing_canonical_form(parsed))))


def _wire(form: Any) -> Any:
    if isinstance(form, str):
        return "bytes" if form == "string" else form
    if isinstance(form, list):
        return [_wire(branch) for branch in form]
    kind = form["type"]
    if kind == "enum":
        return "int"
    if kind == "record":
        fields = [{"name": f["name"], "type": _wire(f["type"])} for f in form["fields"]]
        return {"type": "record", "name": form["name"], "fields": fields}
    if kind == "array":
        return {"type": "array", "items": _wire(form["items"])}
    return form


@cache
def layouts() -> dict[bytes, tuple[bool, Any]]:
    """Map the header of each known event to (is a batch, its wire schema)."""
    found: dict[bytes, tuple[bool, Any]] = {}
    for header, (name, writer, _) in written().items():
        if name not in {"StateChange", "StateBatch"}:
            continue
        form = _wire(json.loads(to_parsing_canonical_form(writer)))
        change = form["fields"][1]["type"]["items"] if name == "StateBatch" else form
        if _is_known(change):
            found[header] = (name == "StateBatch", parse_schema(form))
    return found


def _is_known(change: Any) -> bool:
    fields = {one["name"]: one["type"] for one in change["fields"]}
    if tuple(fields) != _FIELDS:
        return False
    delta = {one["name"]: one["type"] for one in fields["deltas"]["items"]["fields"]}
    return tuple(delta) == _DELTA_FIELDS and delta["value"][:-1] == _VALUE_TYPES


def read_event(value: bytes) -> tuple[bytes, bytes | None, list[dict[str, Any]]] | None:
    """Take an event apart.

    Returns:
        Its header, its producer if it is a batch, and its changes; None if it is not ours.
    """
    layout = layouts().get(value[:HEADER_BYTES])
    if layout is None:
        return None
    is_batch, wire = layout
    source = io.BytesIO(value)
    source.seek(HEADER_BYTES)
    try:
        record: Any = fastavro.schemaless_reader(source, wire)
    except DECODE_ERRORS:
        return None
    if source.tell() != len(value):
        return None
    if is_batch:
        return value[:HEADER_BYTES], record["producer"], record["changes"]
    return value[:HEADER_BYTES], None, [record]


def to_columns(rows: Sequence[dict[str, Any]]) -> Changes:
    """Turn changes as `read_event` gives them into columns."""
    deltas = [delta for row in rows for delta in row["deltas"]]
    values = [delta["value"] for delta in deltas]
    return Changes(
        change_id=[row["change_id"] for row in rows],
        entity_id=[row["entity_id"] for row in rows],
        entity_type=[row["entity_type"] for row in rows],
        key_space=[row["key_space"] for row in rows],
        operation=[row["operation"] for row in rows],
        document=[row["document"] for row in rows],
        base_version=[row["base_version"] for row in rows],
        hybrid_timestamp=[row["hybrid_timestamp"] for row in rows],
        origin_region=[row["origin_region"] for row in rows],
        trace_id=[row["trace_id"] for row in rows],
        delta_counts=[len(row["deltas"]) for row in rows],
        paths=[delta["path"] for delta in deltas],
        kinds=[
            delta["operation"] * BRANCH_COUNT + _BRANCHES[type(delta["value"])] for delta in deltas
        ],
        values=[value["json"] if type(value) is dict else value for value in values],
    )


def write_changes(changes: Changes) -> list[bytes]:
    """Return the Avro bytes of each change."""
    columns = (
        prefixed(changes.change_id),
        prefixed(changes.entity_id),
        prefixed(changes.entity_type),
        prefixed(changes.key_space),
        longs(changes.operation),
        _optional_texts(changes.document),
        _deltas(changes),
        _optional_longs(changes.base_version),
        _optional_longs(changes.hybrid_timestamp),
        prefixed(changes.origin_region),
        _optional_texts(changes.trace_id),
    )
    return list(map(b"".join, zip(*columns, strict=True)))


def write_event(header: bytes, producer: bytes | None, changes: Sequence[bytes]) -> bytes:
    """Return an event made of the Avro bytes of its changes; one alone without a producer."""
    if producer is None:
        return header + changes[0]
    count = longs([len(changes)])[0]
    end = (count, *changes, b"\0") if changes else (b"\0",)
    return b"".join((header, *prefixed([producer]), *end))


def longs(values: Sequence[int]) -> list[bytes]:
    """Return each number as an Avro long."""
    try:
        if min(values, default=0) >= -64:  # noqa: PLR2004 - what the table begins with
            return [_SMALL[value + 64] for value in values]
    except IndexError:
        pass
    return varints(values)


def prefixed(texts: Sequence[bytes]) -> list[bytes]:
    """Return each text as Avro bytes."""
    try:
        return [_LENGTHS[len(text)] + text for text in texts]
    except IndexError:
        lengths = varints([len(text) for text in texts])
        return [length + text for length, text in zip(lengths, texts, strict=True)]


def _optional_texts(texts: Sequence[bytes | None]) -> list[bytes]:
    full = iter(prefixed([text for text in texts if text is not None]))
    return [b"\0" if text is None else b"\2" + next(full) for text in texts]


def _optional_longs(values: Sequence[int | None]) -> list[bytes]:
    full = iter(varints([value for value in values if value is not None]))
    return [b"\0" if value is None else b"\2" + next(full) for value in values]


def _deltas(changes: Changes) -> list[bytes]:
    if not changes.paths:
        return [b"\0"] * len(changes.change_id)
    starts = _kind_starts(changes.kinds)
    parts = zip(prefixed(changes.paths), starts, _values(changes.values), strict=True)
    cells = list(map(b"".join, parts))
    result, start = [], 0
    counts = longs(changes.delta_counts)
    for count, written_count in zip(changes.delta_counts, counts, strict=True):
        end = start + count
        result.append(b"".join((written_count, *cells[start:end], b"\0")) if count else b"\0")
        start = end
    return result


def _kind_starts(kinds: Sequence[int]) -> list[bytes]:
    """Return operation and branch of each delta."""
    try:
        return [_KIND_STARTS[kind] for kind in kinds]
    except IndexError:
        pairs = [divmod(kind, BRANCH_COUNT) for kind in kinds]
        return [b"".join(longs(pair)) for pair in pairs]


def _values(values: Sequence[Value]) -> list[bytes]:
    """Return the values of all deltas, without their branches."""
    numbers = iter(varints([value for value in values if type(value) is int]))
    texts = iter(prefixed([value for value in values if type(value) is bytes]))
    return [
        next(numbers)
        if (kind := type(value)) is int
        else next(texts)
        if kind is bytes
        else _rare_value(value)
        for value in values
    ]


def _rare_value(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    return _DOUBLE.pack(value) if isinstance(value, float) else b""
