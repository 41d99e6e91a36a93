"""What is held by name, of every region within its budget."""

from collections import Counter
from typing import Any, NamedTuple


class Held(NamedTuple):
    """A baseline that is here.

    Attributes:
        created_ms: When it was made, Unix milliseconds, by its maker's clock.
    """

    region: str
    node: str
    created_ms: int
    content: bytes


class Directory:
    """All that a node holds.

    Args:
        bytes_max: Content of one region; the oldest goes first.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: dict[int, Held] = {}
        self._hits: Counter[int] = Counter()

    def find(self, name: int) -> bytes | None:
        """Return content by name, for a flow that begins with it; also from other threads."""
        content = self.peek(name)
        self._hits[name] += content is not None
        return content

    def peek(self, name: int) -> bytes | None:
        """Return content by name."""
        one = self._held.get(name)
        return None if one is None else one.content

    def hold(self, name: int, one: Held) -> list[int]:
        """Take one in.

        Returns:
            Names of the same region that had to go.
        """
        self._held.pop(name, None)
        self._held[name] = one
        evicted = []
        while self._region_bytes(one.region) > self._bytes_max:
            oldest = next(n for n, held in self._held.items() if held.region == one.region)
            if oldest == name:
                break  # larger than the budget alone: it stays until the next one comes
            self.forget(oldest)
            evicted.append(oldest)
        return evicted

    def forget(self, name: int) -> None:
        """Let one go."""
        self._held.pop(name, None)
        self._hits.pop(name, None)

    def to_json(self) -> list[dict[str, Any]]:
        """List what is held."""
        return [
            {
                "name": f"{name:016x}",
                "region": one.region,
                "node": one.node,
                "created_ms": one.created_ms,
                "bytes": len(one.content),
                "hits": self._hits[name],
            }
            for name, one in self._held.items()
        ]

    def _region_bytes(self, region: str) -> int:
        return sum(len(one.content) for one in self._held.values() if one.region == region)
