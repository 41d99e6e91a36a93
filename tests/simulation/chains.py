"""Producers that send what changed as patches standing for whole documents, and what those do.

The rule is written here once more, by hand: a patch counts when its producer's last document in the
same log is the one that it names. Each producer believes that all it wrote is there; it is wrong
when a transaction was aborted, its clock ran ahead, or the fold keeps others' documents instead.
"""

import copy
import json
from collections import OrderedDict
from random import Random
from typing import Any, Final, NamedTuple

from schemas.changes import StateChange
from schemas.patching import diff_texts
from schemas.registry import encode_event

HELD_MAX: Final = 4  # documents of one entity and log
PRODUCERS: Final = ("d1", "d2", "d3", "d4", "d5", "d6")
DRIFT_MS: Final = 500

Document = dict[str, Any]
Held = OrderedDict[str, tuple[int, Document]]  # by producer; the last written is last


class Chain(NamedTuple):
    """A batch, what it has to do, and what the log then holds if it is committed."""

    value: bytes
    writes: list[tuple[int, int | None, dict[str, Any]]]
    refusals: dict[int, str]
    held: Held


class Chains:
    """The chaining producers of one region.

    Args:
        region: Where they write.
        dice: Of the workload.
    """

    def __init__(self, region: str, dice: Random) -> None:
        self._region = region
        self._dice = dice
        self._held: dict[str, Held] = {}
        self._beliefs: dict[tuple[str, str], tuple[int, Document]] = {}
        self._count = 0

    def draw(self, entity: str, wall_ms: int) -> Chain:
        """Draw one batch of one producer about one entity."""
        producer = self._dice.choice(PRODUCERS[: self._dice.choice((1, 6, 6))])
        held = copy.deepcopy(self._held.get(entity, Held()))
        chain = Chain(b"", [], {}, held)
        changes = [
            self._change(producer, entity, index, chain, wall_ms)
            for index in range(self._dice.randint(1, 4))
        ]
        batch = {"producer": producer, "changes": changes}
        return chain._replace(value=encode_event("StateBatch", batch))

    def commit(self, entity: str, chain: Chain) -> None:
        """The batch is in the log."""
        self._held[entity] = chain.held

    def _change(
        self, producer: str, entity: str, index: int, chain: Chain, wall_ms: int
    ) -> StateChange:
        """Draw the next change, note what it has to do, and believe that it is done."""
        stamp = self._stamp(wall_ms)
        is_ahead = (stamp >> 16) - wall_ms > DRIFT_MS
        belief = self._beliefs.get((producer, entity))
        self._count += 1
        change: StateChange = {
            "change_id": f"{producer}/{self._count}",
            "entity_id": entity,
            "entity_type": "chained",
            "operation": "put",
            "document": None,
            "deltas": [],
            "base_version": None,
            "hybrid_timestamp": stamp,
            "origin_region": self._region,
        }
        kind = self._dice.choice(("put", "patch", "patch", "patch", "patch", "plain", "delete"))
        document: Document | None = None if kind == "delete" else self._document(belief)
        deltas = None
        if kind == "patch" and belief is not None and document is not None:
            deltas = diff_texts(_text(belief[1]), _text(document))
        refusal = "ClockAhead" if is_ahead else ""
        if deltas and belief is not None:
            base = belief[0] + (self._dice.random() < 0.05)
            change |= {"operation": "patch", "deltas": deltas, "base_version": base}
            known = chain.held.get(producer)
            if known is None or known[0] != base:
                refusal = refusal or "UnknownBase"
        elif document is None:
            change |= {"operation": "delete"}
        else:
            own = None if kind == "plain" else stamp
            change |= {"document": _text(document), "base_version": own}
        self._note(producer, change, index, document, chain, refusal)
        return change

    def _note(
        self,
        producer: str,
        change: StateChange,
        index: int,
        document: Document | None,
        chain: Chain,
        refusal: str,
    ) -> None:
        stamp, entity = change["hybrid_timestamp"], change["entity_id"]
        assert stamp is not None
        is_base = change["base_version"] is not None and document is not None
        if is_base and document is not None:
            self._beliefs[producer, entity] = (stamp, document)
        elif self._dice.random() < 0.7:  # else it does not know that what it deleted is gone
            self._beliefs.pop((producer, entity), None)
        if refusal:
            chain.refusals[index] = refusal
            return
        chain.held.pop(producer, None)
        if is_base and document is not None:
            chain.held[producer] = (stamp, document)
            if len(chain.held) > HELD_MAX:
                chain.held.popitem(last=False)
        plain = {
            "entity": entity,
            "type": change["entity_type"],
            "operation": "delete" if document is None else "put",
            "document": document,
            "fields": {},
        }
        chain.writes.append((index, stamp, plain))

    def _stamp(self, wall_ms: int) -> int:
        at_ms = wall_ms + self._dice.choice((-2_000, -3, 0, 0, 0, 0, 0, 400, 900))
        return (at_ms << 16) + self._count

    def _document(self, belief: tuple[int, Document] | None) -> Document:
        first: Document = {"a": {"x": 0}, "b": [1]}
        document = first if belief is None else copy.deepcopy(belief[1])
        for _ in range(self._dice.randint(1, 2)):
            name = self._dice.choice(("a", "b", "c/d", ""))
            value: Any = self._dice.choice(
                (self._count, {"x": self._count}, [1.0, None], "é", 1 << 70)
            )
            if isinstance(document.get(name), dict) and self._dice.random() < 0.5:
                document[name]["x"] = value
            elif self._dice.random() < 0.2:
                document.pop(name, None)
            else:
                document[name] = value
        return document


def _text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
