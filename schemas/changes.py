"""What a state change may be: built by producers, checked by every fold.

The rules depend only on the change, its place and its append time, never on what a region holds
or what its clock says: so all regions accept and refuse exactly the same changes.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NotRequired, TypedDict

import orjson

from schemas.clocks import STAMP_MAX, stamp_wall_ms
from schemas.errors import ClockAheadError, InvalidChangeError, MalformedEventError

ENTITY_ID_BYTES_MAX: Final = 1_024
DRIFT_MS_MAX: Final = 500  # one bad clock must not win last-writer-wins for ever
DEPTH_MAX: Final = 100  # of objects and arrays in each other; Python's JSON gives up below 1,000
_LONG_MAX: Final = (1 << 63) - 1

Scalar = int | float | str | bool | None
Operation = Literal["put", "patch", "delete"]


class JsonValue(TypedDict):
    """A field value that is no scalar."""

    json: str


class FieldDelta(TypedDict):
    """One field set or removed."""

    path: str
    operation: Literal["set", "remove"]
    value: Scalar | JsonValue


class StateChange(TypedDict):
    """One change of one entity, as `avro/dwcp.StateChange.avsc` says it."""

    change_id: str
    entity_id: str
    entity_type: str
    key_space: NotRequired[str]
    operation: Operation
    document: str | None
    deltas: list[FieldDelta]
    base_version: NotRequired[int | None]
    hybrid_timestamp: int | None
    origin_region: str
    trace_id: NotRequired[str | None]


def dump_document(document: Mapping[str, Any]) -> str:
    """Write a document as compact JSON text.

    Raises:
        InvalidChangeError: It holds what JSON cannot (NaN, sets, bytes).
    """
    text = _dump("document", document)
    if not text.startswith("{"):
        raise InvalidChangeError("document", document, "give a JSON object")
    return text


def dump_text(value: object) -> str:
    """Write a JSON value as compact text: one way, so that equal documents are equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _dump(field: str, value: object) -> str:
    try:
        text = dump_text(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidChangeError(field, value, f"give what JSON can hold ({error})") from error
    if is_too_deep(text, value):
        raise InvalidChangeError(field, value, f"nest at most {DEPTH_MAX} objects and arrays")
    return text


def set_field(path: str, value: object) -> FieldDelta:
    """Return the delta that sets `path`, a JSON Pointer, to a JSON value.

    Raises:
        InvalidChangeError: The path is no pointer to a member, or the value is not JSON.
    """
    check_path(path)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidChangeError(path, value, "JSON has no such number: give a finite one")
    is_scalar = value is None or isinstance(value, (bool, float, str))
    if isinstance(value, str):
        _dump(path, value)
    if is_scalar or (isinstance(value, int) and -_LONG_MAX <= value <= _LONG_MAX):
        return {"path": path, "operation": "set", "value": value}  # type: ignore[typeddict-item] # narrowed above
    return {"path": path, "operation": "set", "value": {"json": _dump(path, value)}}


def remove_field(path: str) -> FieldDelta:
    """Return the delta that removes the field at `path`, a JSON Pointer."""
    check_path(path)
    return {"path": path, "operation": "remove", "value": None}


def check_path(path: object) -> None:
    """Raise InvalidChangeError unless `path` is a JSON Pointer to a member."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidChangeError("path", path, "give a JSON Pointer such as /status/phase")
    if path.count("/") > DEPTH_MAX:
        raise InvalidChangeError("path", path, f"nest at most {DEPTH_MAX} objects")
    check_text("path", path)


def check_text(field: str, text: object) -> int:
    """Return the size of a text in UTF-8, bytes.

    Raises:
        InvalidChangeError: It is no text, or has half a surrogate pair, which JSON lets in.
    """
    if not isinstance(text, str):
        raise InvalidChangeError(field, text, "give a string")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidChangeError(field, text, "give valid Unicode") from error


def check_entity_id(entity_id: object) -> None:
    """Raise InvalidChangeError unless `entity_id` can name an entity."""
    if not 0 < check_text("entity", entity_id) <= ENTITY_ID_BYTES_MAX:
        raise InvalidChangeError("entity", entity_id, "give 1 to 1,024 bytes of UTF-8")


def check_change(change: StateChange, record_time_ms: int) -> int:
    """Check a change read from a log and return its hybrid timestamp.

    Args:
        change: As decoded by the registry.
        record_time_ms: When its origin's Kafka appended it, Unix milliseconds.

    Raises:
        MalformedEventError: It breaks a rule of its schema's documentation.
        ClockAheadError: Its producer's clock was more than 500 ms ahead of the broker's.
    """
    if not 0 < len(change["entity_id"].encode()) <= ENTITY_ID_BYTES_MAX:
        raise MalformedEventError("entity_id: give 1 to 1,024 bytes of UTF-8")
    _check_content(change)
    stamp = change["hybrid_timestamp"]
    if stamp is None:
        return record_time_ms << 16
    if not 0 <= stamp <= STAMP_MAX:
        raise MalformedEventError(f"hybrid_timestamp = {stamp}: give milliseconds << 16 | count")
    ahead_ms = stamp_wall_ms(stamp) - record_time_ms
    if ahead_ms > DRIFT_MS_MAX:
        raise ClockAheadError(
            f"hybrid_timestamp is {ahead_ms:,} ms ahead of the append time, {DRIFT_MS_MAX} ms are "
            f"allowed: set the producer's clock right and send the change again"
        )
    return stamp


def _check_content(change: StateChange) -> None:
    operation, document, deltas = change["operation"], change["document"], change["deltas"]
    if operation == "patch":
        if not deltas or document is not None:
            raise MalformedEventError("patch: give at least one delta and no document")
        for delta in deltas:
            _check_delta(delta)
        return
    if deltas:
        raise MalformedEventError(f"{operation}: give no deltas")
    if change.get("base_version") not in (None, change["hybrid_timestamp"]):
        raise MalformedEventError(f"{operation}: base_version is its own stamp, or null")
    if operation == "delete":
        if document is not None:
            raise MalformedEventError("delete: give no document")
    elif document is None or not _is_json(document, dict):
        raise MalformedEventError(
            f"put: document has to be a JSON object as text, at most {DEPTH_MAX} levels deep"
        )


def _check_delta(delta: FieldDelta) -> None:
    path, value = delta["path"], delta["value"]
    if not path.startswith("/"):
        raise MalformedEventError(f"path = {path[:100]!r}: give a JSON Pointer such as /status")
    if path.count("/") > DEPTH_MAX:
        raise MalformedEventError(f"path = {path[:100]!r}...: nest at most {DEPTH_MAX} objects")
    if isinstance(value, float) and not math.isfinite(value):
        raise MalformedEventError(f"{path} = {value}: JSON has no such number")
    if isinstance(value, dict) and not _is_json(value["json"], object):
        raise MalformedEventError(
            f"{path}: the value has to be JSON text, at most {DEPTH_MAX} levels deep"
        )
    if delta["operation"] == "remove" and value is not None:
        raise MalformedEventError(f"{path}: a removed field has no value")


def _is_json(text: str, kind: type) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, kind) and not is_too_deep(text, value)


def is_too_deep(text: str, value: object) -> bool:
    """Tell whether a JSON value, written as `text`, is nested too deep for readers."""
    if text.count("{") + text.count("[") <= DEPTH_MAX:
        return False
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(parent: Any) -> list[Any]:
    children = parent.values() if isinstance(parent, dict) else parent
    return [child for child in children if isinstance(child, (dict, list, tuple))]
