"""Strangers' Avro records come back byte for byte, whatever their schema is."""

import io
import struct
from typing import Any

import fastavro
import pytest
from fastavro.schema import parse_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.log import LogRecord, RecordRange
from schemas.errors import BadUnitError
from schemas.registry import MAGIC, fingerprint_of
from streams.replication import encode_batch
from tests.support.changes import ChangeDice
from tests.support.records import RecordDice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.typed.batch import read_batch, write_batch
from transport.hde.typed.records import Parts, RecordCutter, make_plan, write_record
from transport.hde.typed.templates import Templates
from transport.hde.unit import unit_bytes_max

LIMIT = 1 << 22
SMALL = FlowSettings(memory_bytes=1 << 20)
seeds = st.integers(0, 1 << 32)


@settings(deadline=None)
@given(seeds, st.integers(1, 12), st.integers(1, 40))
def test_records_come_back_byte_for_byte(seed: int, count: int, entity_count: int) -> None:
    dice = RecordDice(seed, entity_count)
    encoder = FlowEncoder(SMALL, find_schema=dice.schemas.get)
    decoder = FlowDecoder(LIMIT, SMALL)

    for raw in dice.units(count):
        unit = encoder.encode(raw)
        assert decoder.decode(unit) == raw
        assert len(unit) <= unit_bytes_max(len(raw))


@settings(deadline=None)
@given(seeds)
def test_records_among_changes_of_ours_come_back(seed: int) -> None:
    records, changes = RecordDice(seed), ChangeDice(seed)
    encoder = FlowEncoder(SMALL, find_schema=records.schemas.get)
    decoder = FlowDecoder(LIMIT, SMALL)

    for _ in range(4):
        for raw in (records.unit(), changes.unit()):
            assert decoder.decode(encoder.encode(raw)) == raw


@settings(deadline=None)
@given(st.floats(), st.floats(width=32), st.integers(0, (1 << 64) - 1), st.binary(max_size=40))
def test_numbers_of_any_bits_are_cut_and_come_back(
    double: float, single: float, bits: int, content: bytes
) -> None:
    odd = struct.unpack("<d", struct.pack("<Q", bits))[0]
    forms = {"a": "double", "b": "float", "c": "double", "d": ["bytes", "null"], "e": "bytes"}
    value = {"a": double, "b": single, "c": odd, "d": content, "e": content}

    assert cut(forms, value)[1]


def schema_of(**types: Any) -> Any:
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    return {"type": "record", "name": "R", "fields": fields}


def cut(types: dict[str, Any], value: dict[str, Any], body: bytes | None = None) -> Parts:
    """Cut a record; checks that it comes back. An empty result stands for none."""
    parsed = parse_schema(schema_of(**types))
    if body is None:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        body = out.getvalue()
    cutter = RecordCutter({fingerprint_of(parsed): parsed}.get)
    parts = cutter.cut(MAGIC + fingerprint_of(parsed) + body)
    if parts is None:
        return (), []
    assert write_record(make_plan(parts[0]), parts[1]) == body
    return parts


def test_a_field_that_changes_its_length_keeps_its_place_in_what_is_compared() -> None:
    types = {"tags": {"type": "array", "items": "string"}, "n": ["null", "long"]}

    pieces, leaves = cut(types, {"tags": ["a", "b"], "n": 7})

    assert leaves == [b"a", b"b", b"7"]
    assert [piece.partition(b" ")[2] for piece in pieces] == [
        b"/tags[] t",
        b"/tags[] t",
        b"/n l0",
        b"",
    ]
    assert cut(types, {"tags": [], "n": None})[1] == [b"\2"]


def test_decimals_of_a_field_stay_as_many_as_one_had() -> None:
    parsed = parse_schema(schema_of(x="double"))
    cutter = RecordCutter({fingerprint_of(parsed): parsed}.get)
    head = MAGIC + fingerprint_of(parsed)

    texts = [cutter.cut(head + struct.pack("<d", x)) for x in (1.5, 2.25, 3.0, 1 / 3, 4.5)]

    assert [text[1][0] for text in texts if text] == [
        b"1.5",
        b"2.25",
        b"3.00",
        b"0.3333333333333333",
        b"4.50",
    ]


