"""Chained patches after a crash: a replay that begins before the snapshot changes nothing."""

import copy
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.changes import StateChange, dump_document
from schemas.patching import diff_texts, patched_text
from schemas.registry import encode_event
from streams.state.partition import PartitionState
from streams.state.snapshot import SnapshotReader, encode_chunks, encode_manifest, take_dirty
from tests.support.events import APPENDED_MS, delete, patch, put
from tests.support.strategies import json_values

PRODUCERS = ("a", "b", "c", "d", "e", "f")
STAMP = APPENDED_MS << 16


def log_of(dice: Random, record_count: int) -> list[bytes]:
    """Draw a log of chaining producers, who believe that the fold keeps all they wrote."""
    beliefs: dict[str, tuple[int, str]] = {}
    records = []
    for number in range(record_count):
        producer = dice.choice(PRODUCERS[: dice.choice((2, 6))])
        stamp, text = STAMP + number, f'{{"n":{number},"same":"{"x" * 20}"}}'
        change: StateChange
        kind = dice.choice(("put", "patch", "patch", "patch", "delete"))
        belief = beliefs.get(producer)
        if kind == "delete":
            change = delete("e", hybrid_timestamp=stamp)
        elif kind == "put" or belief is None:
            change = put("e", text, hybrid_timestamp=stamp, base_version=stamp)
            beliefs[producer] = (stamp, text)
        else:
            deltas = diff_texts(belief[1], text) or []
            change = patch("e", *deltas, hybrid_timestamp=stamp, base_version=belief[0])
            beliefs[producer] = (stamp, text)
        batch = {"producer": producer, "changes": [change]}
        records.append(encode_event("StateBatch", batch))
    return records


def fold(state: PartitionState, records: list[bytes], start: int, end: int) -> list[int]:
    """Fold [start, end); returns the offsets that were refused."""
    return [
        offset
        for offset in range(start, end)
        if state.fold("ams", offset, APPENDED_MS, records[offset]).rejected
    ]


@settings(max_examples=400)
@given(st.integers(0, 1 << 32), st.data())
def test_a_replay_refuses_what_was_refused_and_ends_where_it_was(
    seed: int, data: st.DataObject
) -> None:
    records = log_of(Random(seed), 40)
    manifest_at = data.draw(st.integers(0, 40), "manifest")
    taken_at = data.draw(st.integers(manifest_at, 40), "buckets")
    crash_at = data.draw(st.integers(taken_at, 40), "crash")
    live = PartitionState(0, 1)
    reader = SnapshotReader(restored := PartitionState(0, 1))

    refused = fold(live, records, 0, manifest_at)
    reader.feed(b"manifest", encode_manifest(live, "ams", 0))
    refused += fold(live, records, manifest_at, taken_at)
    for bucket, entities in take_dirty(live).items():
        for number, chunk in enumerate(encode_chunks(entities)):
            reader.feed(f"bucket/{bucket}/{number}".encode(), chunk)
    reader.finish()
    refused += fold(live, records, taken_at, crash_at)
    again = fold(restored, records, manifest_at, crash_at)

    # What the snapshot had passed may go unnoticed the second time; it is never refused anew.
    assert set(again) <= {offset for offset in refused if offset >= manifest_at}
    assert {o for o in again if o >= taken_at} == {o for o in refused if o >= taken_at}
    rest = fold(live, records, crash_at, 40)
    assert fold(restored, records, crash_at, 40) == rest
    assert restored.fingerprint == live.fingerprint
    assert restored.entities.keys() == live.entities.keys()
    for name, entity in live.entities.items():
        assert restored.entities[name].materialise() == entity.materialise()


names = st.sampled_from(("a", "b", "c/d", "~", "", "é"))
documents = st.dictionaries(names, json_values, max_size=4)


@given(documents, documents)
def test_deltas_give_the_document_byte_for_byte_or_are_not_used(
    old: dict[str, object], new: dict[str, object]
) -> None:
    base, text = dump_document(old), dump_document(new)
    before = copy.deepcopy(old)
    deltas = diff_texts(base, text)

    assert old == before
    if deltas is None:
        return
    batch = {"producer": "p", "changes": [patch("e", *deltas)]}
    assert encode_event("StateBatch", batch)
    assert patched_text(base, deltas) == text
