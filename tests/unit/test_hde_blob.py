"""Blobs: who is chosen for what, and how few bytes it needs at least."""

import json
import random

import pytest

from schemas.errors import BadUnitError
from transport.hde.blob import PAGE_BYTES, choose_codec, decode_blob, encode_blob
from transport.hde.unit import NOTHING, Level, Named, read_unit_header

DICE = random.Random(1)
IMAGE = DICE.randbytes(10 << 20)


def document(size: int) -> list[str]:
    dice = random.Random(size)
    lines: list[str] = []
    while sum(map(len, lines[-1:])) + len(lines) * 60 < size:
        lines.append(json.dumps({"id": dice.getrandbits(64), "name": f"node-{len(lines)}"}))
    return lines


def edited(lines: list[str]) -> bytes:
    new = list(lines)
    new[3] = '{"gone": true}'
    new.insert(len(new) // 2, '{"fresh": 1}')
    return "\n".join(new).encode()


# The trap: a level-1 table sized for the level forgets an old copy larger than itself.
@pytest.mark.parametrize("size", [1_000, 131_072, 262_144, 1 << 20, 2 << 20, 4 << 20, 9 << 20])
def test_a_few_edits_cost_a_few_bytes_at_every_size(size: int) -> None:
    lines = document(size)
    old, new = "\n".join(lines).encode(), edited(lines)
    unit = encode_blob(Named.of(new), Named.of(old))

    assert read_unit_header(unit).codec == Level.PREFIX
    assert len(unit) < 120 + size // 2_000
    assert decode_blob(unit, 1 << 24, Named.of(old)) == Named.of(new)


def test_dirty_pages_of_an_image() -> None:
    new = bytearray(IMAGE)
    for page in range(0, len(new) // PAGE_BYTES, 50):
        new[page * PAGE_BYTES + 5] ^= 1
    unit = encode_blob(Named.of(bytes(new)), Named.of(IMAGE))

    assert read_unit_header(unit).codec == Level.PAGES
    assert len(unit) < len(new) / 1_000


def test_an_image_that_shifted_needs_the_prefix() -> None:
    new = IMAGE[:4_000_000] + b"inserted" * 10 + IMAGE[4_000_000:]
    unit = encode_blob(Named.of(new), Named.of(IMAGE))

    assert read_unit_header(unit).codec == Level.PREFIX
    assert len(unit) < len(new) / 500


def test_the_same_again_is_a_header() -> None:
    unit = encode_blob(Named.of(IMAGE), Named.of(IMAGE))

    assert read_unit_header(unit).codec == Level.SAME
    assert len(unit) < 40


@pytest.mark.parametrize("base", [NOTHING, Named.of(DICE.randbytes(9 << 20))])
def test_what_does_not_shrink_travels_as_it_is(base: Named) -> None:
    assert choose_codec(IMAGE, base).level == Level.RAW
    assert len(encode_blob(Named.of(IMAGE), base)) <= len(IMAGE) * 1.005


def test_a_small_one_that_does_not_shrink_grows_by_its_header_only() -> None:
    raw = DICE.randbytes(5_000)
    unit = encode_blob(Named.of(raw))

    assert read_unit_header(unit).codec == Level.RAW
    assert len(unit) <= 5_000 + 20


def test_a_wrong_copy_is_named() -> None:
    lines = document(50_000)
    unit = encode_blob(Named.of(edited(lines)), Named.of("\n".join(lines).encode()))

    with pytest.raises(BadUnitError, match=r"base .* is not the one we hold"):
        decode_blob(unit, 1 << 20, Named.of(b"another copy"))
    with pytest.raises(BadUnitError, match="is not the one we hold"):
        decode_blob(unit, 1 << 20)


def test_a_blob_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(BadUnitError, match="are allowed"):
        decode_blob(encode_blob(Named.of(bytes(2_000))), 1_999)


def test_a_unit_of_a_flow_is_no_blob() -> None:
    unit = bytearray(encode_blob(Named.of(b"abc" * 100)))
    unit[0] = Level.WINDOW
    with pytest.raises(BadUnitError, match="codec 4"):
        decode_blob(bytes(unit), 1_000)


def test_a_copy_under_a_false_name_gives_no_object() -> None:
    lines = document(50_000)
    old = Named.of("\n".join(lines).encode())
    unit = encode_blob(Named.of(edited(lines)), old)

    with pytest.raises(BadUnitError, match=r"decode|not the"):
        decode_blob(unit, 1 << 20, Named(old.content[::-1], old.name))
    with pytest.raises(BadUnitError, match="not the"):
        decode_blob(encode_blob(old, old), 1 << 20, Named(old.content[::-1], old.name))


def test_an_object_under_a_false_name_is_refused_by_its_reader() -> None:
    with pytest.raises(BadUnitError, match="not the"):
        decode_blob(encode_blob(Named(IMAGE, 7)), 1 << 24)
