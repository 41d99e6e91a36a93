"""The differ patches only what the log is known to hold, and only where that pays."""

from typing import Any

from connectors.differ import Differ
from schemas.changes import StateChange, dump_document
from schemas.patching import diff_texts, patched_text
from tests.support.events import APPENDED_MS, delete, patch, put

STAMP = APPENDED_MS << 16


def document(number: int, **more: Any) -> str:
    return dump_document({"n": number, "padding": "x" * 200, **more})


def changed(number: int, entity: str = "e") -> StateChange:
    return put(entity, document(number), hybrid_timestamp=STAMP + number)


def sent(differ: Differ, *changes: StateChange) -> list[StateChange]:
    made = differ.convert(changes)
    differ.stored()
    return made


def test_the_first_is_whole_and_names_itself_and_the_next_names_it() -> None:
    differ = Differ(10_000)

    (first,) = sent(differ, changed(1))
    (second,) = sent(differ, changed(2))

    assert (first["operation"], first["base_version"]) == ("put", STAMP + 1)
    assert (second["operation"], second["base_version"]) == ("patch", STAMP + 1)
    assert second["document"] is None
    assert second["deltas"] == [{"path": "/n", "operation": "set", "value": 2}]
    assert second["hybrid_timestamp"] == STAMP + 2


def test_two_in_one_batch_build_on_each_other() -> None:
    made = sent(Differ(10_000), changed(1), changed(2), changed(3))

    assert [one["operation"] for one in made] == ["put", "patch", "patch"]
    assert [one["base_version"] for one in made] == [STAMP + 1, STAMP + 1, STAMP + 2]


def test_nothing_builds_on_a_batch_that_failed() -> None:
    differ = Differ(10_000)
    sent(differ, changed(1))
    differ.convert([changed(2)])
    differ.failed()

    (next_one,) = sent(differ, changed(3))

    assert next_one["operation"] == "put"


def test_a_delete_ends_the_chain_and_a_patch_of_the_callers_does_not() -> None:
    differ = Differ(10_000)
    sent(differ, changed(1))
    own = patch("e", {"path": "/n", "operation": "set", "value": 9})
    (same,) = sent(differ, own)
    (chained,) = sent(differ, changed(2))
    (gone,) = sent(differ, delete("e"))
    (whole,) = sent(differ, changed(3))

    assert same == own
    assert chained["operation"] == "patch"
    assert gone["operation"] == "delete"
    assert whole["operation"] == "put"


def test_what_changed_as_a_whole_travels_whole() -> None:
    differ = Differ(10_000)
    sent(differ, changed(1))

    (other,) = sent(differ, put("e", dump_document({"y" * 100: 1}), hybrid_timestamp=STAMP + 5))

    assert other["operation"] == "put"


def test_memory_is_bounded_and_the_longest_unused_goes() -> None:
    size = len(document(1))
    differ = Differ(2 * size)
    sent(differ, changed(1, "a"), changed(1, "b"), changed(2, "a"), changed(1, "c"))

    assert differ.known("b") is None
    assert differ.known("a") is not None
    (after,) = sent(differ, changed(3, "b"))
    assert after["operation"] == "put"


def test_a_document_larger_than_the_memory_is_not_remembered() -> None:
    differ = Differ(100)

    assert sent(differ, changed(1))[0].get("base_version") is None
    assert differ.known("e") is None


def test_numbers_that_are_equal_and_written_differently_are_not_the_same() -> None:
    base = '{"a":1,"b":true,"c":[1]}'
    text = '{"a":1.0,"b":1,"c":[1.0]}'
    deltas = diff_texts(base, text)

    assert deltas is not None
    assert patched_text(base, deltas) == text


def test_another_order_of_members_or_no_change_at_all_has_no_deltas() -> None:
    assert diff_texts('{"a":1,"b":2}', '{"b":2,"a":1}') is None
    assert diff_texts('{"a":1}', '{"a":1}') is None
