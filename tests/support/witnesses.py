"""Values that show all a schema may write: every branch, symbol and field occurs in one."""

from collections.abc import Iterator
from typing import Any

Json = Any


PLAIN = {
    "null": None,
    "boolean": True,
    "int": 7,
    "long": 7,
    "float": 0.5,
    "double": 0.5,
    "string": "x",
    "bytes": b"x",
}


def witnesses(schema: Json, *, depth: int = 4) -> Iterator[Json]:
    """Yield the values of a schema as fastavro parsed it; the first field's first value first.

    A value of a union is a pair (branch, value), as fastavro's writer takes it.

    Args:
        schema: Parsed; a type that holds itself is followed.
        depth: How often a name is followed.
    """
    names: dict[str, Json] = {}
    _collect(schema, names)
    return _values(schema, names, depth)


def _collect(schema: Json, names: dict[str, Json]) -> None:
    """Gather the named types of a parsed schema."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, names)
    elif isinstance(schema, dict):
        if "name" in schema:
            names[schema["name"]] = schema
        for below in (schema.get("items"), schema.get("values")):
            _collect(below, names)
        for one in schema.get("fields", ()):
            _collect(one["type"], names)


def _values(schema: Json, names: dict[str, Json], depth: int) -> Iterator[Json]:
    if isinstance(schema, list):
        for branch in schema:
            name = branch.get("name", branch["type"]) if isinstance(branch, dict) else branch
            name = names[name]["name"] if name in names else name
            yield from ((name, value) for value in _values(branch, names, depth))
    elif not isinstance(schema, str):
        yield from _definition_values(schema, names, depth)
    elif schema in PLAIN:
        yield PLAIN[schema]
    elif depth:
        yield from _values(names[schema], names, depth - 1)


def _definition_values(schema: Json, names: dict[str, Json], depth: int) -> Iterator[Json]:
    kind = schema["type"]
    if kind == "enum":
        yield from schema["symbols"]
    elif kind == "fixed":
        yield bytes(schema["size"])
    elif kind == "array":
        yield from ([value] for value in _values(schema["items"], names, depth))
    elif kind == "map":
        yield from ({"k": value} for value in _values(schema["values"], names, depth))
    elif kind == "record":
        yield from _record_values(schema, names, depth)
    else:
        yield from _values(kind, names, depth)


def _record_values(schema: Json, names: dict[str, Json], depth: int) -> Iterator[Json]:
    """Vary one field at a time, the others as they come first."""
    each = {f["name"]: list(_values(f["type"], names, depth)) for f in schema["fields"]}
    if any(not values for values in each.values()):
        return  # deeper than asked for
    first = {name: values[0] for name, values in each.items()}
    yield first
    for name, values in each.items():
        yield from (first | {name: value} for value in values[1:])
