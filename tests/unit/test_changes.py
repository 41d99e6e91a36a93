"""What a change may be: refused ones name the rule, and all regions refuse the same."""

import json
from typing import Any

import pytest

from schemas.changes import (
    DEPTH_MAX,
    DRIFT_MS_MAX,
    ENTITY_ID_BYTES_MAX,
    FieldDelta,
    StateChange,
    check_change,
    check_entity_id,
    check_path,
    dump_document,
    remove_field,
    set_field,
)
from schemas.clocks import STAMP_MAX, pack_stamp
from schemas.errors import ClockAheadError, InvalidChangeError, MalformedEventError
from tests.support.events import APPENDED_MS, change, delete, patch, put

SET_A: FieldDelta = {"path": "/a", "operation": "set", "value": 1}


@pytest.mark.parametrize(
    "one",
    [
        put("e"),
        put("e", '{"a": {"b": [1, 2.5, null, "x"]}}'),
        patch("e", SET_A),
        patch("e", {"path": "/", "operation": "remove", "value": None}),
        patch("e", {"path": "/a", "operation": "set", "value": {"json": "[]"}}),
        delete("e"),
        put("x" * ENTITY_ID_BYTES_MAX),
    ],
)
def test_a_good_change_without_stamp_counts_from_its_append_time(one: StateChange) -> None:
    assert check_change(one, APPENDED_MS) == pack_stamp(APPENDED_MS)


@pytest.mark.parametrize("ahead_ms", [-APPENDED_MS, -1, 0, DRIFT_MS_MAX])
def test_a_stamp_counts_up_to_half_a_second_ahead(ahead_ms: int) -> None:
    stamp = pack_stamp(APPENDED_MS + ahead_ms, 65_535)

    assert check_change(put("e", hybrid_timestamp=stamp), APPENDED_MS) == stamp


def test_a_stamp_further_ahead_is_refused_and_the_message_has_the_numbers() -> None:
    one = put("e", hybrid_timestamp=pack_stamp(APPENDED_MS + 1_501))

    with pytest.raises(ClockAheadError, match=r"1,501 ms ahead .* 500 ms"):
        check_change(one, APPENDED_MS)


@pytest.mark.parametrize("stamp", [-1, STAMP_MAX + 1])
def test_a_stamp_that_is_no_63_bits_is_refused(stamp: int) -> None:
    with pytest.raises(MalformedEventError, match="hybrid_timestamp"):
        check_change(put("e", hybrid_timestamp=stamp), APPENDED_MS)


@pytest.mark.parametrize(
    "one",
    [
        put(""),
        put("x" * (ENTITY_ID_BYTES_MAX + 1)),
        put("é" * (ENTITY_ID_BYTES_MAX // 2 + 1)),
        put("e", None),
        put("e", "[1]"),
        put("e", "{"),
        put("e", '{"a": NaN}'),
        put("e", deltas=[SET_A]),
        patch("e"),
        patch("e", SET_A, document="{}"),
        patch("e", SET_A, {"path": "b", "operation": "set", "value": 1}),
        patch("e", {"path": "", "operation": "set", "value": 1}),
        patch("e", {"path": "/a", "operation": "set", "value": float("nan")}),
        patch("e", {"path": "/a", "operation": "set", "value": float("-inf")}),
        patch("e", {"path": "/a", "operation": "set", "value": {"json": "{"}}),
        patch("e", {"path": "/a", "operation": "remove", "value": 1}),
        delete("e", document="{}"),
        delete("e", deltas=[SET_A]),
    ],
    ids=str,
)
def test_a_change_that_breaks_a_rule_is_malformed(one: StateChange) -> None:
    with pytest.raises(MalformedEventError):
        check_change(one, APPENDED_MS)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "one",
    [
        put("e", f'{{"a": {nested(DEPTH_MAX)}}}'),
        patch("e", {"path": "/a", "operation": "set", "value": {"json": nested(DEPTH_MAX + 1)}}),
        patch("e", {"path": "/a" * (DEPTH_MAX + 1), "operation": "set", "value": 1}),
        put("e", '{"a": 1' + "0" * 5_000 + "}"),
        change("e", operation="put", document='{"a": "\\ud800"}'),
    ],
    ids=["deep document", "deep value", "deep path", "long integer", "lone surrogate"],
)
def test_what_readers_could_not_show_is_refused(one: StateChange) -> None:
    with pytest.raises(MalformedEventError):
        check_change(one, APPENDED_MS)


@pytest.mark.parametrize(
    "one",
    [
        put("e", f'{{"a": {nested(DEPTH_MAX - 1)}}}'),
        put("e", json.dumps({str(i): [i] for i in range(DEPTH_MAX)})),
        put("e", json.dumps({"a": "[" * 1_000})),
        patch("e", {"path": "/a", "operation": "set", "value": {"json": nested(DEPTH_MAX)}}),
        patch("e", {"path": "/a" * DEPTH_MAX, "operation": "set", "value": 1}),
    ],
    ids=["deep document", "wide document", "brackets in text", "deep value", "deep path"],
)
def test_what_is_just_deep_enough_or_only_wide_is_taken(one: StateChange) -> None:
    assert check_change(one, APPENDED_MS)


@pytest.mark.parametrize("value", [None, True, 0, -7, 1.5, "", "é\0", (1 << 63) - 1])
def test_scalars_travel_as_they_are(value: Any) -> None:
    assert set_field("/a", value) == {"path": "/a", "operation": "set", "value": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [({"b": [1]}, '{"b":[1]}'), ([], "[]"), (1 << 63, "9223372036854775808"), ("é", None)],
)
def test_other_values_travel_as_json(value: Any, text: str | None) -> None:
    expected = value if text is None else {"json": text}

    assert set_field("/a", value)["value"] == expected


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, b"x", [float("nan")], "\ud800", {"a": "\ud800"}]
)
def test_a_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidChangeError):
        set_field("/a", value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InvalidChangeError):
        set_field("/a", loop)


def test_a_value_or_path_too_deep_for_readers_is_refused() -> None:
    with pytest.raises(InvalidChangeError, match="nest at most 100"):
        set_field("/a", json.loads(nested(DEPTH_MAX + 1)))
    with pytest.raises(InvalidChangeError, match="nest at most 100"):
        set_field("/a" * (DEPTH_MAX + 1), 1)


def test_a_field_is_removed_by_its_path() -> None:
    assert remove_field("/a/b") == {"path": "/a/b", "operation": "remove", "value": None}


@pytest.mark.parametrize("path", ["", "a", "a/b", None, 7])
def test_a_path_is_a_pointer_to_a_member(path: Any) -> None:
    with pytest.raises(InvalidChangeError, match="JSON Pointer"):
        check_path(path)


@pytest.mark.parametrize("entity", ["", "x" * 1_025, "é" * 513, "\ud800", None, 7, b"x"])
def test_an_entity_needs_a_name(entity: Any) -> None:
    with pytest.raises(InvalidChangeError):
        check_entity_id(entity)


@pytest.mark.parametrize("entity", ["x", "é" * 512, "\0"])
def test_any_short_text_names_an_entity(entity: str) -> None:
    check_entity_id(entity)


def test_a_document_is_written_compact_and_exact() -> None:
    assert dump_document({"a": [1, 2.0], "é": None}) == '{"a":[1,2.0],"é":null}'


@pytest.mark.parametrize("bad", [float("nan"), {1}, b"", "\udfff"])
def test_a_document_that_json_cannot_hold_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidChangeError, match="document"):
        dump_document({"a": bad})
