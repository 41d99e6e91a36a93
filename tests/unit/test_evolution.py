"""Our compatibility checker, held against what fastavro really reads."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import evolution
from schemas.evolution import broken_promises, incompatibilities, is_kept, kept_versions
from schemas.registry import FOLDER
from tests.support.witnesses import witnesses

Json = Any


def record(*fields: Json, name: str = "R", **more: Json) -> Json:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, type_: Json, **more: Json) -> Json:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, name: str = "E", **more: Json) -> Json:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F") -> Json:
    return {"type": "fixed", "name": name, "size": size}


def array(items: Json) -> Json:
    return {"type": "array", "items": items}


def map_of(values: Json) -> Json:
    return {"type": "map", "values": values}


TREE = record(field("next", ["null", "R"]))
HOUSE = record(field("a", "int"), name="old.House")

COMPATIBLE = {
    "equal": ("long", "long"),
    "int to long": ("long", "int"),
    "int to float": ("float", "int"),
    "int to double": ("double", "int"),
    "long to float": ("float", "long"),
    "long to double": ("double", "long"),
    "float to double": ("double", "float"),
    "string to bytes": ("bytes", "string"),
    "bytes to string": ("string", "bytes"),
    "promotion in an array": (array("long"), array("int")),
    "promotion in a map": (map_of("double"), map_of("float")),
    "field added with a default": (record(field("a", "int", default=1)), record()),
    "field removed": (record(), record(field("a", "int"))),
    "fields in another order": (
        record(field("b", "int"), field("a", "string")),
        record(field("a", "string"), field("b", "int")),
    ),
    "field renamed with an alias": (
        record(field("b", "int", aliases=["a"])),
        record(field("a", "int")),
    ),
    "record renamed with an alias": (
        record(field("a", "int"), name="new.Home", aliases=["old.House"]),
        HOUSE,
    ),
    "another namespace": (record(field("a", "int"), name="new.House"), HOUSE),
    "type becomes a union": (["null", "string"], "string"),
    "promotion into a union": (["null", "double"], "int"),
    "union grows": (["null", "string", "long"], ["null", "string"]),
    "union of one branch": ("string", ["string"]),
    "union of promotable branches": ("double", ["int", "float"]),
    "enum grows": (enum("A", "B"), enum("A")),
    "enum symbol removed, default": (enum("A", default="A"), enum("A", "B")),
    "fixed of equal size": (fixed(4), fixed(4)),
    "recursive record": (record(field("next", ["null", "R"]), field("n", "int", default=0)), TREE),
    "record within a union": (
        ["null", record(field("a", "long"))],
        ["null", record(field("a", "int"))],
    ),
}

INCOMPATIBLE = {
    "long to int": ("int", "long", "(root): promotion"),
    "double to float": ("float", "double", "(root): promotion"),
    "float to long": ("long", "float", "(root): promotion"),
    "string to int": ("int", "string", "(root): promotion"),
    "boolean to int": ("int", "boolean", "(root): promotion"),
    "array to map": (map_of("int"), array("int"), "(root): promotion"),
    "array of another type": (array("int"), array("string"), "(root)[]: promotion"),
    "map of another type": (map_of("int"), map_of("string"), "(root){}: promotion"),
    "field without default": (record(field("a", "int")), record(), "R.a: default"),
    "field changed": (record(field("a", "int")), record(field("a", "string")), "R.a: promotion"),
    "field renamed without alias": (
        record(field("b", "int")),
        record(field("a", "int")),
        "R.b: default",
    ),
    "record renamed without alias": (record(name="New"), record(name="Old"), "New: name"),
    "enum renamed": (enum("A", name="New"), enum("A", name="Old"), "New: name"),
    "fixed renamed": (fixed(4, "New"), fixed(4, "Old"), "New: name"),
    "enum symbol removed": (enum("A"), enum("A", "B"), "E: enum"),
    "fixed size": (fixed(8), fixed(4), "F: fixed"),
    "union shrinks": (["null", "string"], ["null", "string", "long"], "(root): union"),
    "union becomes a type": ("string", ["null", "string"], "(root): promotion"),
    "deep inside": (
        record(field("a", array(["null", record(field("b", map_of(enum("A"))), name="Inner")]))),
        record(
            field("a", array(["null", record(field("b", map_of(enum("A", "B"))), name="Inner")]))
        ),
        "R.a[].b{}: enum",
    ),
    "recursive record": (
        record(field("next", ["null", "R"]), field("n", "int")),
        TREE,
        "R.n: default",
    ),
}


@pytest.mark.parametrize("case", COMPATIBLE)
def test_a_compatible_change_is_accepted_and_read_by_fastavro(case: str) -> None:
    reader, writer = COMPATIBLE[case]

    assert incompatibilities(reader, writer) == []
    assert not unreadable(reader, writer)


@pytest.mark.parametrize("case", INCOMPATIBLE)
def test_an_incompatible_change_is_named_and_not_read_by_fastavro(case: str) -> None:
    reader, writer, expected = INCOMPATIBLE[case]

    (found,) = incompatibilities(reader, writer)

    assert found.startswith(expected)
    assert unreadable(reader, writer)


def test_every_broken_rule_is_reported_once() -> None:
    reader = record(field("a", "int"), field("b", "int"), field("c", "int"))
    writer = record(field("a", ["string", "bytes"]), field("c", "long"))

    assert incompatibilities(reader, writer) == [
        "R.a: promotion: a reader of int cannot read string",
        "R.a: promotion: a reader of int cannot read bytes",
        "R.b: default: the writer has no such field, give it a default",
        "R.c: promotion: a reader of int cannot read long",
    ]


PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")
enums = st.lists(st.sampled_from("ABC"), min_size=1, unique=True).flatmap(
    lambda symbols: st.sampled_from([enum(*symbols), enum(*symbols, default=symbols[0])])
)


def key(branch: Json) -> str:
    return str(branch["type"]) if isinstance(branch, dict) else str(branch)


def containers(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    named = st.lists(st.tuples(st.sampled_from("abc"), inner), unique_by=lambda pair: pair[0])
    branches = st.lists(inner, min_size=1, max_size=3, unique_by=key)
    return st.one_of(
        inner.map(array),
        inner.map(map_of),
        named.map(lambda pairs: record(*(field(name, type_) for name, type_ in pairs))),
        branches.filter(lambda all_: not any(isinstance(one, list) for one in all_)),
    )


types = st.recursive(
    st.one_of(st.sampled_from(PRIMITIVES), enums, st.integers(1, 2).map(fixed)),
    containers,
    max_leaves=5,
)


def evolved(draw: st.DrawFn, schema: Json) -> Json:
    """Return a schema as somebody might change it: often a little, sometimes to another."""
    if draw(st.integers(0, 9)) == 0:
        return draw(types)
    if isinstance(schema, list):
        kept = [evolved(draw, branch) for branch in schema if draw(st.integers(0, 4))]
        flat = [
            one for branch in kept for one in (branch if isinstance(branch, list) else [branch])
        ]
        return list({key(branch): branch for branch in flat}.values()) or "null"
    if isinstance(schema, str):
        return draw(st.sampled_from([schema, schema, ["null", schema], *PRIMITIVES]))
    if schema["type"] in ("array", "map"):
        inner = "items" if schema["type"] == "array" else "values"
        return schema | {inner: evolved(draw, schema[inner])}
    if schema["type"] == "record":
        fields = [f | {"type": evolved(draw, f["type"])} for f in schema["fields"]]
        more = draw(st.sampled_from([[], [], [field("d", "int", default=0)], [field("e", "int")]]))
        return schema | {"fields": fields[draw(st.integers(0, 1)) :] + more}
    return draw(st.one_of(st.just(schema), enums if schema["type"] == "enum" else types))


@st.composite
def changes(draw: st.DrawFn) -> tuple[Json, Json]:
    """A reader and the writer it came from."""
    writer = draw(types)
    return evolved(draw, writer), writer


@settings(max_examples=300, deadline=None)
@given(change=changes())
def test_the_verdict_is_what_fastavro_does(change: tuple[Json, Json]) -> None:
    """Both ways: what we accept is read whole, and of what we refuse something is not read."""
    reader, writer = change
    try:
        fastavro.parse_schema(reader)
        fastavro.parse_schema(writer)
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
        return  # a name was drawn twice

    assert bool(incompatibilities(reader, writer)) == unreadable(reader, writer)


def unreadable(reader: Json, writer: Json) -> bool:
    """Tell whether fastavro fails on any of the values that show all a writer may write."""
    reader, writer = fastavro.parse_schema(reader), fastavro.parse_schema(writer)
    for value in witnesses(writer):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, writer, value)
        out.seek(0)
        try:
            fastavro.schemaless_reader(out, writer, reader)
        except (fastavro.read.SchemaResolutionError, ValueError, KeyError):
            return True
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the schemas, to change at will."""
    return Path(shutil.copytree(FOLDER, tmp_path / "avro"))


