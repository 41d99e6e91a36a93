"""Whatever the input, spreading it loses nothing, repeats, and makes regions meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwcp.demo.inputs import AWAY_EVERY, EntityDocument, spread
from schemas.errors import ConfigError, InvalidChangeError

names = st.lists(st.text("abcxyz", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)
entities = st.text(min_size=1, max_size=4)


def change(entity: str, region: str | None = None) -> EntityDocument:
    return EntityDocument(0, entity, "vm", {}, region)


@given(st.lists(entities, max_size=60), names)
def test_every_change_is_given_once_in_order_to_a_known_region(
    ids: list[str], region_names: list[str]
) -> None:
    items = [change(entity) for entity in ids]

    spread_out = list(spread(items, region_names))

    assert [item for _, item in spread_out] == items
    assert {region for region, _ in spread_out} <= set(region_names)
    assert list(spread(items, region_names)) == spread_out


@given(entities, names, st.integers(0, 45), st.lists(entities, max_size=20))
def test_an_entity_is_written_at_home_but_each_tenth_time_in_the_next_region(
    entity: str, region_names: list[str], count: int, others: list[str]
) -> None:
    noise = [change(other) for other in others if other != entity]
    items = [*noise, *(change(entity) for _ in range(count))]

    regions = [region for region, item in spread(items, region_names) if item.entity == entity]

    home = region_names.index(regions[0]) if regions else 0
    away = region_names[(home + 1) % len(region_names)]
    expected = [away if n % AWAY_EVERY == 0 else region_names[home] for n in range(1, count + 1)]
    assert regions == expected


@given(entities, names, st.data())
def test_a_change_that_names_its_region_is_written_there(
    entity: str, region_names: list[str], data: st.DataObject
) -> None:
    region = data.draw(st.sampled_from(region_names))

    assert [name for name, _ in spread([change(entity, region)], region_names)] == [region]


def test_homes_are_shared_out_evenly() -> None:
    items = [change(f"vm-{number}") for number in range(6_000)]
    homes = [region for region, _ in spread(items, ("a", "b", "c"))]

    for region in ("a", "b", "c"):
        assert homes.count(region) == pytest.approx(2_000, rel=0.1)


def test_the_rule_is_frozen() -> None:
    """A run of last year's input must land in the same regions."""
    items = [change(entity) for entity in ("vm-1", "vm-2", "node-7", "é")]

    assert [region for region, _ in spread(items, ("a", "b", "c"))] == ["c", "c", "b", "a"]


def test_an_unknown_region_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidChangeError, match="region = 'mars': name one of a, b"):
        list(spread([change("vm-1", "mars")], ("a", "b")))


def test_no_region_is_refused() -> None:
    with pytest.raises(ConfigError, match="region_names"):
        list(spread([change("vm-1")], ()))
