"""State changes for tests: short to write, complete."""

from typing import Any

from schemas.changes import FieldDelta, StateChange
from schemas.registry import encode_event

APPENDED_MS = 1_700_000_000_000


def put(entity: str, document: str | None = "{}", **fields: Any) -> StateChange:
    """Return a put."""
    return change(entity, operation="put", document=document, **fields)


def patch(entity: str, *deltas: FieldDelta, **fields: Any) -> StateChange:
    """Return a patch."""
    return change(entity, operation="patch", deltas=list(deltas), **fields)


def delete(entity: str, **fields: Any) -> StateChange:
    """Return a delete."""
    return change(entity, operation="delete", **fields)


def change(entity: str, **fields: Any) -> StateChange:
    """Return a change of region `ams`, stamped with its append time unless a field says else."""
    plain: Any = {
        "change_id": "c-1",
        "entity_id": entity,
        "entity_type": "vm",
        "operation": "delete",
        "document": None,
        "deltas": [],
        "hybrid_timestamp": None,
        "origin_region": "ams",
    }
    made: StateChange = plain | fields
    return made


def event(one: StateChange) -> bytes:
    """Encode a change as a record's value."""
    return encode_event("StateChange", dict(one))


def batch(*changes: StateChange) -> bytes:
    """Encode changes as one record's value."""
    return encode_event("StateBatch", {"producer": "test", "changes": list(changes)})
