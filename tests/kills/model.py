"""What all regions have to hold, from the state topics alone.

The rules of docs/architecture.md written once more, plainly, sharing no code with what is tested:
last writer wins, a patch writes fields, whole documents hide older fields.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.kills.history import Change, Entities, StateRecord

_Version = tuple[int, str, int, int]  # hybrid timestamp, region, offset, index
_Played = tuple[_Version, Change]


def expected_entities(logs: Mapping[str, Sequence[StateRecord]]) -> Entities:
    """Return what every region has to serve when all logs are known everywhere."""
    by_entity: dict[str, list[_Played]] = {}
    for version, change in _changes(logs):
        by_entity.setdefault(change.entity, []).append((version, change))
    found: dict[str, tuple[str, str]] = {}
    for entity, played in by_entity.items():
        played.sort(key=lambda item: item[0])
        document = _play(played)
        if document is not None:
            found[entity] = (played[-1][1].entity_type, canonical(document))
    return found


def canonical(document: Any) -> str:
    """Write JSON so that equal text means equal value."""
    return json.dumps(document, sort_keys=True)


def _changes(logs: Mapping[str, Sequence[StateRecord]]) -> Iterator[_Played]:
    for region, records in logs.items():
        for record in records:
            for index, change in enumerate(record.changes):
                yield (change.stamp, region, record.offset, index), change


def _play(played: Sequence[_Played]) -> dict[str, Any] | None:
    document: dict[str, Any] = {}
    is_there = True  # a patch alone makes an entity, a delete unmakes it until the next put
    for _, change in played:
        if change.operation == "put":
            document, is_there = json.loads(change.document or "{}"), True
        elif change.operation == "delete":
            document, is_there = {}, False
        else:
            for path, is_removed, value in change.fields:
                _set(document, path, value, is_removed=is_removed)
    return document if is_there else None


def _set(document: dict[str, Any], path: str, value: Any, *, is_removed: bool) -> None:
    """Set a member at the top: the harness writes no deeper paths."""
    name = path[1:]
    assert "/" not in name, f"the model knows no path {path!r}"
    if is_removed:
        document.pop(name, None)
    else:
        document[name] = value
