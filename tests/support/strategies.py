"""What Hypothesis draws: changes, chunkings, damage."""

import itertools
from typing import Any

from hypothesis import strategies as st

from schemas.changes import FieldDelta, StateChange, dump_document, remove_field, set_field
from tests.support.events import APPENDED_MS, delete, patch, put

ENTITIES = ("e", "f", "é")
REGIONS = ("ams", "iad", "sin")

text = st.text(st.characters(codec="utf-8"), max_size=8)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=3,
)
paths = st.sampled_from(("/a", "/b", "/a/x", "/a/x/y", "/~1", "/"))
documents = st.dictionaries(st.sampled_from(("a", "b", "x", "/", "")), json_values, max_size=3)


@st.composite
def deltas(draw: st.DrawFn) -> FieldDelta:
    """Draw one field set or removed."""
    path = draw(paths)
    return draw(
        st.one_of(st.just(remove_field(path)), st.builds(set_field, st.just(path), json_values))
    )


@st.composite
def changes(draw: st.DrawFn, region: str, entity: str | None = None) -> StateChange:
    """Draw a good change; equal stamps are frequent."""
    name = entity if entity is not None else draw(st.sampled_from(ENTITIES))
    fields: dict[str, Any] = {
        "origin_region": region,
        "entity_type": draw(st.sampled_from(("vm", "rack"))),
        "hybrid_timestamp": draw(st.none() | st.integers(APPENDED_MS, APPENDED_MS + 3).map(_stamp)),
    }
    kind = draw(st.sampled_from(("put", "patch", "patch", "delete")))
    if kind == "put":
        return put(name, dump_document(draw(documents)), **fields)
    if kind == "patch":
        return patch(name, *draw(st.lists(deltas(), min_size=1, max_size=3)), **fields)
    return delete(name, **fields)


def _stamp(wall_ms: int) -> int:
    return wall_ms << 16


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
