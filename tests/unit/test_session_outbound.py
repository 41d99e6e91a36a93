"""The shipping end: credit, acknowledgements, rewinding."""

import pytest

from tests.support.sessions import established, outbound, ship, tell
from transport.hde.unit import FLAG_KEY, read_unit_header
from transport.session.events import Acked, Rewound


def test_nothing_is_sent_before_the_handshake() -> None:
    out = outbound()

    assert not out.has_credit
    with pytest.raises(AssertionError, match="no credit"):
        out.encode_unit(b"x")


def test_one_unit_may_reach_over_the_edge_of_the_credit_and_no_other() -> None:
    out, _ = established(credit_bytes=100)

    out.encode_unit(b"x" * 99)
    assert out.has_credit
    out.encode_unit(b"x" * 500)
    assert not out.has_credit
    with pytest.raises(AssertionError, match="no credit"):
        out.encode_unit(b"")
    assert out.raw_bytes == 599


def test_a_unit_over_the_limit_is_not_sent() -> None:
    out, _ = established(unit_bytes_max=10)

    with pytest.raises(AssertionError, match="a unit of 11 bytes"):
        out.encode_unit(b"x" * 11)


def test_an_acknowledgement_tells_what_is_durable_and_gives_credit() -> None:
    out, into = established(credit_bytes=100)
    unit = ship(out, into, b"x" * 100)
    assert not out.has_credit

    into.acknowledge([unit], {0: 7})

    assert tell(into, out) == [Acked(1, {0: 7})]
    assert out.has_credit


def test_credit_never_shrinks() -> None:
    out, into = established(credit_bytes=100)
    unit = ship(out, into, b"x" * 60)
    into.acknowledge([unit], {})
    tell(into, out)
    into._credit_bytes = 0  # an old grant that overtook nothing, but might
    into.acknowledge([unit], {})
    tell(into, out)

    out.encode_unit(b"x" * 90)
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
