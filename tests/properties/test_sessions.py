"""A session takes units in order or ends, and no peer makes it fail in another way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import PeerRefusedError, ProtocolError, UnexpectedMessageError
from tests.support.sessions import established, frames, inbound, outbound
from tests.support.strategies import chunked
from transport.frame import Frame, FrameType, encode_frame
from transport.messages import message_frame
from transport.session.control import STATE_FLOW
from transport.session.handshake import Greeting

CREDIT = 1 << 20
raws = st.lists(st.binary(max_size=100), min_size=1, max_size=8)
cuts = st.lists(st.integers(0, 10_000), max_size=20)
flags = st.integers(0, (1 << 16) - 1)
longs = st.integers(-(1 << 63), (1 << 63) - 1)
position_lists = st.lists(
    st.fixed_dictionaries({"partition": st.integers(-(1 << 31), (1 << 31) - 1), "offset": longs})
)
digests = st.fixed_dictionaries(
    {
        "partitions": st.lists(
            st.fixed_dictionaries(
                {
                    "partition": st.integers(-(1 << 31), (1 << 31) - 1),
                    "vector": st.lists(
                        st.fixed_dictionaries({"region": st.text(max_size=3), "offset": longs})
                    ),
                    "fingerprint": st.binary(max_size=9),
                    "entity_count": longs,
                }
            ),
            max_size=2,
        )
    }
)
messages = st.one_of(
    st.builds(
        lambda *values: message_frame(
            FrameType.HEARTBEAT,
            dict(
                zip(
                    ("sent_ms", "echo_ms", "echo_delay_ms", "wall_ms", "digest"),
                    values,
                    strict=True,
                )
            ),
        ),
        *([longs] * 4),
        st.none() | digests,
    ),
    st.builds(
        lambda sequence, cursors, credit: message_frame(
            FrameType.ACK, {"sequence": sequence, "cursors": cursors, "credit_bytes": credit}
        ),
        longs,
        position_lists,
        longs,
    ),
    st.builds(
        lambda kind, payload, flag: Frame(kind, payload, flags=flag),
        st.sampled_from(FrameType),
        st.binary(max_size=60),
        flags,
    ),
    st.just(message_frame(FrameType.REFUSAL, {"code": "x", "text": "y"})),
)


@given(raws, cuts)
def test_units_come_out_whole_however_the_bytes_are_chunked(
    sent: list[bytes], places: list[int]
) -> None:
    out, into = established(credit_bytes=CREDIT)
    data = b"".join(map(out.send_unit, sent))

    units = [unit for chunk in chunked(data, places) for unit in into.receive_data(chunk, 0)]

    assert [into.decode(unit) for unit in units] == sent


@given(raws, st.data())
def test_a_frame_lost_repeated_or_out_of_order_is_noticed(
    sent: list[bytes], data: st.DataObject
) -> None:
    out, into = established(credit_bytes=CREDIT)
    whole = frames(b"".join(map(out.send_unit, sent)))
    places = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=10))
    right = 0
    while right < len(places) and places[right] == right:
        right += 1

    for place in places[:right]:
        into.receive_data(encode_frame(whole[place]), 0)
    if right < len(places):
        with pytest.raises(UnexpectedMessageError, match="units come in order"):
            into.receive_data(encode_frame(whole[places[right]]), 0)


@given(st.lists(messages, max_size=5))
def test_whatever_a_peer_says_only_protocol_errors_come_of_it(
    said: list[Frame],
) -> None:
    for end in (*established(), outbound(), inbound()):
        try:
            for frame in said:
                end.receive_control(encode_frame(frame), 0, 0)
        except (ProtocolError, PeerRefusedError):
            pass


@given(st.lists(messages, min_size=1, max_size=3))
def test_whatever_a_connection_begins_with_only_protocol_errors_come_of_it(
    said: list[Frame],
) -> None:
    greeting = Greeting()
    try:
        for frame in said:
            greeting.feed(encode_frame(frame))
    except ProtocolError:
        pass


@given(st.lists(st.tuples(st.binary(max_size=60), flags)))
def test_whatever_comes_as_a_unit_only_protocol_errors_come_of_it(
    said: list[tuple[bytes, int]],
) -> None:
    _, into = established(credit_bytes=CREDIT)
    sequence = 1
    try:
        for payload, flag in said:
            data = encode_frame(Frame(FrameType.UNIT, payload, STATE_FLOW, sequence, flag))
            for unit in into.receive_data(data, 0):
                into.decode(unit)
                sequence += 1
    except ProtocolError:
        pass


@given(st.data())
def test_a_damaged_handshake_is_noticed(data: st.DataObject) -> None:
    hello = bytearray(outbound().control_to_send())
    place = data.draw(st.integers(0, len(hello) - 1))
    hello[place] ^= data.draw(st.integers(1, 255))

    try:
        events = inbound().receive_control(bytes(hello), 0, 0)
    except ProtocolError:
        events = []
    assert events == []
