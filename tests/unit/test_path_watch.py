"""A path is free while frames arrive as soon as they ever did."""

from streams.agents.encoding import PathWatch

MS = 1_000_000


def test_a_path_is_free_until_something_waits_before_it_or_inside() -> None:
    path = PathWatch()
    assert not path.is_free(0, 0)
    assert path.is_free(0, 100 * MS)
    assert path.is_free(0, 80 * MS)
    assert path.is_free(0, 120 * MS)
    assert not path.is_free(0, 121 * MS)
    assert not path.is_free(1, 80 * MS)
