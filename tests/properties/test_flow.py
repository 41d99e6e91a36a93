"""Whatever happens to units on the way, what comes out is what went in, or an error."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadUnitError
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import HEADER

LIMIT = 1 << 16
# Few letters and repeats: matches far back are what a lost unit would break.
raws = st.one_of(
    st.binary(max_size=200),
    st.text("ab", max_size=400).map(str.encode),
    st.sampled_from([b"abcdefgh" * 50, b"12345678" * 50, bytes(1_000)]),
)
levels = st.sampled_from((0, 1, 3))


def decoded(decoder: FlowDecoder, unit: bytes) -> bytes | None:
    try:
        return decoder.decode(unit)
    except BadUnitError:
        return None


@given(levels, st.lists(st.lists(raws, max_size=8), max_size=4))
def test_units_of_all_epochs_come_back_as_they_went(level: int, epochs: list[list[bytes]]) -> None:
    encoder, decoder = FlowEncoder(FlowSettings(level)), FlowDecoder(LIMIT)
    for units in epochs:
        assert [decoder.decode(encoder.encode(raw)) for raw in units] == units
        encoder.reset()


@given(levels, st.lists(raws, min_size=1, max_size=8), st.data())
def test_units_lost_repeated_or_out_of_order_never_give_other_bytes(
    level: int, sent: list[bytes], data: st.DataObject
) -> None:
    encoder, decoder = FlowEncoder(FlowSettings(level)), FlowDecoder(LIMIT)
    units = [(encoder.encode(raw), raw) for raw in sent]
    shuffled = data.draw(st.lists(st.sampled_from(units), max_size=12))

    for unit, raw in shuffled:
        assert decoded(decoder, unit) in (raw, None)


@given(st.sampled_from((1, 3)), st.integers(64, 2_000), st.integers(0, 1_000))
def test_a_unit_that_refers_to_a_lost_one_is_refused(level: int, size: int, seed: int) -> None:
    noise = Random(seed).randbytes(size)
    encoder, decoder = FlowEncoder(FlowSettings(level)), FlowDecoder(LIMIT)
    decoder.decode(encoder.encode(b"key"))
    lost, refers = encoder.encode(noise), encoder.encode(noise)
    assert len(refers) < len(lost)

    assert decoded(decoder, refers) is None
    assert decoded(decoder, lost) is None


@given(levels, raws, raws, st.data())
def test_a_flipped_or_cut_unit_is_refused_or_still_right(
    level: int, first: bytes, second: bytes, data: st.DataObject
) -> None:
    encoder, decoder = FlowEncoder(FlowSettings(level)), FlowDecoder(LIMIT)
    decoder.decode(encoder.encode(first))
    unit = bytearray(encoder.encode(second))
    if data.draw(st.booleans()):
        del unit[data.draw(st.integers(0, len(unit) - 1)) :]
    else:
        unit[data.draw(st.integers(0, len(unit) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    # Flags that mean nothing and an end that carries nothing may be damaged.
    assert decoded(decoder, bytes(unit)) in (None, second)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 1 << 32), st.binary(max_size=300))
def test_random_units_raise_bad_unit_or_nothing(
    codec: int, flags: int, raw_bytes: int, body: bytes
) -> None:
    head = HEADER.pack(codec % 8, flags, 0, 0, raw_bytes % (1 << 32), 7)

    assert decoded(FlowDecoder(LIMIT), head + body) is None
