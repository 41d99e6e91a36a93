"""What chained patches build on: each producer's last document in each origin's log. Pure.

A put that names its own stamp as `base_version` may be built on; a patch that names it stands for a
whole document. Both ends of the chain stand in one log, written by one producer, so that what is
held here follows from that log alone: every region decides alike, whatever else it has folded.

A replay may begin before what a snapshot holds. So every base knows its place in the log, and what
was replaced, deleted or put off leaves its place behind until a manifest covers it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

BASES_MAX: Final = 4  # of one entity and one origin; the oldest goes, and its producer is asked

BaseKey = tuple[str, str]  # origin, producer


class Base(NamedTuple):
    """One producer's last document of an entity.

    Attributes:
        stamp: Its hybrid timestamp, by which patches name it.
        offset: Where the origin's log has it.
        change_index: Where in the record.
        document: JSON text; None when it is no longer held.
    """

    stamp: int
    offset: int
    change_index: int
    document: str | None

    @property
    def place(self) -> tuple[int, int]:
        """Where the origin's log has it."""
        return self.offset, self.change_index


class Bases(dict[BaseKey, Base]):
    """The bases of one entity."""

    def has_passed(self, key: BaseKey, place: tuple[int, int]) -> bool:
        """Tell whether this place of the log was folded before: a replay."""
        held = self.get(key)
        return held is not None and place <= held.place

    def hold(self, key: BaseKey, base: Base, covered: Mapping[str, int]) -> None:
        """Replace a producer's base.

        Args:
            key: Origin and producer.
            base: The new one; without a document it only marks the place.
            covered: Next offset of each origin behind which no replay begins.
        """
        self[key] = base
        held = sorted(
            (one.place, other)
            for other, one in self.items()
            if other[0] == key[0] and one.document is not None
        )
        for _, other in held[:-BASES_MAX]:
            self[other] = self[other]._replace(document=None)
        # Only of this origin, which has a newer place now: `join` tells sets apart by it.
        passed = covered.get(key[0], 0)
        for other, one in list(self.items()):
            if other[0] == key[0] and one.document is None and one.offset < passed:
                del self[other]

    def join(self, others: "Bases") -> None:
        """Take over what another copy of the same entity holds, origin by origin the newer of both.

        Never a mixture: what the newer one holds no longer would come back.
        """
        for origin in {key[0] for key in others}:
            if others.last_place(origin) <= self.last_place(origin):
                continue
            for key in [key for key in self if key[0] == origin]:
                del self[key]
            self.update((key, base) for key, base in others.items() if key[0] == origin)

    def last_place(self, origin: str) -> tuple[int, int]:
        """Return the newest place that is known of an origin's log."""
        return max((base.place for key, base in self.items() if key[0] == origin), default=(-1, -1))
