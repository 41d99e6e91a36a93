"""Entities: whatever the order of arrival, the greatest version of each register wins."""

import itertools
from typing import Any

import pytest

from schemas.changes import JsonValue, Scalar, StateChange
from schemas.ids import Version
from streams.state.entity import Entity
from tests.support.events import delete, patch, put

V1, V2, V3, V4 = (Version(stamp, "ams", 0, 0) for stamp in (1, 2, 3, 4))


def fold(*writes: tuple[StateChange, Version]) -> Entity:
    entity = Entity("e", 0)
    for change, version in writes:
        entity.apply(change, version)
    return entity


def to(path: str, value: Scalar | JsonValue) -> StateChange:
    return patch("e", {"path": path, "operation": "set", "value": value})


def without(path: str) -> StateChange:
    return patch("e", {"path": path, "operation": "remove", "value": None})


def shown_in_all_orders(*writes: tuple[StateChange, Version]) -> dict[str, Any] | None:
    """Return what readers see, after checking that every order shows the same."""
    first = fold(*writes)
    for order in itertools.permutations(writes):
        other = fold(*order)
        assert other.materialise() == first.materialise()
        assert (other.newest, other.entity_type) == (first.newest, first.entity_type)
    return first.materialise()


def test_an_entity_that_nobody_wrote_is_not_visible() -> None:
    entity = Entity("e", 0)

    assert not entity.is_visible
    assert entity.materialise() is None


def test_the_later_put_wins() -> None:
    assert shown_in_all_orders((put("e", '{"a":1}'), V1), (put("e", '{"b":2}'), V2)) == {"b": 2}


def test_at_equal_stamps_the_greater_region_wins() -> None:
    ams, iad = Version(5, "ams", 9, 9), Version(5, "iad", 0, 0)

    assert shown_in_all_orders((put("e", '{"a":1}'), ams), (put("e", '{"b":2}'), iad)) == {"b": 2}


def test_within_one_record_the_later_change_wins() -> None:
    first, second = Version(5, "ams", 3, 0), Version(5, "ams", 3, 1)

    assert shown_in_all_orders((to("/a", 1), first), (to("/a", 2), second)) == {"a": 2}


def test_a_patch_changes_its_fields_only() -> None:
    shown = shown_in_all_orders((put("e", '{"a":1,"b":2}'), V1), (to("/b", 3), V2))

    assert shown == {"a": 1, "b": 3}


def test_a_put_hides_older_patches_and_not_newer_ones() -> None:
    shown = shown_in_all_orders((to("/old", 1), V1), (put("e", '{"a":1}'), V2), (to("/new", 1), V3))

    assert shown == {"a": 1, "new": 1}


def test_a_patch_alone_makes_an_entity() -> None:
    assert shown_in_all_orders((to("/a", 1), V1)) == {"a": 1}
    assert shown_in_all_orders((without("/a"), V1)) == {}


def test_a_delete_leaves_a_tombstone_that_older_writes_do_not_lift() -> None:
    entity = fold((delete("e"), V3), (put("e"), V1), (to("/a", 1), V2))

    assert not entity.is_visible
    assert entity.materialise() is None
    assert entity.fields == {}


def test_a_patch_after_a_delete_shows_only_when_somebody_puts_again() -> None:
    deleted = ((delete("e"), V2), (to("/a", 1), V4))

    assert shown_in_all_orders(*deleted) is None
    assert shown_in_all_orders(*deleted, (put("e", '{"b":2}'), V3)) == {"a": 1, "b": 2}


def test_a_removed_field_is_gone_until_it_is_set_again() -> None:
    base = (put("e", '{"a":{"b":1,"c":2}}'), V1)

    assert shown_in_all_orders(base, (without("/a/b"), V2)) == {"a": {"c": 2}}
    assert shown_in_all_orders(base, (without("/a/b"), V2), (to("/a/b", 3), V3)) == {
        "a": {"b": 3, "c": 2}
    }


