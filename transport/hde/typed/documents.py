"""Documents as a shape and its leaves; what both ends compare a document with.

The text of a document is cut where a value begins or ends. Cutting is lexical: whatever the text
is, its pieces and leaves joined are the same text again, so a bad cut costs bytes and no more.
"""

import re
from itertools import count
from typing import Final

from transport.hde.typed.memory import LEAVES_MAX, Memory
from transport.hde.typed.things import Entity, Shape

# A separator and the scalar behind it; a string is a key, not a leaf, if a colon follows.
# Possessive: no text is tried twice, which halves the time.
_LEAF: Final = re.compile(rb'([:,\[](?:"[^"\\]*+(?:\\.[^"\\]*+)*+"(?!:)|[^"{\[\],:}]++))')
DOCUMENT_BYTES_MAX: Final = 1 << 20
PIECE_END: Final = b"\1"  # no JSON text holds it


def cut(text: bytes) -> tuple[tuple[bytes, ...], list[bytes]] | None:
    """Return a document's pieces and leaves; None if it is not one to compare."""
    if len(text) > DOCUMENT_BYTES_MAX or b"\0" in text or PIECE_END in text:
        return None
    parts = _LEAF.split(text)
    if len(parts) > 2 * LEAVES_MAX:
        return None
    return tuple(parts[0::2]), parts[1::2]


def join(shape: Shape, leaves: list[bytes]) -> bytes:
    """Undo `cut`."""
    parts = shape.template.copy()
    parts[1::2] = leaves
    return b"".join(parts)


def base_leaves(memory: Memory, entity: Entity, shape: Shape) -> list[bytes]:
    """Return the leaves to compare with: of the entity, else of the last alike."""
    if entity.shape is shape:
        return _kept(entity, shape)
    last = memory.last_shape
    if shape.last is not None:
        base = shape.last.copy()
    elif last is not None and last.last is not None:
        base = _moved(last, last.last, shape, [b""] * leaf_count(shape))
    else:
        base = [b""] * leaf_count(shape)
    if entity.shape is not None:
        base = _moved(entity.shape, _kept(entity, entity.shape), shape, base)
    return base


def leaf_count(shape: Shape) -> int:
    """Return how many leaves a document of this shape has."""
    return len(shape.pieces) - 1


def _kept(entity: Entity, shape: Shape) -> list[bytes]:
    assert shape.first is not None, "an entity has a document of this shape"
    leaves = shape.first.copy()
    if entity.places:
        places = memoryview(entity.places).cast("H")
        for at, leaf in zip(places, entity.leaves.split(b"\0"), strict=True):
            leaves[at] = leaf
    return leaves


def _moved(old: Shape, old_leaves: list[bytes], new: Shape, rest: list[bytes]) -> list[bytes]:
    """Return the leaves that stood at the same places in another shape."""
    places = new.maps.get(old.serial)
    if places is None:
        by_context = dict(zip(old.contexts, count()))
        places = [by_context.get(context, -1) for context in new.contexts]
        if len(new.maps) >= 16:  # noqa: PLR2004 - shapes that follow each other are few
            new.maps.clear()
        new.maps[old.serial] = places
    return [old_leaves[at] if at >= 0 else leaf for at, leaf in zip(places, rest, strict=True)]
