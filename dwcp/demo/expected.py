"""What all regions have to hold, worked out from what the writers wrote.

A second, plain statement of the rules, sharing no code with `streams.state`: sort an entity's
writes by version and play them one after the other.
"""

import json
from typing import Any

from schemas.changes import StateChange
from schemas.ids import Version

_Write = tuple[Version, StateChange]


class Expected:
    """Acknowledged writes by entity; what a newer whole document covers is dropped at once."""

    def __init__(self) -> None:
        self._writes: dict[str, list[_Write]] = {}
        self._floor: dict[str, Version] = {}

    def note(self, change: StateChange, version: Version) -> None:
        """Take an acknowledged write."""
        entity_id = change["entity_id"]
        floor = self._floor.get(entity_id)
        if floor is not None and version < floor:
            return
        writes = self._writes.setdefault(entity_id, [])
        if change["operation"] != "patch":
            self._floor[entity_id] = version
            writes[:] = [write for write in writes if write[0] > version]
        writes.append((version, change))

    def documents(self) -> dict[str, tuple[str, str]]:
        """Return (type, canonical JSON) of every entity that readers have to see."""
        found = {}
        for entity_id, writes in self._writes.items():
            document = _play(sorted(writes, key=lambda write: write[0]))
            if document is not None:
                newest = max(writes, key=lambda write: write[0])[1]
                found[entity_id] = (newest["entity_type"], canonical(document))
        return found


def canonical(document: Any) -> str:
    """Write JSON so that equal text means equal value, type by type (1 is not 1.0)."""
    return json.dumps(document, sort_keys=True)


def _play(writes: list[_Write]) -> dict[str, Any] | None:
    document: dict[str, Any] = {}
    is_deleted = False
    for _, change in writes:
        if change["operation"] == "put":
            document, is_deleted = json.loads(change["document"] or "{}"), False
        elif change["operation"] == "delete":
            document, is_deleted = {}, True
        else:
            for delta in change["deltas"]:
                _set(document, delta["path"], delta["operation"], delta["value"])
    return None if is_deleted else document


def _set(document: dict[str, Any], path: str, operation: str, value: Any) -> None:
    *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in path[1:].split("/")]
    for name in parents:
        if not isinstance(document.get(name), dict):
            if operation == "remove":
                return
            document[name] = {}
        document = document[name]
    if operation == "remove":
        document.pop(last, None)
    else:
        document[last] = json.loads(value["json"]) if isinstance(value, dict) else value
