"""Whether a schema reads what an earlier one wrote, and the keeper of the earlier ones.

The promise is BACKWARD_TRANSITIVE: the current schema of an event reads every version that was
ever written to a topic. `incompatibilities` is pure; the rest works on `schemas/avro`.

Source: Avro 1.11 specification, "Schema Resolution" and "Aliases".

Command: `python -m schemas.evolution` checks; with `--keep` it writes the next history file of
every event schema that changed, and refuses those that would not read what stands in topics.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fastavro.schema import load_schema, parse_schema, to_parsing_canonical_form

from schemas.registry import FOLDER

# Only what stands in topics: messages of the link live as long as a connection.
EVENTS: Final = (
    "StateChange",
    "StateBatch",
    "DeadLetter",
    "Baseline",
    "Dictionary",
    "DocumentWanted",
    "SnapshotBucket",
    "SnapshotManifest",
    "LinkSample",
)
REMEDY: Final = "python -m schemas.evolution --keep"

# Reader's type: what a writer may have written instead.
_PROMOTED: Final[Mapping[str, frozenset[str]]] = {
    "long": frozenset({"int"}),
    "float": frozenset({"int", "long"}),
    "double": frozenset({"int", "long", "float"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
_NAMED: Final = frozenset({"record", "enum", "fixed"})


def incompatibilities(reader: Any, writer: Any) -> list[str]:
    """Say why `reader` cannot read all that `writer` may have written.

    Args:
        reader: The newer schema, as JSON values; named types it refers to are inside.
        writer: The earlier schema, likewise.

    Returns:
        One sentence for each broken rule, `path: rule: detail`; empty when there is none.

    Example:
        >>> incompatibilities("int", "long")
        ['(root): promotion: a reader of int cannot read long']
    """
    return _Check(reader, writer).run()


class _Check:
    """One comparison: the names of both sides, and what was found so far."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader_names: dict[str, Any] = {}
        self._writer_names: dict[str, Any] = {}
        self._reader = parse_schema(reader, self._reader_names)
        self._writer = parse_schema(writer, self._writer_names)
        self._seen: set[tuple[str, str]] = set()
        self._found: list[str] = []

    def run(self) -> list[str]:
        reader = _resolved(self._reader, self._reader_names)
        root = _short(reader["name"]) if _kind(reader) in _NAMED else "(root)"
        self._compare(root, reader, self._writer)
        return list(dict.fromkeys(self._found))

    def _break(self, path: str, rule: str, detail: str) -> None:
        self._found.append(f"{path}: {rule}: {detail}")

    def _compare(self, path: str, reader: Any, writer: Any) -> None:
        reader = _resolved(reader, self._reader_names)
        writer = _resolved(writer, self._writer_names)
        if isinstance(writer, list):  # any branch may have been written
            for branch in writer:
                self._compare(path, reader, branch)
        elif isinstance(reader, list):
            self._compare_union(path, reader, writer)
        elif _kind(reader) != _kind(writer):
            self._compare_promotion(path, _kind(reader), _kind(writer))
        else:
            self._compare_alike(path, reader, writer)

    def _compare_union(self, path: str, reader: list[Any], writer: Any) -> None:
        branches = [_resolved(branch, self._reader_names) for branch in reader]
        chosen = next((branch for branch in branches if _matches(branch, writer)), None)
        if chosen is None:
            names = ", ".join(_title(branch) for branch in branches)
            self._break(path, "union", f"no branch of [{names}] reads {_title(writer)}")
        else:
            self._compare(path, chosen, writer)

    def _compare_promotion(self, path: str, reader: str, writer: str) -> None:
        if writer not in _PROMOTED.get(reader, ()):
            self._break(path, "promotion", f"a reader of {reader} cannot read {writer}")

    def _compare_alike(self, path: str, reader: Any, writer: Any) -> None:
        kind = _kind(reader)
        if kind in _NAMED and not _is_same_name(reader, writer):
            self._break(path, "name", f"{writer['name']} is neither name nor alias of the reader")
        elif kind == "record":
            self._compare_record(path, reader, writer)
        elif kind == "enum":
            gone = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if gone and "default" not in reader:
                self._break(path, "enum", f"{', '.join(gone)} removed, and there is no default")
        elif kind == "fixed" and reader["size"] != writer["size"]:
            sizes = f"{reader['size']} bytes cannot hold {writer['size']}"
            self._break(path, "fixed", sizes)
        elif kind == "array":
            self._compare(f"{path}[]", reader["items"], writer["items"])
        elif kind == "map":
            self._compare(f"{path}{{}}", reader["values"], writer["values"])

    def _compare_record(self, path: str, reader: Any, writer: Any) -> None:
        pair = (reader["name"], writer["name"])
        if pair in self._seen:  # a type that holds itself
            return
        self._seen.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = (field["name"], *field.get("aliases", ()))
            found = next((written[name] for name in names if name in written), None)
            below = f"{path}.{field['name']}"
            if found is not None:
                self._compare(below, field["type"], found["type"])
            elif "default" not in field:
                self._break(below, "default", "the writer has no such field, give it a default")


