"""A flow: units refer to those before them, and no wrong byte ever comes out."""

import random

import pytest
import zstandard

from schemas.errors import BadUnitError
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import EPOCH_MASK, FLAG_KEY, HEADER, Level, read_unit_header

NOISE = random.Random(1).randbytes(3_000)


def decoder(raw_bytes_max: int = 1 << 20) -> FlowDecoder:
    return FlowDecoder(raw_bytes_max)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_units_come_back_in_order(level: int) -> None:
    encoder, raws = FlowEncoder(FlowSettings(level)), [b"", NOISE, b"a", NOISE, b"x" * 100_000]
    into = decoder()

    assert [into.decode(encoder.encode(raw)) for raw in raws] == raws


def test_what_went_before_makes_units_small() -> None:
    encoder = FlowEncoder()
    first, second = encoder.encode(NOISE), encoder.encode(NOISE)

    assert len(first) > len(NOISE)
    assert len(second) < 100


def test_level_0_sends_raw() -> None:
    unit = FlowEncoder(FlowSettings(0)).encode(NOISE)

    assert read_unit_header(unit).codec == Level.RAW
    assert unit[HEADER.size :] == NOISE


def test_the_first_unit_of_an_epoch_is_a_key_unit() -> None:
    encoder = FlowEncoder()
    heads = [read_unit_header(encoder.encode(b"x")) for _ in range(2)]
    encoder.reset()
    heads.append(read_unit_header(encoder.encode(b"x")))

    assert [(head.epoch, head.flags) for head in heads] == [(0, FLAG_KEY), (0, 0), (1, FLAG_KEY)]
    assert {head.codec for head in heads} == {Level.WINDOW}


def test_a_new_epoch_refers_to_nothing_before_it() -> None:
    encoder, into = FlowEncoder(), decoder()
    encoder.encode(NOISE)  # lost
    encoder.reset()

    assert into.decode(encoder.encode(NOISE)) == NOISE


def test_epochs_are_counted_modulo_65536() -> None:
    encoder = FlowEncoder(FlowSettings(0))
    encoder.epoch = EPOCH_MASK
    encoder.reset()

    assert read_unit_header(encoder.encode(b"")).epoch == 0


def test_a_unit_without_its_key_unit_is_refused() -> None:
    encoder = FlowEncoder()
    encoder.encode(NOISE)

    with pytest.raises(BadUnitError, match="epoch 0 without its key unit"):
        decoder().decode(encoder.encode(NOISE))


def test_after_a_lost_unit_the_next_is_refused() -> None:
    encoder, into = FlowEncoder(), decoder()
    into.decode(encoder.encode(b"first"))
    encoder.encode(NOISE)

    with pytest.raises(BadUnitError):
        into.decode(encoder.encode(NOISE))


@pytest.mark.parametrize("size", [0, 1, HEADER.size - 1])
def test_a_unit_shorter_than_its_header_is_refused(size: int) -> None:
    with pytest.raises(BadUnitError, match="its header alone has 20"):
        decoder().decode(bytes(size))


def test_an_unknown_codec_is_refused() -> None:
    unit = bytearray(FlowEncoder().encode(b"x"))
    unit[0] = 9

    with pytest.raises(BadUnitError, match="codec 9"):
        decoder().decode(bytes(unit))


def test_a_unit_that_says_it_is_too_large_is_refused_before_it_is_decoded() -> None:
    unit = FlowEncoder(FlowSettings(0)).encode(b"x" * 11)

    with pytest.raises(BadUnitError, match="11 bytes, 10 are allowed"):
        decoder(10).decode(unit)


def test_a_unit_that_grows_beyond_what_it_says_is_stopped() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    unit = HEADER.pack(Level.WINDOW, FLAG_KEY, 0, 0, 1_000, 0) + bomb

    with pytest.raises(BadUnitError, match="not the 1,000"):
        decoder().decode(unit)


@pytest.mark.parametrize("raw_max", [10, 1 << 20], ids=["too large", "damaged"])
def test_after_a_refused_unit_nothing_of_its_epoch_is_decoded(raw_max: int) -> None:
    encoder, into = FlowEncoder(FlowSettings(0)), decoder(raw_max)
    into.decode(encoder.encode(b"first"))
    refused = encoder.encode(b"x" * 20)
    with pytest.raises(BadUnitError):
        into.decode(refused if raw_max == 10 else refused[:-1])

    with pytest.raises(BadUnitError):
        into.decode(encoder.encode(b"next"))
    encoder.reset()
    assert into.decode(encoder.encode(b"anew")) == b"anew"


def test_a_window_larger_than_ours_is_refused() -> None:
    unit = FlowEncoder(FlowSettings(window_log=24)).encode(random.Random(2).randbytes(100))

    with pytest.raises(BadUnitError, match="zstd"):
        decoder().decode(unit)


def test_a_unit_that_comes_twice_is_refused_even_if_it_is_raw() -> None:
    unit, into = FlowEncoder(FlowSettings(0)), decoder()
    into.decode(unit.encode(b"first"))
    second = unit.encode(b"second")
    into.decode(second)

    with pytest.raises(BadUnitError, match="unit 1 came where unit 2 belongs"):
        into.decode(second)


@pytest.mark.parametrize("place", range(HEADER.size))
def test_no_byte_of_the_header_can_be_damaged_unseen(place: int) -> None:
    unit = bytearray(FlowEncoder(FlowSettings(0)).encode(b"raw bytes"))
    unit[place] ^= 0x10

    with pytest.raises(BadUnitError):
        decoder().decode(bytes(unit))
