"""Names of regions, and the order that decides between two writes."""

import itertools

import pytest

from schemas.errors import ConfigError
from schemas.ids import Version, check_region


@pytest.mark.parametrize("name", ["a", "7", "eu-west", "a--b", "x" * 63])
def test_a_dns_label_names_a_region(name: str) -> None:
    assert check_region("region", name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "eu_west", "eu.west", "é", "a\n", " a", "x" * 64]
)
def test_anything_else_is_refused_and_the_field_is_named(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_region("peers.name", name)

    assert caught.value.field == "peers.name"
    assert caught.value.value == name


def test_the_stamp_decides_then_region_then_offset_then_index() -> None:
    ascending = [
        Version(1, "z", 9, 9),
        Version(2, "a", 9, 9),
        Version(2, "b", 0, 9),
        Version(2, "b", 1, 0),
        Version(2, "b", 1, 1),
    ]

    assert all(low < high for low, high in itertools.pairwise(ascending))
