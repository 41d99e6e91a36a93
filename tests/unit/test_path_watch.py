"""A path is free while frames arrive within its round trip."""

from streams.agents.encoding import PathWatch

MS = 1_000_000


def test_a_path_is_free_until_something_waits_before_it_or_inside() -> None:
    path = PathWatch()
    assert not path.is_free(0, 100 * MS, None)
    assert not path.is_free(0, 0, 100.0)
    assert path.is_free(0, 100 * MS, 80.0)
    assert path.is_free(0, 170 * MS, 200.0)
    assert not path.is_free(0, 171 * MS, 200.0)
    assert not path.is_free(1, 80 * MS, 80.0)
