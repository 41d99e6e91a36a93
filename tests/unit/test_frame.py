"""Frames: the header says what comes, and nothing damaged passes."""

import struct

import pytest
import xxhash

from schemas.errors import BadFrameError, ChecksumError, FrameTooLargeError
from transport.amst.decoder import StreamDecoder
from transport.amst.piece import Piece
from transport.amst.traffic import Traffic
from transport.frame import (
    FLAG_LAST,
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameDecoder,
    FrameType,
    Header,
    decode_header,
    encode_frame,
    encode_header,
)

UNIT = Frame(FrameType.UNIT, b"payload", flow=7, sequence=1 << 40, flags=0)


def with_check(header: bytes) -> bytes:
    """Make the header check right again."""
    check = xxhash.xxh3_64_intdigest(header[:6] + b"\0\0" + header[8:32]) & 0xFFFF
    return header[:6] + check.to_bytes(2, "big") + header[8:]


def test_the_layout_is_the_documented_one() -> None:
    data = encode_frame(UNIT)

    magic, version, kind, flags, _, flow, size, sequence, digest = struct.unpack(
        "!2sBBHHIIQQ", data[:32]
    )
    assert (magic, version, kind, flags) == (b"DW", 1, FrameType.UNIT, 0)
    assert (flow, size, sequence) == (7, 7, 1 << 40)
    assert digest == xxhash.xxh3_64_intdigest(b"payload")
    assert data == with_check(data)
    assert data[32:] == b"payload"


@pytest.mark.parametrize(
    "frame",
    [
        UNIT,
        Frame(FrameType.GOODBYE, b""),
        Frame(FrameType.UNIT, b"x" * PAYLOAD_BYTES_MAX, 0xFFFFFFFF, (1 << 64) - 1, 0xFFFF),
    ],
    ids=["unit", "empty", "largest"],
)
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    assert FrameDecoder().feed(encode_frame(frame)) == [frame]


def test_a_frame_is_the_last_of_its_unit_unless_it_says_otherwise() -> None:
    assert Frame(FrameType.UNIT, b"").flags == FLAG_LAST


def test_half_a_frame_is_no_error_and_no_frame() -> None:
    decoder, data = FrameDecoder(), encode_frame(UNIT)

    assert [decoder.feed(data[:10]), decoder.feed(data[10:35]), decoder.feed(b"")] == [[], [], []]
    assert decoder.feed(data[35:]) == [UNIT]


def test_a_payload_larger_than_a_frame_is_not_encoded() -> None:
    with pytest.raises(AssertionError):
        encode_frame(Frame(FrameType.UNIT, b"x" * (PAYLOAD_BYTES_MAX + 1)))


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: example.org\r\n", bytes(32)])
def test_strangers_are_told_that_they_do_not_speak_our_protocol(data: bytes) -> None:
    with pytest.raises(BadFrameError, match="does the peer speak DWCP"):
        FrameDecoder().feed(data)


def test_another_layout_is_refused() -> None:
    data = bytearray(encode_frame(UNIT))
    data[2] = 2

    with pytest.raises(BadFrameError, match="version 1"):
        FrameDecoder().feed(with_check(bytes(data)))


def test_an_unknown_type_is_refused() -> None:
    data = bytearray(encode_frame(UNIT))
    data[3] = 200

    with pytest.raises(BadFrameError):
        FrameDecoder().feed(with_check(bytes(data)))


@pytest.mark.parametrize("bit", range(HEADER_BYTES * 8))
def test_each_flipped_bit_of_a_header_is_noticed(bit: int) -> None:
    data = bytearray(encode_frame(UNIT))
    data[bit // 8] ^= 1 << bit % 8

    with pytest.raises((BadFrameError, ChecksumError)):
        FrameDecoder().feed(bytes(data))


def test_a_flipped_bit_of_a_payload_is_noticed() -> None:
    data = bytearray(encode_frame(UNIT))
    data[-1] ^= 1

    with pytest.raises(ChecksumError, match="UNIT"):
        FrameDecoder().feed(bytes(data))


def test_a_frame_over_the_limit_is_refused_before_its_payload_comes() -> None:
    data = encode_frame(Frame(FrameType.UNIT, b"x" * 101))

    with pytest.raises(FrameTooLargeError, match="101 bytes, 100 are allowed"):
        FrameDecoder(payload_bytes_max=100).feed(data[:HEADER_BYTES])


def test_under_tls_a_unit_has_no_digest_and_a_chunk_keeps_its_own() -> None:
    unit = Piece((FrameType.UNIT, FLAG_LAST, 1, 0), Traffic.STATE, b"payload", 1)
    chunk = Piece((FrameType.CHUNK, FLAG_LAST, 16, 0), Traffic.BULK, b"payload", 7, lambda: 5)
    kinds = [decode_header(piece.header(is_hashed=False)).digest for piece in (unit, chunk)]
    plain = decode_header(unit.header()).digest

    assert kinds == [0, 5]
    assert plain == xxhash.xxh3_64_intdigest(b"payload")


@pytest.mark.parametrize("size", [7, 20_000])
def test_a_reader_under_tls_checks_chunks_only(size: int) -> None:
    payload = bytes(size)
    unit, chunk = (
        encode_header(Header(kind, FLAG_LAST, 1, size, 0, 0)) + payload
        for kind in (FrameType.UNIT, FrameType.CHUNK)
    )

    assert len(StreamDecoder(is_hashed=False).feed(unit)) == 1
    for decoder, data in ((StreamDecoder(is_hashed=False), chunk), (StreamDecoder(), unit)):
        with pytest.raises(ChecksumError):
            decoder.feed(data)
