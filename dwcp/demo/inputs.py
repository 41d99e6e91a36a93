"""What the demo replays: entity documents from JSON lines, and how they spread over regions.

One line is one change of one entity::

    {"time_ms": 1767225600000, "entity": "vm-17", "type": "vm", "document": {...}}

`document` is null for a delete. `region` (optional, also null) names the region that writes the
change; without it `spread` chooses. Other keys are ignored, blank lines are skipped, order is
kept whatever `time_ms` says.
"""

import gzip
import json
import math
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import xxhash

from schemas.errors import ConfigError, InvalidChangeError

ENTITY_BYTES_MAX = 1024
AWAY_EVERY = 10  # each tenth change of an entity is written in the region after its home

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class EntityDocument:
    """One change of one entity, as read from a line or made by the generator.

    A change with a `document` replaces the entity, one with a `patch` sets some of its fields,
    one with neither deletes it.
    """

    time_ms: int
    """When it was made, milliseconds since 1970, as its source says; may be out of order."""
    entity: str
    """The entity's id: 1 to 1,024 bytes of UTF-8."""
    entity_type: str
    """What the entity is, for example `vm`."""
    document: dict[str, Any] | None
    """The whole document after the change."""
    region: str | None
    """Where the change is written; None leaves it to `spread`."""
    patch: dict[str, Any] | None = None
    """JSON pointer (RFC 6901) to new value; only the generator makes patches."""


def read_jsonl(source: str | os.PathLike[str] | Iterable[str]) -> Iterator[EntityDocument]:
    """Read changes line by line, in the order of the source, holding one line at a time.

    Args:
        source: A path (decompressed when it ends in `.gz`), `-` for standard input, or lines.

    Yields:
        One change a line.

    Raises:
        ConfigError: The path cannot be read.
        InvalidChangeError: A line is no change; says which line, which field and the remedy.
    """
    for line_number, line in enumerate(_lines_of(source), 1):
        if line and not line.isspace():
            yield _change_of(_text(line, line_number), line_number)


def spread(
    items: Iterable[EntityDocument], region_names: Sequence[str]
) -> Iterator[tuple[str, EntityDocument]]:
    """Say for each change which region writes it.

    A change that names its region is written there. Any other is written in its entity's home,
    region number xxh3-64(entity id in UTF-8) modulo the count of regions; but the tenth,
    twentieth, ... change of an entity goes to the region after its home, so that regions do
    write the same entities. The rule depends on nothing but the input, so runs repeat. It keeps
    one counter an entity in memory.

    Args:
        items: Changes in the order they are to be written.
        region_names: Names of the regions, in a fixed order.

    Yields:
        The region's name and the change.

    Raises:
        ConfigError: No region was given.
        InvalidChangeError: A change names a region that is not among them.
    """
    names = tuple(region_names)
    if not names:
        raise ConfigError("region_names", names, "give at least one region")
    change_counts: dict[str, int] = {}
    for item in items:
        count = change_counts.get(item.entity, 0) + 1
        change_counts[item.entity] = count
        if item.region is None:
            home = xxhash.xxh3_64_intdigest(item.entity.encode())
            is_away = count % AWAY_EVERY == 0
            yield names[(home + is_away) % len(names)], item
        elif item.region in names:
            yield item.region, item
        else:
            remedy = f"name one of {', '.join(names)}, or leave the field out"
            raise InvalidChangeError("region", item.region, remedy)


def _lines_of(source: str | os.PathLike[str] | Iterable[str]) -> Iterator[str | bytes]:
    if isinstance(source, str | os.PathLike):
        yield from _file_lines(os.fspath(source))
    else:
        yield from source


def _file_lines(path: str) -> Iterator[bytes]:
    if path == "-":
        yield from sys.stdin.buffer
        return
    line_number = 0
    try:
        with _open(path) as stream:
            for line_number, line in enumerate(stream, 1):  # noqa: B007 - read in the handlers
                yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        remedy = f"line {line_number + 1}: the gzip stream breaks off here ({error}); copy it again"
        raise InvalidChangeError("input", path, remedy) from error
    except OSError as error:
        remedy = f"give a file that can be read ({error.strerror or error})"
        raise ConfigError("input", path, remedy) from error


def _open(path: str) -> BinaryIO:
    # Bytes, not text: lines end at \n only, and a wrong encoding is found with its line number.
    return cast("BinaryIO", gzip.open(path) if path.endswith(".gz") else Path(path).open("rb"))


def _text(line: str | bytes, line_number: int) -> str:
    try:
        if isinstance(line, bytes):
            return line.decode("utf-8-sig" if line_number == 1 else "utf-8")
        if not line.isascii():
            line.encode()  # half a surrogate pair is no character: it has no UTF-8
    except UnicodeError as error:
        _refuse("line", line, line_number, f"not UTF-8 ({error}); convert it")
    return line


def _change_of(line: str, line_number: int) -> EntityDocument:
    fields = _object_of(line, line_number)
    for name in ("time_ms", "entity", "type", "document"):
        if name not in fields:
            _refuse(name, None, line_number, "the field is missing; add it")
    time_ms, region = fields["time_ms"], fields.get("region")
    if type(time_ms) is not int:  # a bool is an int too, and no time
        _refuse("time_ms", time_ms, line_number, "give an integer, milliseconds since 1970")
    for name in ("entity", "type"):
        if not isinstance(fields[name], str) or not fields[name]:
            _refuse(name, fields[name], line_number, "give a text of at least one character")
    if len(fields["entity"].encode()) > ENTITY_BYTES_MAX:
        remedy = f"shorten it to at most {ENTITY_BYTES_MAX:,} bytes of UTF-8"
        _refuse("entity", fields["entity"], line_number, remedy)
    document = fields["document"]
    if document is not None and not isinstance(document, dict):
        _refuse("document", document, line_number, "give an object, or null for a delete")
    if region is not None and (not isinstance(region, str) or not region):
        _refuse("region", region, line_number, "give a region's name, or leave the field out")
    return EntityDocument(time_ms, fields["entity"], fields["type"], document, region)


def _object_of(line: str, line_number: int) -> dict[str, Any]:
    try:
        fields = _DECODER.decode(line)
        if _SURROGATE.search(line):
            json.dumps(fields, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        remedy = f"not JSON at character {error.pos + 1} ({error.msg}); one object a line"
        _refuse("line", line, line_number, remedy)
    except UnicodeEncodeError:
        _refuse("line", line, line_number, "half a surrogate pair (\\ud800 to \\udfff); mend it")
    except _NumberError as error:
        _refuse("number", error.args[0], line_number, "JSON has finite numbers only; use null")
    except (ValueError, RecursionError) as error:  # 5,000 digits, 1,000 levels
        _refuse("line", line, line_number, f"more than we parse ({error}); make it smaller")
    if not isinstance(fields, dict):
        _refuse("line", line, line_number, "give one JSON object a line")
    return fields


class _NumberError(ValueError):
    """A number that is none; its argument is the text."""


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NumberError(text)
    return value


def _no_constant(name: str) -> NoReturn:
    raise _NumberError(name)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


def _refuse(field: str, value: object, line_number: int, remedy: str) -> NoReturn:
    raise InvalidChangeError(field, value, f"line {line_number}: {remedy}")
