"""All partitions of a node, and the digest that tells whether two hold the same."""

import pytest

from schemas.partitioning import partition_of
from schemas.registry import decode_bare, encode_bare
from streams.state.store import Digest, StateStore
from tests.support.events import APPENDED_MS, delete, event, put

NAMES = [f"vm-{i}" for i in range(20)]


def store(partition_count: int = 4) -> StateStore:
    made = StateStore("ams", partition_count)
    for offset, name in enumerate(NAMES):
        partition = made.partitions[partition_of(name, partition_count)]
        partition.fold("ams", offset, APPENDED_MS, event(put(name, f'{{"n":{offset}}}')))
    return made


def test_an_entity_is_found_whatever_its_partition() -> None:
    found = [store().get(name) for name in NAMES]

    assert [e.materialise() for e in found if e is not None] == [{"n": n} for n in range(20)]


def test_an_entity_that_nobody_wrote_is_none() -> None:
    assert store().get("nobody") is None


def test_all_entities_are_listed_deleted_ones_too() -> None:
    made = store()
    partition = made.partitions[partition_of("vm-3", 4)]
    partition.fold("ams", 100, APPENDED_MS + 1, event(delete("vm-3")))

    assert sorted(entity.entity_id for entity in made.entities()) == sorted(NAMES)
    assert made.digest().entity_count == 19


def test_cursors_name_every_partition() -> None:
    made = store(2)
    last = {p: max(i for i, n in enumerate(NAMES) if partition_of(n, 2) == p) for p in (0, 1)}

    assert made.cursors("ams") == {p: offset + 1 for p, offset in last.items()}
    assert made.cursors("iad") == {0: 0, 1: 0}


def test_a_digest_leaves_out_what_nothing_came_of() -> None:
    made = StateStore("ams", 4)
    made.partitions[2].fold("iad", 7, 0, None)

    assert made.digest() == Digest({"iad": {2: 8}}, 0, 0)


def test_equal_state_has_an_equal_digest() -> None:
    assert store().digest() == store().digest()
    assert store().digest().fingerprint != StateStore("ams", 4).digest().fingerprint


def test_the_digests_fingerprint_is_the_sum_modulo_2_64() -> None:
    made = StateStore("ams", 3)
    made.partitions[0].fingerprint = (1 << 64) - 1
    made.partitions[2].fingerprint = 5

    assert made.digest().fingerprint == 4


@pytest.mark.parametrize("fingerprint", [0, 1, (1 << 64) - 1])
def test_a_digest_crosses_the_link_as_it_is(fingerprint: int) -> None:
    digest = Digest({"iad": {0: 3, 2: 1 << 40}, "ams": {1: 1}}, fingerprint, 12)

    record = decode_bare("Digest", encode_bare("Digest", digest.to_record()))

    assert Digest.from_record(record) == digest
    assert [origin["region"] for origin in record["vector"]] == ["ams", "iad"]


def test_only_equal_vectors_with_different_state_contradict_each_other() -> None:
    ours = Digest({"ams": {0: 3}}, 1, 1)

    assert ours.is_contradicted_by(Digest({"ams": {0: 3}}, 2, 1))
    assert not ours.is_contradicted_by(ours)
    assert not ours.is_contradicted_by(Digest({"ams": {0: 4}}, 2, 1))
    assert not ours.is_contradicted_by(Digest({}, 2, 1))
