"""Our events on the wire: fastavro and avro-python3 agree, byte for byte, today and in ten years.

`avro-python3` is the oracle: another implementation, written by others. It writes an integer into
the last branch of a union that takes one, which is `double` in a delta; the specification leaves
that choice open. So where there are integers it only reads.
"""

import io
import json
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import avro.schemanormalization
import pytest
from fastavro import schemaless_writer
from fastavro.schema import load_schema, parse_schema, to_parsing_canonical_form
from fastavro.validation import validate
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import registry
from schemas.changes import remove_field, set_field
from schemas.errors import MalformedEventError, UnknownSchemaError
from schemas.evolution import EVENTS
from schemas.registry import FOLDER, Record, decode_bare, decode_event, encode_bare, encode_event
from tests.support.witnesses import witnesses

GOLDEN = Path(__file__).parent / "golden"
HISTORY = sorted((FOLDER / "history").glob("*.avsc"))
FILES = sorted(FOLDER.glob("*.avsc"))
NAMES = [path.stem.removeprefix("dwcp.") for path in FILES]

INT = st.integers(-(1 << 31), (1 << 31) - 1)
LONG = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BLOB = st.binary(max_size=60)
CHOSEN_ALIKE = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | TEXT
    | st.fixed_dictionaries({"json": TEXT})
)


