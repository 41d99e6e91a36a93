"""The bench takes any documents, compares every byte, and says what is wrong with an input."""

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from click.testing import CliRunner, Result

from dwcp.cli import main
from dwcp.demo.inputs import read_jsonl
from dwcp.hde.bench import run_bench
from dwcp.hde.blob_bench import run_blob_bench
from dwcp.hde.blobs import made_pairs
from dwcp.hde.events import document_events
from dwcp.hde.inputs import file_source
from dwcp.hde.lanes import Lane, ZstdCodec
from dwcp.hde.packing import Packer
from dwcp.hde.rows import LaneRun
from schemas.errors import BadUnitError
from schemas.registry import schema
from streams.replication import decode_batch

KEYS = {
    "level",
    "batch",
    "events",
    "raw_bytes",
    "bytes_per_event",
    "ratio",
    "encode_events_per_s",
    "decode_events_per_s",
    "encode_mb_s",
    "decode_mb_s",
    "rival",
    "late_ratio",
    "fewer_than_zstd_3",
    "share_of_window",
}

METER = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]

STRANGE: list[dict[str, Any]] = [
    {"time_ms": 5, "entity": "a", "type": "x", "document": {"k": 1, "ü\n\u2028": "🜁", "d": {}}},
    {"time_ms": 4, "entity": "b", "type": "y", "document": {"k": [1, [2.5e300, None, []]], "": 0}},
    {"time_ms": 6, "entity": "a", "type": "x", "document": None},
    {"time_ms": -1, "entity": "é" * 500, "type": "x", "document": {}},
    {"time_ms": 7, "entity": "c", "type": "x", "document": {"huge": "0123456789" * 60_000}},
    {"time_ms": 8, "entity": "b", "type": "y", "document": {"": 0, "k": -(2**70)}},
]


def written(folder: Path, documents: list[dict[str, Any]]) -> str:
    path = folder / "input.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return str(path)


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["hde", "bench", "--json", *arguments])


def report_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_strange_documents_go_through_every_codec(tmp_path: Path) -> None:
    report = report_of(bench("--input", written(tmp_path, STRANGE * 3)))

    assert report["events"] == 18
    assert report["entities"] == 4
    assert {row["batch"] for row in report["rows"]} == {1, 2, 100, 500, "512 KiB"}
    for row in report["rows"]:
        assert row.keys() >= KEYS
        assert row["events"] == 18
        assert row["ratio"] == pytest.approx(row["raw_bytes"] / row["encoded_bytes"], abs=0.001)
    assert {row["rival"] for row in report["rows"]} == {True, False}
    assert all(row["events"] == 4 for row in report["first_snapshot"])


def test_a_synthetic_stream_stands_beside_its_floor() -> None:
    report = report_of(bench("--stream", "synthetic-pod", "--entities", "20", "--events", "300"))

    assert all(row["times_floor"] > 1 for row in report["rows"])
    assert len(report["sha256"]) == 64


def test_what_follows_the_first_sights_is_told_apart() -> None:
    named = ("--stream", "synthetic-vm", "--entities", "200", "--events", "600", "--batch", "100")
    report = report_of(bench(*named))

    assert {row["batch"] for row in report["rows"]} == {100}
    for row in report["rows"]:
        assert row["after_first_sight_events"] == 400
        first = next(one for one in report["first_snapshot"] if one["level"] == row["level"])
        parts = first["encoded_bytes"] + 400 * row["after_first_sight_bytes_per_event"]
        assert row["encoded_bytes"] == pytest.approx(parts, rel=0.01)
        assert row["after_first_sight_times_floor"] > 1
    window, typed, *rivals = report["rows"]
    assert typed["after_first_sight_share_of_window"] < 1 == window["share_of_window"]
    assert {one["level"]: one["fewer_than_zstd_3"] for one in rivals}["zstd-3"] == 1


def test_an_empty_input_is_an_error(tmp_path: Path) -> None:
    result = bench("--input", written(tmp_path, []))

    assert result.exit_code == 3
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert error["reason"] == "Config"
    assert "it holds no event" in error["message"]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = Path(written(tmp_path, STRANGE[:2]))
    path.write_text(path.read_text() + "{nonsense\n")

    result = bench("--input", str(path))

    assert result.exit_code == 3
    assert "line 3" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = bench("--input", str(tmp_path / "none.jsonl"))

    assert result.exit_code == 3
    assert "none.jsonl" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]


def test_one_input_has_to_be_chosen() -> None:
    assert bench().exit_code == 2
    assert bench("--input", "a", "--stream", "vm").exit_code == 2


def container(path: Path, parsed: Any, records: list[Any]) -> str:
    with path.open("wb") as file:
        fastavro.writer(file, parsed, records)
    return str(path)


def test_a_container_of_our_changes_gives_changes(tmp_path: Path) -> None:
    line = written(tmp_path, STRANGE)
    changes = [event.change for event in file_source(line).read()]
    batch = {"producer": "p", "changes": changes}
    path = container(tmp_path / "batches.avro", schema("StateBatch"), [batch, batch])

    events = list(file_source(path).read())

    assert [event.entity for event in events] == [one["entity"] for one in STRANGE] * 2
    assert report_of(bench("--input", path))["events"] == 12


