"""A session takes units in order or ends, and no peer makes it fail in another way."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import PeerRefusedError, ProtocolError
from tests.support.sessions import established, inbound, outbound
from transport.frame import Frame, FrameType, encode_frame
from transport.messages import message_frame
from transport.session.handshake import Greeting

CREDIT = 1 << 20
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


@given(st.lists(st.binary(max_size=60)))
def test_whatever_comes_as_a_unit_only_protocol_errors_come_of_it(said: list[bytes]) -> None:
    _, into = established(credit_bytes=CREDIT)
    try:
        for payload in said:
            into.decode(into.take_unit(payload))
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