def delta(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    operation = st.sampled_from(["set", "remove"])
    return st.fixed_dictionaries({"path": TEXT, "operation": operation, "value": value})


CHANGE = st.fixed_dictionaries(
    {
        "change_id": TEXT,
        "entity_id": TEXT,
        "entity_type": TEXT,
        "key_space": TEXT,
        "operation": st.sampled_from(["put", "patch", "delete"]),
        "document": st.none() | TEXT,
        "deltas": st.lists(delta(CHOSEN_ALIKE), max_size=4),
        "base_version": st.none() | LONG,
        "hybrid_timestamp": st.none() | LONG,
        "origin_region": TEXT,
        "trace_id": st.none() | TEXT,
    }
)
BATCH = st.fixed_dictionaries({"producer": TEXT, "changes": st.lists(CHANGE, max_size=4)})
HEADER = st.fixed_dictionaries({"name": TEXT, "value": BLOB})
LETTER = st.fixed_dictionaries(
    dict.fromkeys(("reason", "detail", "region", "origin_region", "topic"), TEXT)
    | {"partition": INT, "change_index": INT}
    | {"offset": LONG, "record_time_ms": LONG, "value_bytes": LONG}
    | {"key": st.none() | BLOB, "value": st.none() | BLOB}
    | {"headers": st.lists(HEADER, max_size=3)}
)


def plain(value: Any) -> Any:
    """Drop fastavro's own marks from a parsed schema."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not key.startswith("__")}
    return [plain(item) for item in value] if isinstance(value, list) else value


def oracle(schema: Any) -> Any:
    return avro.schema.parse(json.dumps(plain(schema)))


ORACLES = {name: oracle(registry.schema(name)) for name in NAMES}


def oracle_encode(name: str, record: Record) -> bytes:
    out = io.BytesIO()
    avro.io.DatumWriter(ORACLES[name]).write(record, avro.io.BinaryEncoder(out))
    return out.getvalue()


def oracle_decode(name: str, data: bytes) -> Record:
    source = io.BytesIO(data)
    reader = avro.io.DatumReader(ORACLES[name], ORACLES[name])
    record: Record = reader.read(avro.io.BinaryDecoder(source))
    assert not source.read()
    return record


def assert_agreement(name: str, record: Record) -> None:
    ours, theirs = encode_bare(name, record), oracle_encode(name, record)

    assert ours == theirs
    for decoded in (oracle_decode(name, ours), decode_bare(name, theirs)):
        assert contains(decoded, record)
        assert contains(record, decoded)


@settings(deadline=None, max_examples=50)
@given(record=CHANGE)
def test_a_state_change_is_the_same_to_both(record: Record) -> None:
    assert_agreement("StateChange", record)


@settings(deadline=None, max_examples=50)
@given(record=BATCH)
def test_a_state_batch_is_the_same_to_both(record: Record) -> None:
    assert_agreement("StateBatch", record)


@settings(deadline=None, max_examples=50)
@given(record=LETTER)
def test_a_dead_letter_is_the_same_to_both(record: Record) -> None:
    assert_agreement("DeadLetter", record)


@settings(deadline=None, max_examples=50)
@given(deltas=st.lists(delta(CHOSEN_ALIKE | LONG), max_size=6))
def test_the_oracle_reads_every_value_of_a_delta(deltas: list[Record]) -> None:
    record = CHANGE_PATCH | {"deltas": deltas}
    decoded = oracle_decode("StateChange", encode_bare("StateChange", record))

    assert contains(decoded, record)
    assert contains(record, decoded)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_schema_is_named_by_its_file_and_stays_in_our_namespace(path: Path) -> None:
    schema = json.loads(path.read_text())

    assert (schema["type"], schema["namespace"]) == ("record", "dwcp")
    assert path.name == f"dwcp.{schema['name']}.avsc"
    assert schema["doc"].endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_both_derive_the_same_canonical_form_and_fingerprint(name: str) -> None:
    current = registry.schema(name)
    canonical = avro.schemanormalization.ToParsingCanonicalForm(ORACLES[name])
    theirs = avro.schemanormalization.Fingerprint(canonical, "CRC-64-AVRO")

    assert to_parsing_canonical_form(current) == canonical
    assert registry.fingerprint_of(current) == theirs == crc_64_avro(canonical.encode())


@pytest.mark.parametrize("path", HISTORY, ids=[path.stem for path in HISTORY])
def test_both_parse_every_kept_version_alike(path: Path) -> None:
    kept = json.loads(path.read_text())
    theirs = avro.schemanormalization.ToParsingCanonicalForm(oracle(kept))

    assert to_parsing_canonical_form(parse_schema(kept)) == theirs


def crc_64_avro(data: bytes) -> bytes:
    """Return the fingerprint, little-endian: the specification's code, "Schema Fingerprints"."""
    empty = 0xC15D213AA4D7A795
    checksum = empty
    for byte in data:
        low = (checksum ^ byte) & 0xFF
        for _ in range(8):
            low = (low >> 1) ^ (empty if low & 1 else 0)
        checksum = (checksum >> 8) ^ low
    return checksum.to_bytes(8, "little")


def test_an_event_begins_with_the_single_object_header() -> None:
    record = GOLDEN_RECORDS["StateChange.1.put"]
    data = encode_event("StateChange", record)

    assert data[:2] == b"\xc3\x01"
    canonical = to_parsing_canonical_form(load_schema(FOLDER / "dwcp.StateChange.avsc"))
    assert data[2:10] == crc_64_avro(canonical.encode())
    assert data[10:] == encode_bare("StateChange", record)


def test_the_specification_s_own_fingerprint() -> None:
    """The checksum above is right: `"null"` as other implementations have it."""
    assert crc_64_avro(b'"null"').hex() == "8a8f25cce724dd63"


CHANGE_PUT: Record = {
    "change_id": "scheduler/1",
    "entity_id": "vm-17",
    "entity_type": "vm",
    "key_space": "default",
    "operation": "put",
    "document": '{"power":"on","größe":4}',
    "deltas": [],
    "base_version": None,
    "hybrid_timestamp": 1_790_000_000_000 << 16 | 3,
    "origin_region": "eu-west",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}
CHANGE_PATCH: Record = CHANGE_PUT | {
    "operation": "patch",
    "document": None,
    "deltas": [
        set_field("/flag", value=True),
        set_field("/nothing", value=None),
        set_field("/count", value=-5),
        set_field("/load", value=0.25),
        set_field("/name", value="zürich"),
        set_field("/list", value=[1, {"a": None}]),
        remove_field("/gone"),
    ],
    "base_version": 1_790_000_000_000 << 16,
    "trace_id": None,
}
CHANGE_DELETE: Record = CHANGE_PUT | {
    "operation": "delete",
    "document": None,
    "hybrid_timestamp": None,
    "trace_id": None,
}
VERSION: Record = {"hybrid_timestamp": 7 << 16, "region": "eu-west", "offset": 12, "index": 3}
GOLDEN_RECORDS: dict[str, Record] = {
    "StateChange.1.put": CHANGE_PUT,
    "StateChange.1.patch": CHANGE_PATCH,
    "StateChange.1.delete": CHANGE_DELETE,
    "StateBatch.1": {
        "producer": "scheduler",
        "changes": [CHANGE_PUT, CHANGE_PATCH, CHANGE_DELETE],
    },
    "StateBatch.1.empty": {"producer": "", "changes": []},
    "DeadLetter.1": {
        "reason": "UnknownSchema",
        "detail": "schema fingerprint 00 is not known here",
        "region": "us-east",
        "origin_region": "eu-west",
        "topic": "dwcp.state",
        "partition": 3,
        "offset": 1 << 40,
        "change_index": -1,
        "record_time_ms": 1_790_000_000_000,
        "key": None,
        "value": b"\x00\xff",
        "value_bytes": 2,
        "headers": [{"name": "trace", "value": b""}, {"name": "trace", "value": b"\x01"}],
    },
    "SnapshotBucket.1": {
        "entities": [
            {
                "entity_id": "vm-17",
                "entity_type": "vm",
                **VERSION,
                "document": "{}",
                "fields": [{"path": "/flag", "removed": False, "value": True, **VERSION}],
            }
        ]
    },
    "SnapshotBucket.2": {
        "entities": [
            {
                "entity_id": "vm-17",
                "entity_type": "vm",
                **VERSION,
                "document": "{}",
                "fields": [],
                "bases": [
                    {
                        "origin": "eu-west",
                        "producer": "p#1",
                        "hybrid_timestamp": 7,
                        "offset": 8,
                        "index": 9,
                        "is_shared": False,
                        "document": '{"a":1}',
                    }
                ],
            }
        ]
    },
    "Baseline.1": {
        "name": b"\1\2\3\4\5\6\7\10",
        "region": "eu-west",
        "node": "eu-west-1",
        "created_ms": 7,
        "base": b"",
        "chain": 0,
        "content_bytes": 3,
        "unit": b"\0\1",
    },
    "Dictionary.1": {
        "name": b"\1\2\3\4\5\6\7\10",
        "region": "eu-west",
        "node": "eu-west-1",
        "created_ms": 7,
        "ratio": 3.5,
        "content": b"\0\1",
    },
    "DocumentWanted.1": {
        "producer": "p#1",
        "entity_id": "vm-17",
        "entity_type": "vm",
        "hybrid_timestamp": 7,
    },
    "SnapshotManifest.1": {
        "bucket_count": 64,
        "state_offset": 5,
        "replica_offset": 6,
        "origins": [{"region": "eu-west", "offset": 5}, {"region": "us-east", "offset": 9}],
    },
    "LinkSample.1": {
        "region": "eu-west",
        "node": "eu-west-1",
        "peer": "us-east",
        "at_ms": 1_790_000_000_000,
        "duration_us": 1_000_250,
        "goodput_bytes_per_s": 48_250_000.5,
        "repeated_share": 0.001,
        "rtt_us": 84_100,
        "min_rtt_us": 80_050,
        "congestion_control": "bbr",
        "congestion_window_bytes": 11_000_000,
        "stream_count": 4,
        "unsent_bytes": 2_000_000,
        "queue_bytes": 1 << 23,
        "class_bytes": {"state": 1 << 25, "control": 220},
        "starved_share": 0.0,
        "send_buffer_limited_share": 0.06,
        "receive_window_limited_share": 0.0,
        "is_app_limited": False,
    },
}


def test_every_golden_file_has_its_record_and_every_event_a_golden_file() -> None:
    files = {path.stem for path in GOLDEN.glob("*.hex")}

    assert files == set(GOLDEN_RECORDS)
    assert {name.split(".")[0] for name in files} == set(EVENTS)


@pytest.mark.parametrize("case", GOLDEN_RECORDS)
def test_bytes_frozen_long_ago_still_decode(case: str) -> None:
    data = bytes.fromhex((GOLDEN / f"{case}.hex").read_text())
    name, record = decode_event(data)

    assert name == case.split(".", maxsplit=1)[0]
    assert validate(record, registry.schema(name))
    assert contains(record, GOLDEN_RECORDS[case])


def contains(record: Any, expected: Any) -> bool:
    """Tell whether a record has all that is expected; later versions may have more fields."""
    if isinstance(expected, dict):
        return isinstance(record, dict) and all(
            name in record and contains(record[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(record) == len(expected) and all(map(contains, record, expected))
    return type(record) is type(expected) and record == expected


@pytest.mark.parametrize("path", HISTORY, ids=[path.stem for path in HISTORY])
def test_every_kept_version_is_still_read(path: Path) -> None:
    kept = parse_schema(json.loads(path.read_text()))
    name = path.name.split(".")[0]
    header = b"\xc3\x01" + registry.fingerprint_of(kept)
    for record in witnesses(kept):
        out = io.BytesIO()
        schemaless_writer(out, kept, record)
        found, decoded = decode_event(header + out.getvalue())

        assert found == name
        assert validate(decoded, registry.schema(name))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc3\x01",
        b"{}",
        encode_event("StateChange", CHANGE_PUT)[:-1],
        encode_event("StateChange", CHANGE_PUT) + b"\0",
        encode_event("StateBatch", {"producer": "p", "changes": []})[:10] + b"\xff" * 12,
    ],
    ids=["nothing", "short", "JSON", "cut", "longer", "absurd length"],
)
def test_what_is_no_event_of_ours_is_named_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEventError):
        decode_event(data)


def test_an_unknown_fingerprint_is_named() -> None:
    with pytest.raises(UnknownSchemaError, match="0102030405060708"):
        decode_event(b"\xc3\x01" + bytes(range(1, 9)) + b"x")


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=200))
def test_no_bytes_behind_a_known_header_raise_anything_else(data: bytes) -> None:
    for name in ("StateChange", "StateBatch", "DeadLetter"):
        try:
            found, record = decode_event(registry.event_header(name) + data)
        except MalformedEventError:
            continue
        assert found == name
        assert validate(record, registry.schema(name))
