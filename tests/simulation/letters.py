"""Dead letters: exactly the refused records, each with its reason, in every region."""

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from connectors.log import LogRecord
from streams import topics
from streams.deadletters import read_dead_letter
from tests.simulation.oracle import Ledger
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.region import Region


class Letter(NamedTuple):
    """A refused record or change; the origin is empty when the record names none."""

    origin: str
    partition: int
    offset: int
    change_index: int
    reason: str


class LetterBox:
    """Reads one region's dead letters as they come.

    Args:
        region: Whose they are.
        ledger: What was written.

    Attributes:
        kills: How often the region's node died; each may have cost a second copy of a letter.
    """

    def __init__(self, region: "Region", ledger: Ledger) -> None:
        self.kills = 0
        self._region = region
        self._ledger = ledger
        self._read = 0
        self._found: Counter[Letter] = Counter()

    def check(self) -> None:
        """No dead letter without a reason, and none twice unless the node died in between."""
        ((_, end),) = self._region.cluster.offsets(topics.DEADLETTER)
        fresh = self._region.cluster.read(topics.DEADLETTER, 0, self._read, end).records
        self._read = end
        expected = self._expected() if fresh else set()
        for record in fresh:
            letter = self._letter(read_dead_letter(record.value or b""))
            self._found[letter] += 1
            if letter not in expected:
                raise Violation("only refused records are dead letters", f"{self._name}: {letter}")
            if self._found[letter] > 1 + self.kills:
                raise Violation("a dead letter is written once", f"{self._name}: {letter}")

    def check_end(self) -> None:
        """Nothing that was refused is missing."""
        self.check()
        missing = self._expected() - self._found.keys()
        if missing:
            raise Violation("every refused record is a dead letter", f"{self._name}: {missing}")

    @property
    def _name(self) -> str:
        return self._region.name

    def _expected(self) -> set[Letter]:
        refused = {
            Letter(origin, partition, entry.offset, index, reason)
            for (origin, partition), entries in self._ledger.entries.items()
            for entry in entries
            if entry.is_shipped or origin == self._name
            for index, reason in entry.refusals.items()
        }
        return refused | {
            Letter("", p, offset, -1, "MissingOrigin")
            for (name, p), offsets in self._ledger.strays.items()
            if name == self._name
            for offset in offsets
        }

    def _letter(self, letter: dict[str, Any]) -> Letter:
        origin, partition, offset = self._name, letter["partition"], letter["offset"]
        if letter["topic"] == topics.REPLICA:
            cluster = self._region.cluster
            (record,) = cluster.read(topics.REPLICA, partition, offset, offset + 1).records
            is_stray = offset in self._ledger.strays[self._name, partition]
            origin, offset = ("", offset) if is_stray else origin_of(record)
        return Letter(origin, partition, offset, letter["change_index"], letter["reason"])


def origin_of(record: LogRecord) -> tuple[str, int]:
    """Return region and offset that a replica record names."""
    found = dict(record.headers[-3:])
    return found["dwcp-origin-region"].decode(), int(found["dwcp-origin-offset"])
