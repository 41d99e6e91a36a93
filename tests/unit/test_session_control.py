"""What both ends of a session share: heartbeats, silence, goodbye, and what is not allowed."""

import pytest

from schemas.errors import MalformedMessageError, PeerSilentError, UnexpectedMessageError
from schemas.registry import Record
from tests.support.sessions import MS, established, inbound, outbound, tell
from transport.frame import Frame, FrameType, encode_frame
from transport.session.events import HeartbeatDue, HeartbeatReceived, PeerLeft

DIGEST: Record = {"partitions": []}


def test_bytes_to_send_are_handed_over_once() -> None:
    out = outbound()

    assert out.control_to_send()
    assert out.control_to_send() == b""


def test_before_the_handshake_only_silence_is_waited_for() -> None:
    out = outbound()

    assert out.next_timer_ns() == 5_000 * MS
    assert out.handle_timer(4_999 * MS) == []


def test_a_heartbeat_is_due_every_second() -> None:
    out, into = established()

    for end in (out, into):
        assert end.next_timer_ns() == 1_000 * MS
        assert end.handle_timer(999 * MS) == []
        assert end.handle_timer(1_000 * MS) == [HeartbeatDue()]
        assert end.next_timer_ns() == 2_000 * MS


def test_silence_ends_the_session() -> None:
    for end in (*established(), outbound(), inbound()):
        with pytest.raises(PeerSilentError, match="5,000 ms") as caught:
            end.handle_timer(5_000 * MS)
        assert caught.value.is_retryable


def test_whatever_comes_breaks_the_silence() -> None:
    out, into = established()
    out.send_heartbeat(None, 0, 4_000 * MS)
    tell(out, into, 4_000 * MS)
    into.send_heartbeat(None, 0, 4_100 * MS)
    tell(into, out, 4_100 * MS)

    assert into.handle_timer(8_999 * MS) == [HeartbeatDue()]
    assert out.handle_timer(9_099 * MS) == [HeartbeatDue()]
    with pytest.raises(PeerSilentError):
        into.handle_timer(9_000 * MS)


def test_data_breaks_the_silence_too() -> None:
    _, into = established()
    into.hear(4_000 * MS)

    assert into.handle_timer(8_999 * MS) == [HeartbeatDue()]


def test_a_heartbeat_brings_the_digest_and_no_times_before_the_first_echo() -> None:
    out, into = established()
    out.send_heartbeat(DIGEST, 7, 0)

    assert tell(out, into) == [HeartbeatReceived(DIGEST, None, None)]


def test_round_trip_and_clock_difference_come_from_the_echo() -> None:
    out, into = established()
    out.send_heartbeat(None, 0, 100 * MS)
    tell(out, into, 130 * MS)
    # 30 ms there, held for 50 ms, 30 ms back; the peer's wall clock is 1,000 ms ahead.
    into.send_heartbeat(None, 1_180, 180 * MS)

    assert tell(into, out, 210 * MS, 210) == [HeartbeatReceived(None, 60.0, 1_000.0)]


def test_a_goodbye_tells_why() -> None:
    out, into = established()
    out.say_goodbye("the node stops")

    assert tell(out, into) == [PeerLeft("the node stops")]


@pytest.mark.parametrize(
    "kind", [FrameType.HELLO, FrameType.WELCOME, FrameType.ATTACH, FrameType.CHUNK, FrameType.ACK]
)
def test_messages_of_the_wrong_end_or_time_are_not_allowed_inbound(kind: FrameType) -> None:
    _, into = established()

    with pytest.raises(UnexpectedMessageError, match=kind.name):
        into.receive_control(encode_frame(Frame(kind, b"")), 0, 0)


@pytest.mark.parametrize(
    "kind", [FrameType.HELLO, FrameType.WELCOME, FrameType.ATTACH, FrameType.UNIT]
)
def test_messages_of_the_wrong_end_or_time_are_not_allowed_outbound(kind: FrameType) -> None:
    out, _ = established()

    with pytest.raises(UnexpectedMessageError, match=kind.name):
        out.receive_control(encode_frame(Frame(kind, b"")), 0, 0)


@pytest.mark.parametrize("kind", [FrameType.ACK, FrameType.NACK, FrameType.HEARTBEAT])
def test_before_the_handshake_nothing_else_is_allowed(kind: FrameType) -> None:
    for end in (outbound(), inbound()):
        with pytest.raises(UnexpectedMessageError, match=kind.name):
            end.receive_control(encode_frame(Frame(kind, b"")), 0, 0)


def test_a_message_that_does_not_decode_is_malformed() -> None:
    out, _ = established()

    with pytest.raises(MalformedMessageError):
        out.receive_control(encode_frame(Frame(FrameType.ACK, b"")), 0, 0)
