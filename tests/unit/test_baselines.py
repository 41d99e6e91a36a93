"""Anchors follow each other, are pruned, and are held within a budget."""

import random

import pytest

from schemas.errors import BadUnitError
from schemas.ids import Version
from streams.baselines.anchors import Anchors, content_of, name_bytes
from streams.baselines.contents import newest_documents
from streams.baselines.directory import Directory, Held
from streams.state.entity import Entity
from transport.hde.unit import NOTHING, Named, content_hash

DICE = random.Random(2)
TEXT = DICE.randbytes(20_000)


def version(number: int) -> bytes:
    return TEXT[:10_000] + number.to_bytes(4, "big") + TEXT[10_000:]


def test_a_chain_of_anchors_begins_anew_after_its_limit_and_is_pruned() -> None:
    anchors = Anchors("ams", "ams-1", chain_max=2)
    made = [anchors.next(version(number), number) for number in range(5)]
    records = [record for record, _ in made]

    assert [record["chain"] for record in records] == [0, 1, 2, 0, 1]
    assert [bool(record["base"]) for record in records] == [False, True, True, False, True]
    assert all(len(one["unit"]) < 200 for one in records if one["base"])
    assert [len(pruned) for _, pruned in made] == [0, 0, 0, 3, 0]
    assert made[3][1] == [content_hash(version(number)) for number in range(3)]
    base = NOTHING
    for number, record in enumerate(records):
        base = Named.of(content_of(record, base if record["base"] else NOTHING))
        assert base.content == version(number)


def test_who_lacks_those_before_gets_a_whole_one() -> None:
    anchors = Anchors("ams", "ams-1")
    anchors.next(version(1), 1)
    record, _ = anchors.next(version(2), 2)

    with pytest.raises(BadUnitError, match="is not the one we hold"):
        content_of(record, Named.of(b"something else"))
    assert content_of(anchors.whole(3)) == version(2)


def test_a_content_that_is_not_what_its_name_says_is_refused() -> None:
    record, _ = Anchors("ams", "ams-1").next(version(1), 1)
    record["name"] = name_bytes(7)

    with pytest.raises(BadUnitError, match="not what its name says"):
        content_of(record)


def held(region: str, content: bytes) -> Held:
    return Held(region, "n", 0, content)


def test_each_region_has_its_budget_and_the_oldest_goes() -> None:
    directory = Directory(250)

    assert directory.hold(1, held("ams", bytes(100))) == []
    assert directory.hold(2, held("iad", bytes(200))) == []
    assert directory.hold(3, held("ams", bytes(100))) == []
    assert directory.hold(4, held("ams", bytes(100))) == [1]
    assert directory.find(1) is None
    assert directory.find(3) == bytes(100)
    assert [one["hits"] for one in directory.to_json()] == [0, 1, 0]
    assert directory.hold(5, held("ams", bytes(999))) == [3, 4]
    directory.forget(5)
    assert [one["region"] for one in directory.to_json()] == ["iad"]


def entity(number: int, region: str, document: str | None) -> Entity:
    one = Entity(f"vm-{number}", 0)
    one.put(document, Version(number, region, number, 0))
    return one


def test_a_baseline_has_our_newest_documents_up_to_its_size() -> None:
    entities = [entity(n, "iad" if n == 7 else "ams", '{"n":1}') for n in range(10)]
    entities.append(entity(99, "ams", None))
    found = newest_documents("ams", entities, 5 * len('{"n":1}vm-0'))

    assert [one.entity_id for one in found] == ["vm-4", "vm-5", "vm-6", "vm-8", "vm-9"]
