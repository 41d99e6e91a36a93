"""Whatever two copies of an object look like, the peer gets the new one or a named error."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadUnitError
from transport.hde.blob import (
    PAGE_BYTES,
    PagesCodec,
    PrefixCodec,
    choose_codec,
    decode_blob,
    encode_blob,
)
from transport.hde.codec import Codec, decode_alone, encode_alone
from transport.hde.unit import Level, Named, unit_bytes_max

RAW_BYTES_MAX = 1 << 26


class Blob(bytes):
    """Bytes that a failing test does not print."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes {self[:16].hex()}...>"


contents = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda seed, size, letters: Blob(random.Random(seed).choices(range(letters), k=size)),
        st.integers(0, 99),
        st.sampled_from([1, 4_095, 4_096, 4_097, 40_000, 200_000]),
        st.sampled_from([1, 4, 256]),
    ),
)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An old copy, and a new one that is like it: bytes replaced, inserted, cut off, appended."""
    old = draw(contents)
    new = bytearray(old)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, max(len(new), 1)))
        piece = draw(st.binary(max_size=50))
        end = at + draw(st.sampled_from([0, len(piece), 5_000]))
        new[at:end] = piece
    return old, Blob(new)


@given(edited())
def test_an_edited_object_comes_back(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    unit = encode_blob(Named.of(new), Named.of(old))

    assert decode_blob(unit, RAW_BYTES_MAX, Named.of(old)) == Named.of(new)
    assert len(unit) <= unit_bytes_max(len(new))


@given(contents, contents, st.sampled_from([PrefixCodec, PagesCodec]))
def test_every_codec_takes_any_two_contents(
    old: bytes, new: bytes, make: type[PrefixCodec | PagesCodec]
) -> None:
    codec: Codec = make(Named.of(old))
    body = codec.encode(new)

    assert codec.decode(body, len(new)) == new
    for lie in (0, len(new) // 2, len(new) + PAGE_BYTES):
        with contextlib.suppress(BadUnitError):  # a unit's hash catches what this lets through
            assert len(codec.decode(body, lie)) <= lie


@settings(max_examples=300)
@given(edited(), st.data())
def test_a_damaged_unit_never_gives_a_wrong_object(
    pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    old, new = pair
    unit = bytearray(encode_blob(Named.of(new), Named.of(old)))
    kind = data.draw(st.sampled_from(["flip", "cut", "grow"]))
    if kind == "flip":
        bit = data.draw(st.integers(0, len(unit) * 8 - 1))
        unit[bit // 8] ^= 1 << bit % 8
    elif kind == "cut":
        del unit[data.draw(st.integers(0, len(unit) - 1)) :]
    else:
        unit += data.draw(st.binary(min_size=1, max_size=9))

    try:
        found, name = decode_blob(bytes(unit), RAW_BYTES_MAX, Named.of(old))
    except BadUnitError:
        return
    assert (found, name) == Named.of(new), "a bit that no decoder looks at"


@given(edited(), contents)
def test_a_unit_against_another_copy_is_refused(pair: tuple[bytes, bytes], other: bytes) -> None:
    old, new = pair
    unit = encode_blob(Named.of(new), Named.of(old))
    try:
        found, _ = decode_blob(unit, RAW_BYTES_MAX, Named.of(other))
    except BadUnitError:
        return
    # Only what needed no old copy, or had the same one, may be read.
    assert found == new
    assert other == old or choose_codec(new, Named.of(old)).base == 0 or unit[0] == Level.RAW


@given(st.binary(max_size=200), st.sampled_from([PrefixCodec, PagesCodec]))
def test_a_bomb_is_stopped(body: bytes, make: type[PrefixCodec | PagesCodec]) -> None:
    bomb = PrefixCodec().encode(bytes(1 << 26)) + body
    codec: Codec = make(Named.of(b""))
    with pytest.raises(BadUnitError):
        codec.decode(bomb, 1_000)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 9 << 20, 32 << 20])
@pytest.mark.parametrize("shift", [0, 777])
def test_all_sizes_up_to_the_largest(size: int, shift: int) -> None:
    old = random.Random(size).randbytes(size)
    new = old[: size // 2] + bytes(shift) + old[size // 2 :]

    for codec in (PrefixCodec(Named.of(old)), PagesCodec(Named.of(old))):
        unit = encode_alone(codec, Named.of(new))
        assert decode_alone(codec, unit, RAW_BYTES_MAX).content == new
    assert decode_blob(
        encode_blob(Named.of(new), Named.of(old)), RAW_BYTES_MAX, Named.of(old)
    ) == Named.of(new)
