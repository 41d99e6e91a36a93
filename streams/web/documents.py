"""Entities as JSON text for readers."""

import json
from typing import Any

from streams.state.entity import Entity


def entity_json(entity: Entity) -> str | None:
    """Return one line of a dump: entity, type and document; None when readers see nothing.

    The text of a document without field writes is passed on as it is, not parsed.
    """
    if not entity.is_visible:
        return None
    if entity.fields or entity.document is None:
        document = json.dumps(entity.materialise(), ensure_ascii=False, separators=(",", ":"))
    else:
        document = entity.document
    name = json.dumps(entity.entity_id, ensure_ascii=False)
    kind = json.dumps(entity.entity_type, ensure_ascii=False)
    return f'{{"entity":{name},"type":{kind},"document":{document}}}'


def change_json(entity: Entity) -> str:
    """Return one line of a watch: as `entity_json`, document null when it was deleted."""
    return entity_json(entity) or json.dumps(
        {"entity": entity.entity_id, "type": entity.entity_type, "document": None}
    )


def entity_detail(entity: Entity) -> dict[str, Any]:
    """Return an entity with the version of its newest write, which may be a delete."""
    version = entity.newest
    assert version is not None, "an entity without a write"
    return {
        "entity": entity.entity_id,
        "type": entity.entity_type,
        "document": entity.materialise(),
        "version": {
            "wall_ms": version.stamp >> 16,
            "count": version.stamp & 0xFFFF,
            "region": version.region,
            "offset": version.offset,
            "index": version.change_index,
        },
    }
