"""What all regions have to hold, from the state topics alone.

The rules of docs/architecture.md and docs/producing.md written once more, plainly, sharing no code
with what is tested: last writer wins, a patch writes fields, whole documents hide older fields, a
chained patch is a whole document: its base, with fields laid over it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.kills.history import Change, Entities, StateRecord

_Version = tuple[int, str, int, int]  # hybrid timestamp, region, offset, index
_Played = tuple[_Version, Change]
_Bases = dict[tuple[str, str], tuple[int | None, str | None]]
"""Stamp and text of the last whole document, by producer and entity."""


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
        bases: _Bases = {}
        for record in records:
            for index, change in enumerate(record.changes):
                whole = _unchained(change, bases)
                if whole is not None:
                    yield (change.stamp, region, record.offset, index), whole


def _unchained(change: Change, bases: _Bases) -> Change | None:
    """Return what a change means without its base; None when it has none: it counts for nothing."""
    if change.operation == "patch":
        return change
    key = (change.producer, change.entity)
    if change.operation != "chained":
        bases[key] = (change.base_stamp, change.document)
        return change
    stamp, text = bases.get(key, (None, None))
    if text is None or stamp != change.base_stamp:
        return None
    document = json.loads(text)
    for path, is_removed, value in sorted(change.fields, key=lambda field: field[0]):
        _set(document, path, value, is_removed=is_removed)
    whole = json.dumps(document)
    bases[key] = (change.stamp, whole)
    return change._replace(operation="put", document=whole)


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
