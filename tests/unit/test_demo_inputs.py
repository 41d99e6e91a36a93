"""JSON lines are read strictly; the generator repeats itself and keeps its promises."""

import gzip
import io
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from dwcp.demo.generator import Kind, generate
from dwcp.demo.inputs import ENTITY_BYTES_MAX, EntityDocument, read_jsonl
from schemas.errors import ConfigError, InvalidChangeError

REGIONS = ("ams", "iad", "sin")
GOOD: dict[str, Any] = {"time_ms": 5, "entity": "vm-1", "type": "vm", "document": {"a": 1}}


def line(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


def test_a_line_becomes_a_change() -> None:
    (change,) = read_jsonl([line(region="ams", colour="ignored")])

    assert change == EntityDocument(5, "vm-1", "vm", {"a": 1}, "ams", None)


def test_null_deletes_blank_lines_are_skipped_and_order_is_kept() -> None:
    lines = [line(time_ms=9, document=None), "\n", "  \r\n", line(time_ms=-1, region=None)]

    changes = list(read_jsonl(lines))

    assert [(one.time_ms, one.document) for one in changes] == [(9, None), (-1, {"a": 1})]


def test_big_integers_and_exact_floats_survive() -> None:
    document = {"counter": 2**80 + 1, "share": 0.1, "tiny": 5e-324, "minus": -(2**63)}

    (change,) = read_jsonl([line(time_ms=2**70, document=document)])

    assert change.time_ms == 2**70
    assert change.document == document


@pytest.mark.parametrize(
    ("bad", "field", "says"),
    [
        ("{", "line", "not JSON at character 2"),
        ("[1]", "line", "one JSON object"),
        ("null", "line", "one JSON object"),
        (line() + "x", "line", "not JSON"),
        (json.dumps({**GOOD, "time_ms": None}), "time_ms", "give an integer"),
        (line(time_ms=1.0), "time_ms", "give an integer"),
        (line(time_ms=True), "time_ms", "True"),
        (line(time_ms="1"), "time_ms", "'1'"),
        (line(entity=""), "entity", "at least one character"),
        (line(entity=7), "entity", "7"),
        (line(entity="é" * (ENTITY_BYTES_MAX // 2) + "x"), "entity", "1,024 bytes"),
        (line(entity="\ud800"), "line", "surrogate"),
        (line(document={"a": ["\udfff"]}), "line", "surrogate"),
        ('{"entity": "\ud800"}', "line", "not UTF-8"),
        (line(type=""), "type", "at least one character"),
        (line(document=[]), "document", "an object, or null"),
        (line(document="x"), "document", "an object, or null"),
        (line(region=""), "region", "leave the field out"),
        (line(region=1), "region", "leave the field out"),
        (line(document={"a": float("nan")}), "number", "NaN"),
        (line(document={"a": float("-inf")}), "number", "-Infinity"),
        (line(time_ms=0).replace("0", "1e999"), "number", "1e999"),
        (line(time_ms=0).replace("0", "1" * 5_000), "line", "make it smaller"),
        (line(document=0).replace("0", "[" * 99_999), "line", "make it smaller"),
    ],
)
def test_a_bad_line_is_refused_with_field_value_line_and_remedy(
    bad: str, field: str, says: str
) -> None:
    with pytest.raises(InvalidChangeError) as caught:
        list(read_jsonl([line(), "", bad]))

    assert caught.value.field == field
    assert "line 3: " in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["time_ms", "entity", "type", "document"])
def test_a_missing_field_is_named(name: str) -> None:
    fields = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(InvalidChangeError, match=f"{name} = .*line 1: the field is missing"):
        list(read_jsonl([json.dumps(fields)]))


def test_an_entity_of_exactly_the_limit_is_read() -> None:
    (change,) = read_jsonl([line(entity="é" * (ENTITY_BYTES_MAX // 2))])

    assert len(change.entity.encode()) == ENTITY_BYTES_MAX


def test_files_plain_and_compressed_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + line() + "\n" + line(entity="vm-\u2028-2") + "\n"
    plain, packed = tmp_path / "in.jsonl", tmp_path / "in.jsonl.gz"
    plain.write_text(text, encoding="utf-8")
    packed.write_bytes(gzip.compress(text.encode()))

    assert [one.entity for one in read_jsonl(plain)] == ["vm-1", "vm-\u2028-2"]
    assert list(read_jsonl(str(packed))) == list(read_jsonl(plain))


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = io.TextIOWrapper(io.BytesIO(line().encode() + b"\n"))
    monkeypatch.setattr(sys, "stdin", typed)

    assert [one.entity for one in read_jsonl("-")] == ["vm-1"]


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(line().encode() + b'\n{"entity": "\xe9"}\n')

    with pytest.raises(InvalidChangeError, match="line 2: not UTF-8"):
        list(read_jsonl(path))


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    cut, never = tmp_path / "cut.gz", tmp_path / "never.gz"
    cut.write_bytes(gzip.compress((line() + "\n").encode() * 9_000)[:-40])
    never.write_bytes(b"plain text")

    for path in (cut, never):
        with pytest.raises(InvalidChangeError, match="gzip stream breaks off"):
            list(read_jsonl(path))


def test_a_file_that_is_not_there_is_a_setting_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give a file that can be read"):
        list(read_jsonl(tmp_path / "absent.jsonl"))


@pytest.mark.parametrize("kind", ["documents", "patches"])
def test_the_same_seed_makes_the_same_changes(kind: Kind) -> None:
    first, second, other = (list(generate(kind, 3_000, REGIONS, seed)) for seed in (7, 7, 8))

    assert first == second
    assert first != other
    assert len(first) == 3_000


def test_documents_handed_out_are_never_changed_afterwards() -> None:
    items, texts = [], []
    for item in generate("documents", 3_000, REGIONS, seed=3):
        items.append(item)
        texts.append(json.dumps(item.document, allow_nan=False))

    assert [json.dumps(item.document) for item in items] == texts


@pytest.mark.parametrize("kind", ["documents", "patches"])
def test_an_entity_is_born_with_a_document_and_stays_deleted(kind: Kind) -> None:
    alive: set[str] = set()
    dead: set[str] = set()
    for item in generate(kind, 20_000, REGIONS, seed=1):
        assert item.entity not in dead
        if item.document is None and item.patch is None:
            alive.remove(item.entity)
            dead.add(item.entity)
        elif item.patch is None:
            assert kind == "documents" or item.entity not in alive
            alive.add(item.entity)
        else:
            assert kind == "patches"
            assert item.entity in alive

    assert len(alive) > 400
    assert dead


def test_patches_set_two_to_five_fields_that_the_document_has() -> None:
    documents: dict[str, dict[str, Any]] = {}
    for item in generate("patches", 20_000, REGIONS, seed=2):
        if item.document is not None:
            documents[item.entity] = item.document
        for pointer in item.patch or {}:
            *way, last = (part.replace("~1", "/") for part in pointer.split("/")[1:])
            parent = documents[item.entity]
            for step in way:
                parent = parent[step]
            assert last in parent
        assert item.patch is None or 2 <= len(item.patch) <= 5


def test_the_mix_is_six_vms_to_three_pods_to_one_node() -> None:
    counts = Counter(item.entity_type for item in generate("patches", 20_000, REGIONS, seed=4))

    assert counts["vm"] / 20_000 == pytest.approx(0.6, abs=0.02)
    assert counts["pod"] / 20_000 == pytest.approx(0.3, abs=0.02)
    assert counts["node"] / 20_000 == pytest.approx(0.1, abs=0.02)


def test_five_percent_of_changes_meet_a_change_of_another_region() -> None:
    items = list(generate("documents", 20_000, REGIONS, seed=5))
    conflict_count = sum(
        one.entity == two.entity and one.region != two.region and one.time_ms == two.time_ms
        for one, two in pairwise(items)
    )

    assert conflict_count / 20_000 == pytest.approx(0.05, abs=0.01)
    assert {item.region for item in items} == set(REGIONS)
    assert [item.time_ms for item in items] == sorted(item.time_ms for item in items)


def test_one_region_has_no_conflicts_and_no_changes_are_fine() -> None:
    assert {item.region for item in generate("patches", 500, ("solo",), seed=1)} == {"solo"}
    assert list(generate("patches", 0, REGIONS, seed=1)) == []


def test_documents_have_the_sizes_of_real_ones() -> None:
    sizes: dict[str, list[int]] = {"vm": [], "node": [], "pod": []}
    for item in generate("documents", 2_000, REGIONS, seed=6):
        if item.document is not None:
            text = json.dumps(item.document, separators=(",", ":"))
            sizes[item.entity_type].append(len(text))

    means = {name: sum(values) / len(values) for name, values in sizes.items()}
    assert means == pytest.approx({"vm": 2_400, "node": 5_800, "pod": 3_200}, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "change_count", "region_names", "field"),
    [
        ("deltas", 1, REGIONS, "kind"),
        ("patches", -1, REGIONS, "change_count"),
        ("patches", 1, (), "region_names"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(
    kind: str, change_count: int, region_names: tuple[str, ...], field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(cast("Kind", kind), change_count, region_names, seed=1)

    assert caught.value.field == field
