"""Batches of records to columns of changes, and back to the same bytes.

A value that is one of our events, in any version that has exactly the fields known here, is
taken apart; whatever would not be put together to the same bytes (another schema, Avro blocks cut
otherwise, a number written longer than need be) stays as it is.
"""

import io
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

import fastavro
from fastavro.schema import parse_schema, to_parsing_canonical_form

from schemas.registry import DECODE_ERRORS, HEADER_BYTES, written
from transport.hde.typed.avro import longs, prefixed
from transport.hde.typed.deltas import (
    BOOLEAN,
    BRANCH_COUNT,
    DOUBLE,
    JSON,
    LONG,
    NO_DELTAS,
    NULL,
    STRING,
    DeltaShape,
    delta_shape,
)
from transport.hde.typed.integers import read_varints, varints

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
_BRANCHES: Final = {
    type(None): NULL,
    int: LONG,
    float: DOUBLE,
    bytes: STRING,
    bool: BOOLEAN,
    dict: JSON,
}
_COUNT: Final = re.compile(rb"[\x80-\xff]{0,4}[\x00-\x7f]")
_SHORT_MAX: Final = 0x7E  # the length of a text of up to 63 bytes, as Avro writes it
_DOUBLE: Final = struct.Struct("<d")
_FLAGS: Final = {None: b"", False: b"\0", True: b"\1"}


@dataclass(slots=True)
class Changes:
    """Changes as columns; those of the deltas' values have one entry for each such delta."""

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
    shapes: list[DeltaShape] = field(default_factory=list)
    longs: list[int] = field(default_factory=list)
    doubles: list[float] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    flags: list[bool | None] = field(default_factory=list)

    def extend(self, other: "Changes") -> None:
        """Add the rows of other columns."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(other, name))


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


class Head(NamedTuple):
    """What stands before the changes of a batch: `row_count` of them begin at `start`."""

    writer: bytes
    producer: bytes
    row_count: int
    start: int


def read_head(value: bytes) -> Head | None:
    """Read the head of a batch that is written as usual; None for anything else."""
    layout = layouts().get(value[:HEADER_BYTES])
    if layout is None or not layout[0] or len(value) <= HEADER_BYTES:
        return None
    double_length = value[HEADER_BYTES]
    if double_length > _SHORT_MAX or double_length % 2:
        return None
    end = HEADER_BYTES + 1 + double_length // 2
    match = _COUNT.match(value, end)
    if match is None:
        return None
    row_count = read_varints(match[0])[0]
    if row_count <= 0 or longs([row_count])[0] != match[0]:
        return None
    return Head(value[:HEADER_BYTES], value[HEADER_BYTES + 1 : end], row_count, match.end())


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
    values = [delta["value"] for row in rows for delta in row["deltas"]]
    texts = [value["json"] if type(value) is dict else value for value in values]
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
        shapes=[_shape(row["deltas"]) for row in rows],
        longs=[value for value in values if type(value) is int],
        doubles=[value for value in values if type(value) is float],
        texts=[text for text in texts if type(text) is bytes],
        flags=[value for value in values if value is None or type(value) is bool],
    )


def _shape(deltas: Sequence[dict[str, Any]]) -> DeltaShape:
    if not deltas:
        return NO_DELTAS
    return delta_shape(
        tuple([delta["path"] for delta in deltas]),
        tuple(
            [
                delta["operation"] * BRANCH_COUNT + _BRANCHES[type(delta["value"])]
                for delta in deltas
            ]
        ),
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


def _optional_texts(texts: Sequence[bytes | None]) -> list[bytes]:
    full = iter(prefixed([text for text in texts if text is not None]))
    return [b"\0" if text is None else b"\2" + next(full) for text in texts]


def _optional_longs(values: Sequence[int | None]) -> list[bytes]:
    full = iter(varints([value for value in values if value is not None]))
    return [b"\0" if value is None else b"\2" + next(full) for value in values]


def _deltas(changes: Changes) -> list[bytes]:
    columns = (
        varints(changes.longs),
        [_DOUBLE.pack(value) for value in changes.doubles],
        prefixed(changes.texts),
        [_FLAGS[value] for value in changes.flags],
    )
    result, starts = [], [0] * len(columns)
    for shape in changes.shapes:
        if not shape.kinds:
            result.append(b"\0")
            continue
        values: list[bytes] = []
        for at, group in enumerate(shape.groups):
            if group:
                start = starts[at]
                starts[at] = end = start + len(group)
                values += columns[at][start:end]
        result.append(shape.write(values))
    return result
