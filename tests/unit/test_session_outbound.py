"""The shipping end: credit, acknowledgements, rewinding, frames."""

import pytest

from tests.support.sessions import established, frames, outbound, ship, tell
from transport.frame import FLAG_LAST, PAYLOAD_BYTES_MAX, FrameType
from transport.hde.unit import FLAG_KEY, read_unit_header
from transport.session.control import STATE_FLOW
from transport.session.events import Acked, Rewound


def test_nothing_is_sent_before_the_handshake() -> None:
    out = outbound()

    assert not out.has_credit
    with pytest.raises(AssertionError, match="no credit"):
        out.send_unit(b"x")


def test_one_unit_may_reach_over_the_edge_of_the_credit_and_no_other() -> None:
    out, _ = established(credit_bytes=100)

    out.send_unit(b"x" * 99)
    assert out.has_credit
    out.send_unit(b"x" * 500)
    assert not out.has_credit
    with pytest.raises(AssertionError, match="no credit"):
        out.send_unit(b"")
    assert out.raw_bytes == 599


def test_a_unit_over_the_limit_is_not_sent() -> None:
    out, _ = established(unit_bytes_max=10)

    with pytest.raises(AssertionError, match="a unit of 11 bytes"):
        out.send_unit(b"x" * 11)


def test_units_are_numbered_from_1() -> None:
    out, _ = established()

    sent = [frames(out.send_unit(b"x"))[0] for _ in range(3)]

    assert [(f.type, f.flow, f.sequence) for f in sent] == [
        (FrameType.UNIT, STATE_FLOW, n) for n in (1, 2, 3)
    ]


def test_a_large_unit_travels_in_several_frames_of_one_number() -> None:
    out, _ = established(level=0)

    sent = frames(out.send_unit(b"x" * (2 * PAYLOAD_BYTES_MAX)))

    assert [(f.sequence, f.flags) for f in sent] == [(1, 0), (1, 0), (1, FLAG_LAST)]
    assert out.encoded_bytes == sum(len(frame.payload) for frame in sent)


def test_an_acknowledgement_tells_what_is_durable_and_gives_credit() -> None:
    out, into = established(credit_bytes=100)
    unit = ship(out, into, b"x" * 100)
    assert not out.has_credit

    into.acknowledge(unit, {0: 7})

    assert tell(into, out) == [Acked(1, {0: 7})]
    assert out.has_credit


def test_credit_never_shrinks() -> None:
    out, into = established(credit_bytes=100)
    unit = ship(out, into, b"x" * 60)
    into.acknowledge(unit, {})
    tell(into, out)
    into._credit_bytes = 0  # an old grant that overtook nothing, but might
    into.acknowledge(unit, {})
    tell(into, out)

    out.send_unit(b"x" * 90)
    assert out.has_credit


def test_a_refusal_sends_back_with_reason_and_cursors_and_gives_the_credit_back() -> None:
    out, into = established(credit_bytes=100)
    unit = ship(out, into, b"x" * 100)

    into.refuse_epoch(unit, "a hole", {0: 3})

    assert tell(into, out) == [Rewound("a hole", {0: 3})]
    assert out.has_credit


def test_a_new_epoch_begins_with_a_key_unit() -> None:
    out, into = established()
    ship(out, into, b"x")
    out.begin_epoch()

    header = read_unit_header(ship(out, into, b"x").payload)

    assert (header.epoch, header.flags) == (1, FLAG_KEY)
