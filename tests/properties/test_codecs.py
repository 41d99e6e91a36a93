"""The contract of `transport.hde.codec`, for every codec that stands alone."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadUnitError
from transport.hde.codec import Codec, RawCodec, SameCodec, decode_alone, encode_alone
from transport.hde.unit import Named, body_bytes_max, unit_bytes_max

LIMIT = 1 << 20
BASE = b'{"state":"on","load":17}' * 20
NAMED = Named.of(BASE)
contents = st.one_of(
    st.binary(max_size=400),
    st.sampled_from([b"", BASE, BASE[:100], BASE + b"more", bytes(100_000)]),
    st.builds(lambda at, byte: BASE[:at] + byte + BASE[at + 1 :], st.integers(0, 400), st.binary()),
)

# Codecs that take any content, by how they are made from a base.
MAKERS: dict[str, Callable[[Named], Codec]] = {"raw": lambda _: RawCodec()}
WITH_BASE = [name for name in MAKERS if name != "raw"]


@pytest.mark.parametrize("name", MAKERS)
@given(contents)
def test_what_goes_in_comes_out_and_grows_little(name: str, raw: bytes) -> None:
    codec = MAKERS[name](NAMED)
    body = codec.encode(raw)
    unit = encode_alone(codec, Named.of(raw))

    assert MAKERS[name](NAMED).decode(body, len(raw)) == raw
    assert decode_alone(MAKERS[name](NAMED), unit, LIMIT).content == raw
    assert len(body) <= body_bytes_max(len(raw))
    assert len(unit) <= unit_bytes_max(len(raw))


@pytest.mark.parametrize("name", MAKERS)
@given(contents, st.data())
def test_a_damaged_unit_is_refused(name: str, raw: bytes, data: st.DataObject) -> None:
    codec = MAKERS[name](NAMED)
    unit = bytearray(encode_alone(codec, Named.of(raw)))
    if data.draw(st.booleans()):
        del unit[data.draw(st.integers(0, len(unit) - 1)) :]
    else:
        unit[data.draw(st.integers(0, len(unit) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        assert decode_alone(codec, bytes(unit), LIMIT).content == raw
    except BadUnitError:
        return


def test_nothing_changed_travels_as_a_name() -> None:
    unit = encode_alone(SameCodec(NAMED), NAMED)

    assert len(unit) == len(encode_alone(RawCodec(), Named.of(b""))) + 8
    assert decode_alone(SameCodec(NAMED), unit, LIMIT) == NAMED


@pytest.mark.parametrize("make", [SameCodec, *(MAKERS[name] for name in WITH_BASE)])
def test_another_base_is_refused_by_name(make: Callable[[Named], Codec]) -> None:
    unit = encode_alone(make(NAMED), NAMED)

    with pytest.raises(BadUnitError, match="is not the one we hold"):
        decode_alone(make(Named.of(BASE + b"x")), unit, LIMIT)


def test_another_codec_is_refused_by_name() -> None:
    with pytest.raises(BadUnitError, match="codec 0, we were asked to read SAME"):
        decode_alone(SameCodec(NAMED), encode_alone(RawCodec(), NAMED), LIMIT)


def test_a_unit_above_the_limit_is_refused() -> None:
    with pytest.raises(BadUnitError, match="10 are allowed"):
        decode_alone(RawCodec(), encode_alone(RawCodec(), Named.of(bytes(11))), 10)
