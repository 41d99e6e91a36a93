"""Frames survive any chunking; damage is named, and nobody's memory grows without bound."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ProtocolError
from tests.support.strategies import chunked
from transport.frame import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameDecoder,
    FrameType,
    encode_frame,
)

frames = st.builds(
    Frame,
    st.sampled_from(FrameType),
    st.binary(max_size=300),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 16) - 1),
)
cuts = st.lists(st.integers(0, 10_000), max_size=20)


@given(st.lists(frames, max_size=6), cuts)
def test_however_bytes_are_chunked_the_same_frames_come_out(
    sent: list[Frame], places: list[int]
) -> None:
    decoder, data = FrameDecoder(), b"".join(map(encode_frame, sent))

    received = [frame for chunk in chunked(data, places) for frame in decoder.feed(chunk)]

    assert received == sent


@given(st.lists(frames, min_size=1, max_size=4), cuts, st.data())
def test_of_damaged_bytes_only_whole_frames_before_the_damage_come_out(
    sent: list[Frame], places: list[int], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(map(encode_frame, sent)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    decoder, received = FrameDecoder(), []

    is_noticed = False
    for chunk in chunked(bytes(whole), places):
        try:
            received += decoder.feed(chunk)
        except ProtocolError:
            is_noticed = True
            break

    ends = [sum(HEADER_BYTES + len(f.payload) for f in sent[: i + 1]) for i in range(len(sent))]
    damaged = next(index for index, end in enumerate(ends) if place < end)
    assert received == sent[: len(received)]
    assert len(received) <= damaged
    # A length that became larger may still be waited for, but then nothing false came out.
    assert is_noticed or decoder.feed(b"") == []


@given(st.lists(st.binary(max_size=2_000), max_size=20))
def test_random_bytes_end_in_a_protocol_error_and_never_fill_the_memory(
    chunks: list[bytes],
) -> None:
    decoder = FrameDecoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            assert len(decoder._buffer) <= HEADER_BYTES + PAYLOAD_BYTES_MAX + len(chunk)
    except ProtocolError:
        pass
    else:
        assert sum(map(len, chunks)) < HEADER_BYTES