def test_a_container_of_a_stranger_gives_its_records(tmp_path: Path) -> None:
    orders = {
        "type": "record",
        "name": "shop.Order",
        "fields": [{"name": "id", "type": "long"}, {"name": "blob", "type": "bytes"}],
    }
    records = [{"id": n, "blob": bytes([n])} for n in range(5)]
    path = container(tmp_path / "orders.avro", orders, records)

    report = report_of(bench("--input", path))

    assert report["events"] == 5
    assert report["first_snapshot"] == []  # nobody knows what an entity is here


READING = {
    "type": "record",
    "name": "site.Reading",
    "fields": [
        {"name": "meter", "type": {"type": "record", "name": "site.Meter", "fields": METER}},
        {"name": "total", "type": "long"},
        {"name": "load", "type": ["null", "double"]},
    ],
}


def readings() -> list[Any]:
    return [
        {"meter": {"id": at % 50, "name": f"m{at % 50}"}, "total": at * 1_000, "load": at % 9 / 10}
        for at in range(2_000)
    ]


def test_a_container_with_a_key_has_entities_and_typed_deltas(tmp_path: Path) -> None:
    path = container(tmp_path / "readings.avro", READING, readings())

    report = report_of(bench("--input", path, "--key", "meter.id", "--batch", "100"))

    assert report["entities"] == 50
    _, typed, *_ = report["rows"]
    assert typed["level"] == "H3 in H4"
    assert typed["share_of_window"] < 0.7
    assert [event.key for event in file_source(path, 2, "meter.name").read()] == [b"m0", b"m1"]


def test_a_key_that_no_record_has_is_named(tmp_path: Path) -> None:
    path = container(tmp_path / "readings.avro", READING, readings()[:3])

    result = bench("--input", path, "--key", "meter.serial")

    assert result.exit_code == 3
    assert "no 'serial'" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]


def test_keys_are_of_containers_and_schemas_of_topics(tmp_path: Path) -> None:
    lines = written(tmp_path, STRANGE)

    assert bench("--input", lines, "--key", "id").exit_code == 3
    assert bench("--stream", "vm", "--key", "id").exit_code == 2
    assert bench("--input", lines, "--schema", "a.avsc").exit_code == 2
    result = bench("--topic", "orders", "--schema", lines)
    assert result.exit_code == 3
    assert "Avro schema" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]


def test_a_container_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = Path(container(tmp_path / "cut.avro", {"type": "string", "name": "s"}, ["abc"] * 999))
    path.write_bytes(path.read_bytes()[:-600])

    result = bench("--input", str(path))

    assert result.exit_code == 3
    assert "Avro container" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]


def test_units_hold_all_events_in_order(tmp_path: Path) -> None:
    events = list(file_source(written(tmp_path, STRANGE)).read())
    packer = Packer(4)
    units = [unit for unit in map(packer.add, events) if unit] + [packer.flush()]

    assert [unit.event_count for unit in units if unit] == [4, 2]
    ranges = [decode_batch(unit.raw)[0] for unit in units if unit]
    assert [part.from_offset for part in ranges] == [0, 1]


def test_a_codec_that_loses_a_byte_is_caught() -> None:
    class Liar(ZstdCodec):
        def decode(self, encoded: bytes) -> bytes:
            return super().decode(encoded)[:-1]

    lines = [json.dumps(STRANGE[0])]
    unit = Packer(1).add(next(document_events(read_jsonl(lines))))
    assert unit is not None
    with pytest.raises(BadUnitError, match="liar"):
        LaneRun(Lane("liar", 1, is_rival=False, make=lambda: Liar(1)), Liar(1)).take([unit])


def test_speeds_have_a_spread_over_passes(tmp_path: Path) -> None:
    report = run_bench(file_source(written(tmp_path, STRANGE)), repeats=2, progress=lambda _: None)

    assert report["repeats"] == 2
    for row in report["rows"]:
        low, high = row["encode_events_per_s_range"]
        assert low <= row["encode_events_per_s"] <= high


def test_a_stream_is_written_as_input(tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    arguments = ["hde", "stream", "synthetic-vm", "--out", str(out), "--events", "30", "--json"]
    found = json.loads(CliRunner().invoke(main, arguments).stdout.splitlines()[-1])

    assert found["events"] == 30
    assert found["floor_bytes"] > 0
    again = file_source(str(out))
    assert sum(1 for _ in again.read()) == 30
    assert again.sha256 == found["sha256"]


def test_blobs_of_files_are_measured_and_compared(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"0123456789abcdef" * 5_000)
    new.write_bytes(b"x" + old.read_bytes())

    report = report_of(bench("--old", str(old), "--new", str(new)))

    ours = [row for row in report["rows"] if not row["rival"]]
    assert [row["level"] for row in ours] == ["H2"]
    assert {row["raw_bytes"] for row in report["rows"]} == {80_001}
    assert bench("--old", str(old)).exit_code == 2
    assert bench("--old", str(old), "--new", str(tmp_path / "none")).exit_code == 3


def test_made_pairs_cover_what_a_blob_can_be() -> None:
    pairs = list(made_pairs(image_bytes=1 << 20))
    report = run_blob_bench(pairs, repeats=1, progress=lambda _: None)

    names = [row["name"] for row in report["rows"] if not row["rival"]]
    assert names == [pair.name for pair in pairs]
    assert pairs[0].old != pairs[0].new
    assert report["rows"][-2]["level"] == "raw"
    assert report["rows"][-2]["send_cpu_s"] > 0
