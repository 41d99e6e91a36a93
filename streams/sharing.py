"""How a region's nodes share its partitions. Pure.

Every member of the consumer group says who it is and what it holds; the group's leader shares out,
and tells every member who owns what. So all members of one generation know the same owners.

A partition is dear to move (its state has to be restored elsewhere), so what is held stays where it
is, as far as no member has to hold two more than another.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Member(NamedTuple):
    """What a node says of itself when it joins.

    Attributes:
        node: Its name.
        url: Where other nodes reach its HTTP face.
        holds: Partitions that it holds.
    """

    node: str
    url: str
    holds: frozenset[int]

    def encode(self) -> bytes:
        """Write it for the group."""
        text = {"node": self.node, "url": self.url, "holds": sorted(self.holds)}
        return json.dumps(text).encode()

    @classmethod
    def decode(cls, data: bytes, fallback_name: str) -> "Member":
        """Read what `encode` wrote; a stranger holds nothing and can be reached nowhere."""
        found = _json_object(data)
        holds = found.get("holds", [])
        return cls(
            str(found.get("node", fallback_name)),
            str(found.get("url", "")),
            frozenset(p for p in holds if isinstance(p, int)) if isinstance(holds, list) else _NONE,
        )


class Owner(NamedTuple):
    """Who has a partition."""

    node: str
    url: str


_NONE: frozenset[int] = frozenset()


def share(members: Mapping[str, Iterable[int]], partition_count: int) -> dict[str, list[int]]:
    """Share partitions 0 to `partition_count` - 1 out.

    Args:
        members: What each member holds already, by member id.
        partition_count: How many there are.

    Returns:
        What each member gets, ascending; the difference between two is one at most.
    """
    kept: dict[str, list[int]] = {}
    free = set(range(partition_count))
    for member in sorted(members):
        kept[member] = sorted(free.intersection(members[member]))
        free.difference_update(kept[member])
    least, more = divmod(partition_count, max(1, len(kept)))
    # One more for those who hold the most: so the fewest have to give something away.
    for rank, member in enumerate(sorted(kept, key=lambda m: (-len(kept[m]), m))):
        quota = least + (rank < more)
        free.update(kept[member][quota:])
        del kept[member][quota:]
    left = sorted(free, reverse=True)
    for rank, member in enumerate(sorted(kept, key=lambda m: (-len(kept[m]), m))):
        quota = least + (rank < more)
        while len(kept[member]) < quota:
            kept[member].append(left.pop())
        kept[member].sort()
    return kept


def encode_owners(members: Mapping[str, Member], shares: Mapping[str, Iterable[int]]) -> bytes:
    """Write who gets what, for every member."""
    rows = [
        {"node": members[one].node, "url": members[one].url, "partitions": list(partitions)}
        for one, partitions in sorted(shares.items())
    ]
    return json.dumps({"owners": rows}).encode()


def decode_owners(data: bytes) -> dict[int, Owner]:
    """Read what `encode_owners` wrote: who owns each partition."""
    rows = _json_object(data).get("owners", [])
    return {p: Owner(row["node"], row["url"]) for row in rows for p in row["partitions"]}


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
