"""Strangers' Avro records of random schemas, as links would carry them, from dice."""

import random
import struct
from collections.abc import Iterator
from typing import Any, Final

from fastavro.schema import parse_schema

from connectors.log import LogRecord, RecordRange
from schemas.registry import MAGIC, encode_with, fingerprint_of
from streams.replication import encode_batch

RECORD_BYTES_MAX: Final = 1 << 24
_SCALARS: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_TEXTS: Final = ("", "a", "\2", "a\0b", "é", "12Ki", "2026-02-28T23:59:01Z", "x" * 300, "-007")
_BYTES: Final = (b"", b"\2", b"text", b"\xc2\xa0", b"\0\1", bytes(range(256)))
_LONGS: Final = (0, 1, -1, 63, -64, 64, 1 << 31, -(1 << 62), (1 << 63) - 1, -(1 << 63))
_DOUBLES: Final = (0.0, -0.0, 1.5, 0.1, 12.345, 1 / 3, 1e300, -5e-324, 1e15, 2.0**53)
_ODD_BITS: Final = (0x7FF0000000000000, 0xFFF8000000000000, 0x7FF8000000000123, 0x7FF4DEADBEEF0001)


class RecordDice:
    """Draws schemas that evolve, and records of entities that change a little each time.

    Args:
        seed: Of all draws.
        entity_count: How many entities there are.

    Attributes:
        schemas: All schemas drawn so far, by fingerprint.
    """

    def __init__(self, seed: int, entity_count: int = 4) -> None:
        self._dice = random.Random(seed)
        self._entity_count = entity_count
        self._names = 0
        self._offset = 0
        self._last: dict[tuple[int, int], Any] = {}  # datum by schema and entity
        self._inner: dict[str, Any] = {}  # records that may stand in themselves
        self.schemas: dict[bytes, Any] = {}
        self._forms = [self._record(0) for _ in range(self._dice.randrange(1, 3))]
        self._parsed = [self._parse(form) for form in self._forms]

    def units(self, count: int, records_max: int = 6) -> Iterator[bytes]:
        """Yield raw units."""
        for _ in range(count):
            yield self.unit(records_max)

    def unit(self, records_max: int = 6) -> bytes:
        """Draw one raw unit."""
        dice = self._dice
        if dice.random() < 0.15:
            self._evolve(dice.randrange(len(self._forms)))
        records = []
        start = self._offset
        for _ in range(dice.randrange(records_max + 1)):
            key = dice.choice((b"e%d" % dice.randrange(self._entity_count), None, b""))
            value = None if dice.random() < 0.05 else self.value(hash_of(key))
            records.append(LogRecord(self._offset, self._offset * 7, key, value, ()))
            self._offset += 1
        return encode_batch([RecordRange(0, start, self._offset, records)], RECORD_BYTES_MAX)

    def value(self, entity: int) -> bytes:
        """Draw the next record of an entity in single object encoding."""
        dice = self._dice
        at = dice.randrange(len(self._forms))
        form, parsed, fingerprint = self._forms[at], *self._parsed[at]
        last = self._last.get((at, entity))
        datum = self._datum(form, 0) if last is None else self._changed(form, last)
        self._last[at, entity] = datum
        body = encode_with(parsed, datum)
        if dice.random() < 0.05:
            body = self._odd(body)
        return MAGIC + fingerprint + body

    def _odd(self, body: bytes) -> bytes:
        """Write a record otherwise than usual, or break it."""
        at = self._dice.randrange(len(body) + 1)
        middle = self._dice.choice((b"\x80", b"\0", b"\xff" * 11, b"\3\4", b""))
        return body[:at] + middle + body[at + self._dice.randrange(2) :]

    def _parse(self, form: Any) -> tuple[Any, bytes]:
        parsed = parse_schema(form)
        fingerprint = fingerprint_of(parsed)
        self.schemas[fingerprint] = parsed
        return parsed, fingerprint

    def _evolve(self, at: int) -> None:
        """Give a record another field; its name stays."""
        form = self._forms[at]
        field = {"name": self._name("f"), "type": self._type(2)}
        fields = [*form["fields"]]
        fields.insert(self._dice.randrange(len(fields) + 1), field)
        self._forms[at] = form | {"fields": fields}
        self._parsed[at] = self._parse(self._forms[at])
        for key, datum in self._last.items():
            if key[0] == at:
                kept = {
                    one["name"]: datum[one["name"]]
                    for one in form["fields"]
                    if one["type"] != ["null", form["name"]]
                }
                self._last[key] = self._datum(self._forms[at], 0) | kept

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _record(self, depth: int) -> dict[str, Any]:
        name = self._name("R")
        fields = [
            {"name": self._name("f"), "type": self._type(depth + 1)}
            for _ in range(self._dice.randrange(5))
        ]
        if self._dice.random() < 0.2:
            fields.append({"name": self._name("f"), "type": ["null", name]})
        return {"type": "record", "name": name, "fields": fields}

    def _type(self, depth: int) -> Any:
        dice = self._dice
        makers = (
            *(lambda: dice.choice(_SCALARS),) * 4,
            self._named,
            lambda: dice.sample(["null", dice.choice(_SCALARS[1:])], 2),
            lambda: ["null", "long", "string", self._named(), self._record(depth)],
            lambda: {"type": "array", "items": self._type(depth + 1)},
            lambda: {"type": "map", "values": self._type(depth + 1)},
            lambda: self._record(depth),
        )
        return dice.choice(makers if depth < 3 else makers[:6])()

    def _named(self) -> Any:
        if self._dice.random() < 0.5:
            return {"type": "enum", "name": self._name("E"), "symbols": ["A", "B", "C"]}
        size = self._dice.choice((1, 8, 16))
        return {"type": "fixed", "name": self._name("F"), "size": size}

    # A datum: unions as fastavro takes them, (name of the branch, value).

    def _datum(self, form: Any, depth: int) -> Any:
        dice = self._dice
        if isinstance(form, list):
            branch = form[0] if depth > 4 else dice.choice(form)
            name = branch if isinstance(branch, str) else branch["name"]
            return (name, self._datum(branch, depth + 1))
        if isinstance(form, str):
            return self._scalar(form, depth)
        if form["type"] == "record":
            self._inner[form["name"]] = form
            return {one["name"]: self._datum(one["type"], depth + 1) for one in form["fields"]}
        return self._bundle(form, depth)

    def _bundle(self, form: Any, depth: int) -> Any:
        dice = self._dice
        if form["type"] == "enum":
            return dice.choice(form["symbols"])
        if form["type"] == "fixed":
            return dice.randbytes(form["size"])
        if form["type"] == "array":
            return [self._datum(form["items"], depth + 1) for _ in range(dice.randrange(4))]
        keys = dice.sample(_TEXTS, dice.randrange(4))
        return {key: self._datum(form["values"], depth + 1) for key in keys}

    def _scalar(self, form: str, depth: int) -> Any:
        dice = self._dice
        if form.startswith("R"):  # the record itself
            return self._datum(self._inner[form], depth)
        if form in ("float", "double"):
            value = dice.choice((*_DOUBLES, dice.random(), dice.randrange(10_000) / 100))
            if form == "float":
                return max(-1e38, min(1e38, value))
            bits = struct.pack(">Q", dice.choice(_ODD_BITS))
            return value if dice.random() < 0.9 else struct.unpack(">d", bits)[0]
        choices: dict[str, Any] = {
            "null": None,
            "boolean": dice.random() < 0.5,
            "int": dice.choice((*_LONGS[:6], -(1 << 31), dice.randrange(1000))),
            "long": dice.choice((*_LONGS, self._offset * 1000)),
            "bytes": dice.choice((*_BYTES, dice.randbytes(12))),
            "string": dice.choice((*_TEXTS, f"{dice.getrandbits(128):032x}", f"n{self._offset}")),
        }
        return choices[form]

    def _changed(self, form: Any, datum: Any) -> Any:
        """Change some fields of a record."""
        changed = {
            one["name"]: self._datum(one["type"], 1)
            for one in form["fields"]
            if self._dice.random() < 0.3
        }
        return datum | changed


def hash_of(key: bytes | None) -> int:
    """Return a number for a key, the same in every process."""
    return -1 if key is None else int.from_bytes(key, "big")
