"""Documents and the deltas between them. Pure.

A *chained patch* names the version that it was made against, of the same producer and the same log:
it stands for a whole document that travels as deltas. Readers see what a put would have shown them.
A patch without such a base sets fields, each a register of its own.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any, Final

from schemas.changes import (
    FieldDelta,
    JsonValue,
    Scalar,
    dump_text,
    is_too_deep,
    remove_field,
    set_field,
)
from schemas.errors import MalformedEventError

DOCUMENT_BYTES_MAX: Final = 8 << 20  # what a link carries at most


@functools.lru_cache(maxsize=4_096)
def segments(path: str) -> tuple[str, ...]:
    """Split a JSON Pointer (RFC 6901, section 4)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])


def pointer(parts: Sequence[str]) -> str:
    """Join members to a JSON Pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def lay(
    document: dict[str, Any], path: str, value: Scalar | JsonValue, *, is_removed: bool
) -> None:
    """Set or remove one member; what stands in the way and is no object is replaced by one."""
    *parents, last = segments(path)
    parent = document
    for segment in parents:
        child = parent.get(segment)
        if not isinstance(child, dict):
            if is_removed:
                return
            child = parent[segment] = {}
        parent = child
    if is_removed:
        parent.pop(last, None)
    elif isinstance(value, dict):
        parent[last] = json.loads(value["json"])
    else:
        parent[last] = value


def lay_all(document: dict[str, Any], deltas: Sequence[FieldDelta]) -> None:
    """Lay a patch over a document, in the order of its paths."""
    for delta in sorted(deltas, key=lambda one: one["path"]):
        is_removed = delta["operation"] == "remove"
        lay(document, delta["path"], delta["value"], is_removed=is_removed)


def patched_text(base: str, deltas: Sequence[FieldDelta]) -> str:
    """Return the document that a chained patch stands for.

    Args:
        base: Its base, JSON text of an object.
        deltas: Checked deltas.

    Raises:
        MalformedEventError: The document would be too large or nested too deep.
    """
    document = json.loads(base)
    lay_all(document, deltas)
    text = dump_text(document)
    if len(text.encode()) > DOCUMENT_BYTES_MAX:
        raise MalformedEventError(
            f"patch: the document would have more than {DOCUMENT_BYTES_MAX:,} bytes: split it"
        )
    if is_too_deep(text, document):
        raise MalformedEventError("patch: the document would be nested too deep")
    return text


def diff_texts(base: str, text: str) -> list[FieldDelta] | None:
    """Return deltas that turn one document into another, byte for byte.

    Args:
        base: JSON text of an object, as `dump_document` writes it.
        text: The same of the wanted one.

    Returns:
        None where deltas cannot say it: equal documents, or another order of members.
    """
    old, new = json.loads(base), json.loads(text)
    deltas = _differences((), old, new)
    lay_all(old, deltas)
    return deltas if deltas and dump_text(old) == text else None


def _differences(
    way: tuple[str, ...], old: dict[str, Any], new: dict[str, Any]
) -> list[FieldDelta]:
    deltas = [remove_field(pointer((*way, name))) for name in old if name not in new]
    for name, value in new.items():
        path = (*way, name)
        before = old.get(name)
        if name in old and isinstance(value, dict) and isinstance(before, dict):
            deltas += _differences(path, before, value)
        elif name not in old or not _is_same(before, value):
            deltas.append(set_field(pointer(path), value))
    return deltas


def _is_same(one: object, other: object) -> bool:
    """Tell whether two values are written alike: 1, 1.0 and true are not."""
    if type(one) is not type(other):
        return False
    return dump_text(one) == dump_text(other) if isinstance(one, (list, float)) else one == other
