"""Records and changes that every region has to refuse, each with the reason it has to give."""

import math
from random import Random
from typing import Any, Final

from schemas.changes import FieldDelta, StateChange
from schemas.partitioning import partition_of
from schemas.registry import encode_bare, encode_event

_LETTER: Final = encode_event(
    "DeadLetter",
    {
        "reason": "",
        "detail": "",
        "region": "",
        "origin_region": "",
        "topic": "",
        "partition": 0,
        "offset": 0,
        "change_index": -1,
        "record_time_ms": 0,
        "key": None,
        "value": None,
        "value_bytes": 0,
        "headers": [],
    },
)


def bad_record(dice: Random, good: bytes) -> tuple[bytes | None, str]:
    """Draw a value that is no event for the state topic; `good` is one that is."""
    return dice.choice(
        (
            (None, "WrongEventType"),
            (_LETTER, "WrongEventType"),
            (b"", "MalformedEvent"),
            (b"hello", "MalformedEvent"),
            (good[:-1], "MalformedEvent"),
            (good + b"\0", "MalformedEvent"),
            (good[:10], "MalformedEvent"),
            (b"\xc3\x01" + bytes(8) + good[10:], "UnknownSchema"),
            (encode_bare("Goodbye", {"text": "x"}), "MalformedEvent"),
        )
    )


def bad_change(dice: Random, change: StateChange, partition_count: int) -> tuple[StateChange, str]:
    """Draw a change that decodes and still has to be refused, from a good one."""
    put: Any = {"operation": "put", "deltas": [], "document": "{}"}
    patch: Any = {"operation": "patch", "document": None}
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"entity_id": ""}, "MalformedEvent"),
        ({"entity_id": "é" * 513}, "MalformedEvent"),
        ({"hybrid_timestamp": -1}, "MalformedEvent"),
        ({"origin_region": "elsewhere"}, "WrongRegion"),
        (put | {"document": None}, "MalformedEvent"),
        (put | {"document": "[]"}, "MalformedEvent"),
        (put | {"document": '{"a": NaN}'}, "MalformedEvent"),
        (put | {"deltas": [_set("/a", 1)]}, "MalformedEvent"),
        (put | {"operation": "delete"}, "MalformedEvent"),
        (patch | {"deltas": []}, "MalformedEvent"),
        (patch | {"deltas": [_set("/a", 1)], "document": "{}"}, "MalformedEvent"),
        (patch | {"deltas": [_set("/a", 1), _set("b", 1)]}, "MalformedEvent"),
        (patch | {"deltas": [_set("/a", math.nan)]}, "MalformedEvent"),
        (patch | {"deltas": [_set("/a", {"json": "{"})]}, "MalformedEvent"),
    ]
    foreign = _foreign_entity(change["entity_id"], partition_count)
    if foreign is not None:
        kinds.append(({"entity_id": foreign}, "WrongPartition"))
    fault, reason = dice.choice(kinds)
    # A stamp too far ahead would be refused for another reason.
    calm: Any = dict(change) | {"hybrid_timestamp": None} | fault
    return calm, reason


def _set(path: str, value: Any) -> FieldDelta:
    return {"path": path, "operation": "set", "value": value}


def _foreign_entity(entity: str, partition_count: int) -> str | None:
    """Return a name of another partition; nobody else ever writes about it."""
    own = partition_of(entity, partition_count)
    names = (f"foreign-{i}" for i in range(50))
    return next((name for name in names if partition_of(name, partition_count) != own), None)
