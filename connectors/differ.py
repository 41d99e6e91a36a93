"""Whole documents into chained patches, against what this producer wrote last. Pure.

A service that only has whole documents still needs to store and ship only what changed. The differ
remembers the last document of each entity that the log is known to hold, as long as its memory
lasts; what it does not remember travels whole. It works batch by batch: `convert`, then `stored` or
`failed`, for a patch must never build on what may not be in the log.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from schemas.changes import FieldDelta, StateChange
from schemas.patching import diff_texts

WORTH_IT: Final = 0.5  # a patch larger than this share of its document is none
_DELTA_BYTES: Final = 16  # about what a delta costs beside its path and value


class Known(NamedTuple):
    """A document that the log holds.

    Attributes:
        stamp: Its hybrid timestamp.
        text: JSON text.
        whole_stamp: Stamp of the newest change that carried a whole document.
    """

    stamp: int
    text: str
    whole_stamp: int


class Differ:
    """Remembers the documents of one partition.

    Args:
        bytes_max: Text to remember at most; the longest unused goes first.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._size_bytes = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._staged: dict[str, Known | None] = {}

    def convert(self, changes: Iterable[StateChange]) -> list[StateChange]:
        """Make patches of the documents of a batch, where that pays."""
        self._staged = {}
        return [self._converted(change) for change in changes]

    def stored(self) -> None:
        """The batch is in the log."""
        for entity_id, known in self._staged.items():
            self.forget(entity_id)
            if known is not None:
                self._known[entity_id] = known
                self._size_bytes += len(known.text)
        self._staged = {}
        while self._size_bytes > self._bytes_max:
            self._size_bytes -= len(self._known.popitem(last=False)[1].text)

    def failed(self) -> None:
        """The batch is not in the log, or nobody knows."""
        for entity_id in self._staged:
            self.forget(entity_id)
        self._staged = {}

    def known(self, entity_id: str) -> Known | None:
        """Return what is remembered of an entity."""
        return self._known.get(entity_id)

    def forget(self, entity_id: str) -> None:
        """Let the entity's next document travel whole."""
        known = self._known.pop(entity_id, None)
        if known is not None:
            self._size_bytes -= len(known.text)

    def _converted(self, change: StateChange) -> StateChange:
        entity_id, text, stamp = (
            change["entity_id"],
            change["document"],
            change["hybrid_timestamp"],
        )
        if change["operation"] == "patch":
            return change  # it sets fields; the chain goes on behind it
        base = self._staged.pop(entity_id, self._known.get(entity_id))
        if text is None or stamp is None or len(text) > self._bytes_max:
            self._staged[entity_id] = None
            return change
        deltas = diff_texts(base.text, text) if base is not None else None
        if base is None or not deltas or _size_bytes(deltas) > WORTH_IT * len(text):
            self._staged[entity_id] = Known(stamp, text, stamp)
            return {**change, "base_version": stamp}
        self._staged[entity_id] = Known(stamp, text, base.whole_stamp)
        return {
            **change,
            "operation": "patch",
            "document": None,
            "deltas": deltas,
            "base_version": base.stamp,
        }


def _size_bytes(deltas: Sequence[FieldDelta]) -> int:
    total = 0
    for delta in deltas:
        value = delta["value"]
        text = value["json"] if isinstance(value, dict) else value
        total += _DELTA_BYTES + len(delta["path"]) + (len(text) if isinstance(text, str) else 0)
    return total
