"""What one node knows of itself, for whoever shows it. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.registry import Record
from streams.state.store import Digest, StateStore


class Contradiction(NamedTuple):
    """A peer that saw the same writes and holds other state: one of us is wrong."""

    peer: str
    ours: int
    theirs: int


class Gossip:
    """Compares what peers say they hold with what we hold.

    Attributes:
        peers: Last digest of each peer.
        contradictions: How often each peer contradicted us since the start.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.peers: dict[str, Digest] = {}
        self.contradictions: dict[str, int] = {}

    def digest(self) -> Record:
        """Return what we hold, for a heartbeat."""
        return self._store.digest().to_record()

    def hear(self, peer: str, record: Record) -> Contradiction | None:
        """Take a peer's digest; return what an operator must know at once."""
        theirs = self.peers[peer] = Digest.from_record(record)
        ours = self._store.digest()
        if not ours.is_contradicted_by(theirs):
            return None
        self.contradictions[peer] = self.contradictions.get(peer, 0) + 1
        return Contradiction(peer, ours.fingerprint, theirs.fingerprint)

    def lag(self) -> dict[str, int]:
        """Return how many offsets of each origin some peer is known to hold and we lack."""
        ours = self._store.digest().vector
        known: dict[str, dict[int, int]] = {}
        for digest in self.peers.values():
            for origin, positions in digest.vector.items():
                best = known.setdefault(origin, {})
                for partition, offset in positions.items():
                    best[partition] = max(best.get(partition, 0), offset)
        return {origin: _missing(best, ours.get(origin, {})) for origin, best in known.items()}


def _missing(best: Mapping[int, int], ours: Mapping[int, int]) -> int:
    return sum(max(0, offset - ours.get(partition, 0)) for partition, offset in best.items())


def digest_json(digest: Digest) -> dict[str, Any]:
    """Return a digest as JSON values; partitions become text, as JSON keys must."""
    return {
        "vector": {
            origin: {str(p): offset for p, offset in sorted(positions.items())}
            for origin, positions in sorted(digest.vector.items())
        },
        "fingerprint": f"{digest.fingerprint:016x}",
        "entities": digest.entity_count,
    }
