"""Who may come in, and how a connection begins."""

from dataclasses import replace

import pytest

from schemas.errors import ChecksumError, PeerRefusedError, UnexpectedMessageError
from tests.support.sessions import AMS, IAD, TOKEN, frames, inbound, outbound, tell
from transport.frame import Frame, FrameType, encode_frame
from transport.messages import message_frame, read_message
from transport.session.events import Established, HelloReceived, Identity, PeerLeft
from transport.session.handshake import (
    UNKNOWN_SESSION,
    Greeting,
    attached,
    check_attached,
    unknown_session,
)

GOODBYE = encode_frame(message_frame(FrameType.GOODBYE, {"text": "bye"}))


def test_a_handshake_carries_cursors_and_credit() -> None:
    out, into = outbound(), inbound()

    assert tell(out, into) == [
        HelloReceived("ams", "ams-1", frozenset({0, 1}), config_differs=False)
    ]
    assert into.peer_region == "ams"
    assert not into.is_established
    into.welcome({0: 5, 1: 0})
    assert tell(into, out) == [Established("iad", "iad-1", {0: 5, 1: 0}, config_differs=False)]
    assert out.is_established
    assert into.is_established
    assert out.token == TOKEN
    assert out.has_credit


def test_another_configuration_is_told_and_does_no_harm() -> None:
    out, into = outbound(replace(AMS, config_hash="other")), inbound()

    assert tell(out, into) == [
        HelloReceived("ams", "ams-1", frozenset({0, 1}), config_differs=True)
    ]
    into.welcome({})
    assert tell(into, out) == [Established("iad", "iad-1", {}, config_differs=True)]


def test_only_partitions_that_both_nodes_hold_are_shipped() -> None:
    out = outbound(replace(AMS, partition_count=4, partitions=(0, 2, 3)))
    into = inbound(replace(IAD, partition_count=4, partitions=(1, 2, 3)))

    assert tell(out, into) == [
        HelloReceived("ams", "ams-1", frozenset({2, 3}), config_differs=False)
    ]
    with pytest.raises(AssertionError, match="not shared"):
        into.welcome({0: 0})
    into.welcome({2: 7, 3: 0})
    assert tell(into, out) == [Established("iad", "iad-1", {2: 7, 3: 0}, config_differs=False)]


def test_a_peer_that_wants_what_we_do_not_hold_breaks_the_protocol() -> None:
    out, into = outbound(replace(AMS, partitions=(0,))), inbound()
    into.receive_control(outbound().control_to_send(), 0, 0)
    into.welcome({0: 0, 1: 0})

    with pytest.raises(UnexpectedMessageError, match=r"\[0, 1\]: not ours"):
        tell(into, out)


@pytest.mark.parametrize(
    ("identity", "target", "code"),
    [
        (replace(AMS, cluster_id="other"), "iad", "cluster_id"),
        (replace(AMS, region="iad"), "iad", "region_equal"),
        (AMS, "sin", "region_target"),
        (replace(AMS, partition_count=3), "iad", "partition_count"),
    ],
)
def test_a_peer_that_breaks_a_rule_is_refused_and_both_sides_know_which(
    identity: Identity, target: str, code: str
) -> None:
    out, into = outbound(identity, target), inbound()

    with pytest.raises(PeerRefusedError) as here:
        tell(out, into)
    with pytest.raises(PeerRefusedError) as there:
        tell(into, out)
    assert here.value.reason_code == there.value.reason_code == code
    assert str(here.value) == str(there.value)
    assert not there.value.is_retryable


@pytest.mark.parametrize(("low", "high"), [(2, 3), (0, 0)])
def test_a_peer_that_speaks_no_version_of_ours_is_refused(low: int, high: int) -> None:
    (hello,) = frames(outbound().control_to_send())
    record = read_message(hello) | {"protocol_min": low, "protocol_max": high}
    into = inbound()

    with pytest.raises(PeerRefusedError, match="upgrade the older side"):
        into.receive_control(encode_frame(message_frame(FrameType.HELLO, record)), 0, 0)


