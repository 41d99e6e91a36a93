"""Sharing partitions out: everybody's, balanced, and as little as possible moves."""

from hypothesis import given
from hypothesis import strategies as st

from streams.sharing import Member, Owner, decode_owners, encode_owners, share

counts = st.integers(0, 40)
names = st.text("abcdef", min_size=1, max_size=3)
claims = st.dictionaries(names, st.sets(st.integers(0, 50)), min_size=1, max_size=6)


@given(claims, counts)
def test_every_partition_has_one_owner_and_nobody_two_more_than_another(
    members: dict[str, set[int]], count: int
) -> None:
    shares = share(members, count)

    assert sorted(p for held in shares.values() for p in held) == list(range(count))
    sizes = [len(held) for held in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert shares.keys() == members.keys()


@given(claims, counts)
def test_who_shares_again_moves_nothing(members: dict[str, set[int]], count: int) -> None:
    shares = share(members, count)

    assert share(shares, count) == shares


@given(claims, counts)
def test_a_newcomer_takes_its_share_and_nothing_else_moves(
    members: dict[str, set[int]], count: int
) -> None:
    before = share(members, count)
    after = share({**before, "newcomer": []}, count)

    for member, held in before.items():
        assert set(after[member]) <= set(held)


@given(claims, counts)
def test_who_leaves_gives_and_nobody_else_does(members: dict[str, set[int]], count: int) -> None:
    before = share(members, count)
    leaver = min(before)
    left = {member: held for member, held in before.items() if member != leaver}
    after = share(left, count) if left else {}

    assert all(set(held) <= set(after[member]) for member, held in left.items())


@given(st.dictionaries(names, st.tuples(names, names, st.frozensets(st.integers(0, 9)))))
def test_what_members_say_comes_back(said: dict[str, tuple[str, str, frozenset[int]]]) -> None:
    members = {one: Member(*parts) for one, parts in said.items()}
    assert {o: Member.decode(m.encode(), "") for o, m in members.items()} == members

    shares = share({one: member.holds for one, member in members.items()}, 10)
    owners = decode_owners(encode_owners(members, shares))
    expected = {p: one for one, held in shares.items() for p in held}
    assert owners == {p: Owner(members[o].node, members[o].url) for p, o in expected.items()}


@given(st.binary(max_size=20))
def test_a_stranger_holds_nothing(data: bytes) -> None:
    assert Member.decode(data, "stranger").holds == frozenset()
    assert decode_owners(data) == {}
