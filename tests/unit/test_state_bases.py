"""What chained patches build on, and what becomes of it when two copies meet."""

from streams.state.bases import BASES_MAX, Base, Bases


def base(offset: int, document: str | None = "{}") -> Base:
    return Base(offset, offset, 0, document)


def held(bases: Bases) -> set[str]:
    return {producer for (_, producer), one in bases.items() if one.document is not None}


def test_the_oldest_of_an_origin_goes_when_there_are_too_many() -> None:
    bases = Bases()
    for number in range(BASES_MAX + 1):
        bases.hold(("eu", f"p{number}"), base(number), {})

    assert held(bases) == {f"p{number}" for number in range(1, BASES_MAX + 1)}
    assert bases["eu", "p0"].document is None


def test_a_mark_goes_when_a_manifest_covers_it_and_its_origin_has_a_newer_place() -> None:
    bases = Bases()
    bases.hold(("eu", "p"), base(1), {})
    bases.hold(("eu", "p"), base(2, None), {})
    bases.hold(("us", "q"), base(9), {"eu": 3, "us": 3})
    assert ("eu", "p") in bases
    bases.hold(("eu", "r"), base(5), {"eu": 3})

    assert set(bases) == {("us", "q"), ("eu", "r")}


def test_what_the_newer_copy_holds_no_longer_does_not_come_back() -> None:
    older, newer = Bases(), Bases()
    older.hold(("eu", "gone"), base(1), {})
    older.hold(("us", "only here"), base(4), {})
    newer.hold(("eu", "p"), base(7), {"eu": 5})

    for first, second in ((older, newer), (newer, older)):
        joined = Bases(first)
        joined.join(second)
        assert held(joined) == {"p", "only here"}
