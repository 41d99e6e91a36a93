"""What one node knows of itself, for whoever shows it. Pure."""

from typing import Any, NamedTuple

from schemas.registry import Record
from streams.state.store import Digest, StateStore


class Contradiction(NamedTuple):
    """A peer that saw the same writes of a partition and holds other state: one of us is wrong."""

    peer: str
    partition: int
    ours: int
    theirs: int


class Gossip:
    """Compares what peers say they hold with what we hold.

    Attributes:
        peers: Last digest of each peer region; what its nodes say, put together.
        contradictions: How often each peer contradicted us since the start.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.peers: dict[str, Digest] = {}
        self.contradictions: dict[str, int] = {}

    def digest(self) -> Record:
        """Return what we hold, for a heartbeat."""
        return self._store.digest().to_record()

    def hear(self, peer: str, record: Record) -> list[Contradiction]:
        """Take the digest of a peer's node; return what an operator must know at once."""
        theirs = Digest.from_record(record)
        known = self.peers.get(peer, Digest({}))
        self.peers[peer] = Digest({**known.partitions, **theirs.partitions})
        ours = self._store.digest()
        found = [
            Contradiction(peer, p, ours.partitions[p].fingerprint, theirs.partitions[p].fingerprint)
            for p in ours.contradictions(theirs)
        ]
        if found:
            self.contradictions[peer] = self.contradictions.get(peer, 0) + len(found)
        return found

    def lag(self) -> dict[str, int]:
        """Return how many offsets of each origin some peer is known to hold and we lack.

        Of the partitions that we hold.
        """
        held = self._store.digest().partitions
        missing: dict[str, int] = {}
        for partition, ours in held.items():
            for origin, best in self._best(partition).items():
                lacking = max(0, best - ours.vector.get(origin, 0))
                missing[origin] = missing.get(origin, 0) + lacking
        return missing

    def _best(self, partition: int) -> dict[str, int]:
        """Return the furthest that some peer is known to be, by origin."""
        best: dict[str, int] = {}
        for digest in self.peers.values():
            known = digest.partitions.get(partition)
            for origin, offset in (known.vector if known is not None else {}).items():
                best[origin] = max(best.get(origin, 0), offset)
        return best


def digest_json(digest: Digest) -> dict[str, Any]:
    """Return a digest as JSON values; partitions become text, as JSON keys must."""
    return {
        "vector": {
            origin: {str(p): offset for p, offset in sorted(positions.items())}
            for origin, positions in sorted(digest.vector.items())
        },
        "fingerprint": f"{digest.fingerprint:016x}",
        "entities": digest.entity_count,
        "partitions": sorted(digest.partitions),
    }
