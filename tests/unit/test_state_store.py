"""All partitions of a node, and the digest that tells whether two hold the same."""

import pytest

from schemas.errors import PartitionNotHeldError
from schemas.partitioning import partition_of
from schemas.registry import decode_bare, encode_bare
from streams.state.partition import PartitionState
from streams.state.store import Digest, PartitionDigest, StateStore
from tests.support.events import APPENDED_MS, delete, event, put

NAMES = [f"vm-{i}" for i in range(20)]


def empty(partition_count: int) -> StateStore:
    made = StateStore("ams", partition_count)
    made.partitions.update((p, PartitionState(p, partition_count)) for p in range(partition_count))
    return made


def store(partition_count: int = 4) -> StateStore:
    made = empty(partition_count)
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


def test_an_entity_of_a_partition_that_is_elsewhere_is_refused_by_name() -> None:
    made = store()
    elsewhere = partition_of("vm-3", 4)
    del made.partitions[elsewhere]

    with pytest.raises(PartitionNotHeldError, match=f"partition {elsewhere} "):
        made.get("vm-3")
    here = next(name for name in NAMES if partition_of(name, 4) != elsewhere)
    assert made.get(here) is not None


def test_a_digest_names_what_is_held_also_where_nothing_came_yet() -> None:
    made = empty(4)
    made.partitions[2].fold("iad", 7, 0, None)
    del made.partitions[1]

    nothing = PartitionDigest({}, 0, 0)
    assert made.digest() == Digest({0: nothing, 2: PartitionDigest({"iad": 8}, 0, 0), 3: nothing})


def test_equal_state_has_an_equal_digest() -> None:
    assert store().digest() == store().digest()
    assert store().digest().fingerprint != empty(4).digest().fingerprint


def test_the_digests_fingerprint_is_the_sum_modulo_2_64() -> None:
    made = empty(3)
    made.partitions[0].fingerprint = (1 << 64) - 1
    made.partitions[2].fingerprint = 5

    assert made.digest().fingerprint == 4


@pytest.mark.parametrize("fingerprint", [0, 1, (1 << 64) - 1])
def test_a_digest_crosses_the_link_as_it_is(fingerprint: int) -> None:
    first = PartitionDigest({"iad": 3, "ams": 1}, fingerprint, 12)
    digest = Digest({0: first, 7: PartitionDigest({"iad": 1 << 40}, 0, 0)})

    record = decode_bare("Digest", encode_bare("Digest", digest.to_record()))

    assert Digest.from_record(record) == digest
    assert [origin["region"] for origin in record["partitions"][0]["vector"]] == ["ams", "iad"]


def test_only_equal_vectors_with_different_state_contradict_each_other() -> None:
    def held(vector: dict[str, int], fingerprint: int, partition: int = 5) -> Digest:
        return Digest({partition: PartitionDigest(vector, fingerprint, 1)})

    ours = held({"ams": 3}, 1)

    assert ours.contradictions(held({"ams": 3}, 2)) == [5]
    assert ours.contradictions(ours) == []
    assert ours.contradictions(held({"ams": 4}, 2)) == []
    assert ours.contradictions(held({"ams": 3}, 2, partition=6)) == []
    assert ours.contradictions(Digest({})) == []