def test_removing_what_is_not_there_makes_nothing() -> None:
    assert shown_in_all_orders((put("e", "{}"), V1), (without("/a/b"), V2)) == {}


def test_paths_inside_each_other_are_laid_in_the_order_of_their_versions() -> None:
    outer: StateChange = to("/a", {"json": '{"c":1}'})

    assert shown_in_all_orders((outer, V1), (to("/a/b", 2), V2)) == {"a": {"b": 2, "c": 1}}
    assert shown_in_all_orders((to("/a/b", 2), V1), (outer, V2)) == {"a": {"c": 1}}


@pytest.mark.parametrize("scalar", ["1", '"x"', "null", "[1]"])
def test_what_is_no_object_gives_way_to_a_field_inside_it(scalar: str) -> None:
    shown = shown_in_all_orders((put("e", f'{{"a":{scalar}}}'), V1), (to("/a/b", 2), V2))

    assert shown == {"a": {"b": 2}}


def test_of_two_writes_of_a_field_in_one_patch_the_later_counts() -> None:
    twice = patch(
        "e",
        {"path": "/a", "operation": "set", "value": 1},
        {"path": "/a", "operation": "set", "value": 2},
    )

    entity = fold((twice, V1))

    assert entity.materialise() == {"a": 2}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", {"": 1}), ("/a~1b", {"a/b": 1}), ("/a~0b", {"a~b": 1}), ("/~01", {"~1": 1})],
)
def test_paths_are_json_pointers(path: str, expected: dict[str, int]) -> None:
    assert fold((to(path, 1), V1)).materialise() == expected


def test_readers_may_change_what_they_get() -> None:
    entity = fold((put("e", '{"a":{}}'), V1), (to("/b", {"json": "[1]"}), V2))
    first = entity.materialise()
    assert first is not None
    first["a"]["x"] = 1
    first["b"].append(2)

    assert entity.materialise() == {"a": {}, "b": [1]}


def test_the_newest_write_names_the_type_even_when_it_comes_first() -> None:
    entity = fold((put("e", entity_type="new"), V2), (put("e", entity_type="old"), V1))

    assert (entity.entity_type, entity.newest) == ("new", V2)


def test_a_hidden_write_adds_nothing_to_the_fingerprint() -> None:
    entity = fold((put("e"), V2), (to("/a", 1), V4))

    assert entity.apply(put("e"), V1) is None
    assert entity.apply(delete("e"), V2) is None
    assert entity.apply(to("/b", 1), V1) is None
    assert entity.apply(to("/a", 2), V3) is None


def test_what_a_write_adds_is_the_difference_of_the_registers() -> None:
    entity, total = Entity("e", 0), 0
    for change, version in (
        (to("/a", 1), V1),
        (to("/a", 2), V2),
        (put("e"), V3),
        (delete("e"), V4),
    ):
        total += entity.apply(change, version) or 0
        assert total == entity.hash + sum(field.hash for field in entity.fields.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (put("e", '{"a":1}'), put("e", '{"a":2}')),
        (put("e", "{}"), delete("e")),
        (to("/a", 1), to("/a", value=True)),
        (to("/a", 1), to("/a", 1.0)),
        (to("/a", 1), to("/b", 1)),
        (to("/a", None), without("/a")),
        (to("/a", "1"), to("/a", {"json": "1"})),
    ],
    ids=str,
)
def test_different_registers_have_different_hashes(one: StateChange, other: StateChange) -> None:
    assert Entity("e", 0).apply(one, V1) != Entity("e", 0).apply(other, V1)


def test_version_and_entity_are_part_of_the_hash() -> None:
    hashes = {
        Entity("e", 0).apply(put("e"), V1),
        Entity("e", 0).apply(put("e"), V2),
        Entity("f", 0).apply(put("f"), V1),
        Entity("e", 0).apply(put("e"), V1._replace(region="iad")),
    }

    assert len(hashes) == 4