def change(folder: Path, name: str, *fields: Json) -> None:
    path = folder / f"dwcp.{name}.avsc"
    schema = json.loads(path.read_text())
    schema["fields"] += fields
    path.write_text(json.dumps(schema))


@pytest.mark.parametrize("name", evolution.EVENTS)
def test_the_current_schema_is_kept(name: str) -> None:
    assert is_kept(name), (
        f"{name} is not what schemas/avro/history/{name}.{len(kept_versions(name))}.avsc says: "
        f"add the next version by `{evolution.REMEDY}`"
    )


@pytest.mark.parametrize("name", evolution.EVENTS)
def test_the_current_schema_reads_every_kept_version(name: str) -> None:
    assert kept_versions(name)
    assert broken_promises(name) == []


def test_keep_writes_nothing_when_nothing_changed(folder: Path) -> None:
    before = sorted((folder / "history").iterdir())

    assert evolution.main([], folder) == 0
    assert evolution.main(["--keep"], folder) == 0
    assert sorted((folder / "history").iterdir()) == before


def test_keep_writes_the_next_version_of_every_event_that_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, "StateChange", field("note", "string", default=""))

    assert evolution.main([], folder) == 1
    complaint = capsys.readouterr().err
    assert "StateChange changed and is not kept: python -m schemas.evolution --keep" in complaint

    assert evolution.main(["--keep"], folder) == 0
    assert capsys.readouterr().out == "kept StateChange.2.avsc\nkept StateBatch.2.avsc\n"
    assert evolution.main([], folder) == 0
    assert len(kept_versions("StateBatch", folder)) == 2


def test_keep_refuses_what_cannot_read_the_topics(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, "SnapshotManifest", field("note", "string"))

    assert evolution.main(["--keep"], folder) == 1
    assert "SnapshotManifest.1: SnapshotManifest.note: default" in capsys.readouterr().err
    assert not (folder / "history" / "SnapshotManifest.2.avsc").exists()
