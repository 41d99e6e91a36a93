"""Baselines one after the other: each against the one before, a whole one after so many."""

from dataclasses import dataclass, field
from typing import Final

from schemas.errors import BadUnitError
from schemas.registry import Record
from transport.hde.blob import decode_blob, encode_blob
from transport.hde.unit import NOTHING, Named

CONTENT_BYTES_MAX: Final = 1 << 24
CHAIN_MAX: Final = 10


@dataclass(slots=True)
class Anchors:
    """The chain of one node's anchors.

    Args:
        region: Whose log they are of.
        node: Who makes them.
        chain_max: Deltas after a whole one; 0: all are whole.

    Attributes:
        content: Of the newest one.
        names: Of all that the newest one needs, the whole one first.
    """

    region: str
    node: str
    chain_max: int = CHAIN_MAX
    content: bytes = b""
    names: list[int] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """Name of the newest one, 0 before the first."""
        return self.names[-1] if self.names else 0

    def next(self, content: bytes, now_ms: int) -> tuple[Record, list[int]]:
        """Return the next anchor's record, and the names that nobody needs any more."""
        is_whole = not self.names or len(self.names) > self.chain_max
        base = NOTHING if is_whole else Named(self.content, self.newest)
        named = Named.of(content)
        record = self._record(named, base, len(self.names), now_ms)
        pruned, name = self.names if is_whole else [], named.name
        self.names = [name] if is_whole else [*self.names, name]
        self.content = content
        return record, [one for one in pruned if one != name]

    def whole(self, now_ms: int) -> Record:
        """Return the newest one as a whole, for who lacks those before."""
        return self._record(Named(self.content, self.newest), NOTHING, 0, now_ms)

    def _record(self, named: Named, base: Named, chain: int, now_ms: int) -> Record:
        return {
            "name": name_bytes(named.name),
            "region": self.region,
            "node": self.node,
            "created_ms": now_ms,
            "base": name_bytes(base.name) if base.name else b"",
            "chain": chain if base.name else 0,
            "content_bytes": len(named.content),
            "unit": encode_blob(named, base),
        }


def name_bytes(name: int) -> bytes:
    """Return the 8 bytes of a name."""
    return name.to_bytes(8, "big")


def content_of(record: Record, base: Named = NOTHING) -> bytes:
    """Return what an anchor's record stands for.

    Args:
        record: A `Baseline`.
        base: The anchor that it names.

    Raises:
        BadUnitError: It does not decode, or is not what its name says.
    """
    content, name = decode_blob(record["unit"], CONTENT_BYTES_MAX, base)
    if name_bytes(name) != record["name"]:
        raise BadUnitError(f"an anchor of {len(content):,} bytes that is not what its name says")
    return content