def _resolved(schema: Any, names: Mapping[str, Any]) -> Any:
    """Follow names and needless nesting to a union, a primitive's name or a full definition."""
    while True:
        if isinstance(schema, str) and schema in names:
            schema = names[schema]
        elif isinstance(schema, dict) and not isinstance(schema["type"], str):
            schema = schema["type"]
        elif isinstance(schema, dict) and schema["type"] in names:
            schema = names[schema["type"]]
        else:
            return schema


def _kind(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _title(schema: Any) -> str:
    return str(schema["name"]) if _kind(schema) in _NAMED else _kind(schema)


def _is_same_name(reader: Any, writer: Any) -> bool:
    ours, theirs = reader["name"], writer["name"]
    aliases = reader.get("aliases", ())
    return _short(ours) == _short(theirs) or theirs in aliases or _short(theirs) in aliases


def _matches(reader: Any, writer: Any) -> bool:
    """Tell whether a reader's branch is the one for a writer's type."""
    kind = _kind(reader)
    if kind != _kind(writer):
        return _kind(writer) in _PROMOTED.get(kind, ())
    return kind not in _NAMED or _is_same_name(reader, writer)


def kept_versions(name: str, folder: Path = FOLDER) -> list[Any]:
    """Return every kept version of an event's schema, the earliest first."""
    found = {}
    for path in (folder / "history").glob(f"{name}.*.avsc"):
        match = re.fullmatch(rf"{name}\.(\d+)\.avsc", path.name)
        if match is not None:
            found[int(match[1])] = json.loads(path.read_text())
    assert sorted(found) == list(range(1, len(found) + 1)), f"{name}: versions {sorted(found)}"
    return [found[version] for version in sorted(found)]


def is_kept(name: str, folder: Path = FOLDER) -> bool:
    """Tell whether the current schema equals the last version kept, in canonical form."""
    versions = kept_versions(name, folder)
    current = to_parsing_canonical_form(_current(name, folder))
    return bool(versions) and to_parsing_canonical_form(parse_schema(versions[-1])) == current


def broken_promises(name: str, folder: Path = FOLDER) -> list[str]:
    """Say which kept versions the current schema does not read, and why."""
    current = _current(name, folder)
    return [
        f"{name}.{version}: {found}"
        for version, writer in enumerate(kept_versions(name, folder), start=1)
        for found in incompatibilities(current, writer)
    ]


def keep(name: str, folder: Path = FOLDER) -> Path:
    """Write the current schema as the next version of its history."""
    path = folder / "history" / f"{name}.{len(kept_versions(name, folder)) + 1}.avsc"
    path.write_text(json.dumps(_plain(_current(name, folder)), indent=2) + "\n")
    return path


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Check, and with `--keep` write what is missing; 0 when all is well, else 1."""
    parser = argparse.ArgumentParser(prog="python -m schemas.evolution", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the next history files")
    is_keeping = parser.parse_args(arguments).keep
    problems = [text for name in EVENTS for text in broken_promises(name, folder)]
    changed = [name for name in EVENTS if not is_kept(name, folder)]
    if is_keeping and not problems:
        for name in changed:
            sys.stdout.write(f"kept {keep(name, folder).name}\n")
        return 0
    problems += [f"{name} changed and is not kept: {REMEDY}" for name in changed]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def _current(name: str, folder: Path) -> Any:
    return load_schema(folder / f"dwcp.{name}.avsc")


def _plain(value: Any) -> Any:
    """Drop fastavro's own marks."""
    if isinstance(value, dict):
        return dict(_plain_items(value))
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _plain_items(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, _plain(item)) for key, item in value.items() if not key.startswith("__"))


if __name__ == "__main__":
    sys.exit(main())