def test_a_newer_peer_that_still_speaks_our_version_is_let_in() -> None:
    (hello,) = frames(outbound().control_to_send())
    record = read_message(hello) | {"protocol_min": 1, "protocol_max": 9}
    hello_of_9 = encode_frame(message_frame(FrameType.HELLO, record))

    assert len(inbound().receive_control(hello_of_9, 0, 0)) == 1


def test_an_answer_from_another_region_is_refused() -> None:
    out, into = outbound(), inbound(replace(IAD, region="sin"))
    into.welcome({})

    with pytest.raises(PeerRefusedError, match="'sin' answers, not 'iad'"):
        tell(into, out)


def test_a_version_that_we_did_not_offer_is_an_error() -> None:
    out, into = outbound(), inbound()
    into.welcome({})
    (welcome,) = frames(into.control_to_send())
    record = read_message(welcome) | {"protocol": 2}

    with pytest.raises(UnexpectedMessageError, match="protocol 2"):
        out.receive_control(encode_frame(message_frame(FrameType.WELCOME, record)), 0, 0)


def test_a_connection_that_begins_with_hello_opens_a_session() -> None:
    greeting, hello = Greeting(), outbound().control_to_send()

    assert greeting.feed(hello[:40]) is None
    assert greeting.feed(hello[40:]) is FrameType.HELLO
    assert greeting.data == hello


def test_a_peer_may_leave_right_after_its_hello() -> None:
    greeting, hello = Greeting(), outbound().control_to_send()

    assert greeting.feed(hello + GOODBYE) is FrameType.HELLO
    events = inbound().receive_control(greeting.data, 0, 0)
    assert events[1:] == [PeerLeft("bye")]


def test_a_connection_that_begins_with_attach_brings_its_token_and_is_answered() -> None:
    out, into = outbound(), inbound()
    tell(out, into)
    into.welcome({0: 0})
    tell(into, out)
    greeting = Greeting()
    data = out.attach(3)

    assert greeting.feed(data[:20]) is None
    assert greeting.feed(data[20:]) is FrameType.ATTACH
    assert (greeting.token, greeting.stream) == (TOKEN, 3)
    (answer,) = frames(attached(3))
    check_attached(answer, 3)
    with pytest.raises(UnexpectedMessageError, match="as the answer to ATTACH 4"):
        check_attached(answer, 4)


def test_another_node_says_that_it_does_not_know_the_session() -> None:
    (answer,) = frames(unknown_session())

    with pytest.raises(PeerRefusedError) as caught:
        check_attached(answer, 1)
    assert caught.value.reason_code == UNKNOWN_SESSION


@pytest.mark.parametrize("stream", [0, -1])
def test_a_data_stream_has_a_number_above_0(stream: int) -> None:
    record = {"session_token": TOKEN, "stream": stream}

    with pytest.raises(UnexpectedMessageError, match=f"ATTACH {stream}"):
        Greeting().feed(encode_frame(message_frame(FrameType.ATTACH, record)))


@pytest.mark.parametrize("rest", [b"x", encode_frame(Frame(FrameType.UNIT, b""))])
def test_nothing_stands_behind_an_attach(rest: bytes) -> None:
    out, _ = outbound(), inbound()

    with pytest.raises(UnexpectedMessageError, match="right behind"):
        Greeting().feed(out.attach(1) + rest)


@pytest.mark.parametrize("kind", [k for k in FrameType if k.name not in {"HELLO", "ATTACH"}])
def test_a_connection_that_begins_with_anything_else_is_refused(kind: FrameType) -> None:
    with pytest.raises(UnexpectedMessageError, match=f"begins with {kind.name}"):
        Greeting().feed(encode_frame(Frame(kind, b"")))


def test_damage_in_the_first_frame_is_noticed() -> None:
    hello = bytearray(outbound().control_to_send())
    hello[-1] ^= 1

    with pytest.raises(ChecksumError):
        Greeting().feed(bytes(hello))
