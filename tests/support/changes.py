"""Batches of changes as links carry them, of every kind, from dice."""

import json
import random
from collections.abc import Iterator
from typing import Any, Final

from connectors.log import LogRecord, RecordRange
from schemas.changes import remove_field, set_field
from schemas.registry import encode_event
from streams.replication import encode_batch

RECORD_BYTES_MAX: Final = 1 << 24
_WORDS: Final = ("active", "paused", "True", "é", "a\0b", 'quo"te', "", "x" * 300)


class ChangeDice:
    """Draws batches whose entities, fields and shapes come again and move.

    Args:
        seed: Of all draws.
        entity_count: How many entities there are.
    """

    def __init__(self, seed: int, entity_count: int = 8) -> None:
        self._dice = random.Random(seed)
        self._entity_count = entity_count
        self._offsets = [0, 0, 0]
        self._time_ms = 1_700_000_000_000
        self._sequence = 0

    def units(self, count: int, changes_max: int = 6) -> Iterator[bytes]:
        """Yield raw units."""
        for _ in range(count):
            yield self.unit(changes_max)

    def unit(self, changes_max: int = 6) -> bytes:
        """Draw one raw unit."""
        dice = self._dice
        ranges = []
        for partition in dice.sample(range(3), dice.randrange(1, 3)):
            start = self._offsets[partition]
            records = []
            for at in range(dice.randrange(4)):
                self._time_ms += dice.randrange(50)
                key, value = self._value(changes_max)
                headers = ((dice.choice(("trace", "x")), dice.randbytes(2)),) * dice.randrange(3)
                record = LogRecord(start + 2 * at, self._time_ms, key, value, headers)
                records.append(record)
            end = self._offsets[partition] = start + 2 * len(records) + dice.randrange(3)
            ranges.append(RecordRange(partition, start, end, records))
        return encode_batch(ranges, RECORD_BYTES_MAX)

    def _value(self, changes_max: int) -> tuple[bytes | None, bytes | None]:
        dice = self._dice
        kind = dice.random()
        if kind < 0.05:
            return None, None
        if kind < 0.15:
            return b"stranger", dice.randbytes(dice.randrange(40))
        if kind < 0.5:
            change = self.change()
            key = change["entity_id"].encode()
            return dice.choice((key, None, b"k")), encode_event("StateChange", change)
        changes = [self.change() for _ in range(dice.randrange(changes_max + 1))]
        batch = {"producer": dice.choice(("p1", "p2")), "changes": changes}
        value = encode_event("StateBatch", batch)
        return None, value if kind < 0.97 else value + b"\0"

    def change(self) -> dict[str, Any]:
        """Draw one change as the registry takes it."""
        dice = self._dice
        self._sequence += dice.choice((1, 1, 1, 2, 900))
        number = dice.randrange(self._entity_count)
        ids = (f"p/{self._sequence}", f"q-{self._sequence}", "free text", self._uuid(), "007")
        stamp = (self._time_ms << 16) + dice.randrange(3)
        change: dict[str, Any] = {
            "change_id": ids[0] if dice.random() < 0.8 else dice.choice(ids),
            "entity_id": f"entity-{number}",
            "entity_type": dice.choice(("vm", "node")),
            "operation": "delete",
            "document": None,
            "deltas": [],
            "hybrid_timestamp": stamp if dice.random() < 0.9 else None,
            "base_version": stamp - 7 if dice.random() < 0.2 else None,
            "origin_region": "eu-west",
            "trace_id": dice.choice((None, None, f"{dice.getrandbits(128):032x}", "odd")),
        }
        kind = dice.random()
        if kind < 0.45:
            return change | {"operation": "put", "document": self._document(number)}
        if kind < 0.9:
            deltas = [self._delta() for _ in range(dice.randrange(1, 6))]
            return change | {"operation": "patch", "deltas": deltas}
        return change

    def _document(self, number: int) -> str:
        dice = self._dice
        if dice.random() < 0.05:
            return dice.choice(("{}", "[1,2", "", "\x01", "{" * 50, '{"a":"b\0"}'))
        document: dict[str, Any] = {
            "id": number,
            "uid": self._uuid(),
            "at": self._time(),
            "seen": self._time(),
            "load": dice.choice((dice.randrange(100), dice.random(), -3, 1e300)),
            "counter": f"{self._sequence * 1000}Ki",
            "state": dice.choice(_WORDS),
            "list": [dice.randrange(3) for _ in range(dice.randrange(3))],
            "deep": {"x": {"y": dice.choice((None, True, [], {}, "z"))}},
        }
        if dice.random() < 0.2:
            document[dice.choice(("extra", "more"))] = dice.choice(_WORDS)
        keys = list(document)
        if dice.random() < 0.1:
            dice.shuffle(keys)
        separators = (",", ":") if dice.random() < 0.9 else (", ", ": ")
        ordered = {key: document[key] for key in keys}
        return json.dumps(ordered, separators=separators, ensure_ascii=dice.random() < 0.1)

    def _delta(self) -> Any:
        dice = self._dice
        path = f"/f{dice.randrange(6)}"
        value = dice.choice(
            (
                dice.randrange(1 << dice.randrange(1, 62)),
                -dice.randrange(1 << 62),
                dice.random(),
                dice.randrange(1000) / 100,
                -0.0,
                None,
                True,
                False,
                self._time(),
                self._uuid(),
                f"v{self._sequence}",
                {"a": [1, self._sequence]},
                1 << 80,
                *_WORDS,
            )
        )
        return remove_field(path) if dice.random() < 0.1 else set_field(path, value)

    def _time(self) -> str:
        second = self._time_ms // 1000 % 60
        return self._dice.choice(
            (
                f"2026-02-28T23:59:{second:02d}Z",
                f"2026-02-28 23:59:{second:02d}.000123",
                "2026-02-30",
            )
        )

    def _uuid(self) -> str:
        digits = f"{self._dice.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