@pytest.mark.parametrize(
    ("types", "body"),
    [
        ({"a": "long"}, b"\x80\0"),  # zero in two bytes
        ({"a": "long"}, b"\2\0"),  # a byte behind the record
        ({"a": "long"}, b"\x80" * 11),
        ({"a": "string"}, b"\x7f"),  # ends too early
        ({"a": "boolean"}, b"\2"),
        ({"a": {"type": "array", "items": "long"}}, b"\1\2\2\0"),  # a block that tells its size
        ({"a": {"type": "array", "items": "null"}}, b"\xfe\xff\xff\xff\xff\xff\1\0"),
        ({"a": ["null", "long"]}, b"\4\2"),  # no such branch
        ({"a": {"type": "fixed", "name": "F", "size": 0}}, b""),
        ({f"f{at}": "long" for at in range(4_097)}, b"\2" * 4_097),
        ({"a": "long", "deep": ["null", "R"]}, b"\2\2" * 200 + b"\2\0"),
    ],
)
def test_what_would_not_come_back_or_is_too_much_is_not_cut(
    types: dict[str, Any], body: bytes
) -> None:
    assert cut(types, {}, body) == ((), [])


def test_a_record_inside_itself_is_cut() -> None:
    types = {"a": "long", "next": ["null", "R"]}
    value = {"a": 1, "next": {"a": 2, "next": {"a": 3, "next": None}}}

    assert cut(types, value)[1] == [b"1", b"2", b"3"]


def test_records_of_unknown_schemas_and_tombstones_travel_as_they_are() -> None:
    dice = RecordDice(3)
    raws = list(dice.units(10, records_max=10))
    encoder, decoder = FlowEncoder(find_schema=lambda _: None), FlowDecoder(LIMIT)

    for raw in raws:
        assert decoder.decode(encoder.encode(raw)) == raw


def test_a_history_with_its_key_takes_fewer_bytes_than_without() -> None:
    sizes = {}
    for has_key in (True, False):
        encoder, decoder = typed_ends()
        sizes[has_key] = 0
        for at in range(40):
            raw = unit_of(at, has_key=has_key)
            unit = encoder.encode(raw)
            assert decoder.decode(unit) == raw
            sizes[has_key] += len(unit)

    window = FlowEncoder(FlowSettings(is_typed=False))
    assert sizes[True] < sizes[False]
    assert sizes[True] < 0.7 * sum(
        len(window.encode(unit_of(at, has_key=True))) for at in range(40)
    )


READING = parse_schema(
    schema_of(id="string", counter="long", load="double", state={"type": "map", "values": "string"})
)


def typed_ends() -> tuple[FlowEncoder, FlowDecoder]:
    return FlowEncoder(find_schema={fingerprint_of(READING): READING}.get), FlowDecoder(LIMIT)


def unit_of(at: int, *, has_key: bool) -> bytes:
    records = []
    for number in range(50):
        out = io.BytesIO()
        reading = {
            "id": f"meter {number}",
            "counter": 10**9 * number + at * 1_000 + number * at % 7,
            "load": (number * 37 + at * 11) % 1_000 / 100,
            "state": {"line": f"L{number}", "mode": "a" if (at + number) % 9 else "b"},
        }
        fastavro.schemaless_writer(out, READING, reading)
        key = b"%d" % number if has_key else None
        value = MAGIC + fingerprint_of(READING) + out.getvalue()
        records.append(LogRecord(at * 50 + number, 0, key, value, ()))
    return encode_batch([RecordRange(0, at * 50, at * 50 + 50, records)], LIMIT)


def test_what_is_read_apart_is_put_together_again() -> None:
    for raw in RecordDice(5).units(20):
        batch = read_batch(raw, Templates(), RecordCutter(RecordDice(5).schemas.get))
        assert batch is not None
        assert write_batch(batch) == raw


@pytest.mark.parametrize(
    "pieces",
    [
        (b" /a l", b""),
        (b"\2 /a q", b" "),
        (b"\2 /a l2", b" "),
        (b"\2 /a l00", b" "),
        (b"\2zz /a l", b" "),
        (b"\2 /a l", b"0"),
        (b"\2 /a l", *(b" /a l",) * 4_096, b" "),
    ],
)
def test_a_shape_that_is_none_is_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(BadUnitError):
        make_plan(pieces)


@pytest.mark.parametrize(
    ("kind", "leaf"),
    [
        (b"l", b"x"),
        (b"l", b"9" * 5_000),
        (b"l", b"9" * 20),
        (b"d", b"1" * 50),
        (b"d", b""),
        (b"e", b"1e300"),
        (b"h", b"abc"),
        (b"f", b"\xff\xff"),
    ],
)
def test_a_leaf_that_is_none_is_refused(kind: bytes, leaf: bytes) -> None:
    with pytest.raises(BadUnitError):
        write_record(make_plan((b"\2 /a " + kind, b" ")), [leaf])
