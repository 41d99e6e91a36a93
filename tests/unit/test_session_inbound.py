"""The taking end: order, credit, refused epochs, the data connection."""

from random import Random

import pytest

from schemas.errors import BadUnitError, CreditExceededError, UnexpectedMessageError
from tests.support.sessions import TOKEN, established, inbound, outbound, ship, tell
from transport.frame import FLAG_LAST, PAYLOAD_BYTES_MAX, Frame, FrameType, encode_frame
from transport.hde.unit import FLAG_KEY, HEADER, Level
from transport.session.events import Acked, Unit
from transport.session.handshake import Greeting


def test_units_come_out_whole_and_decoded() -> None:
    out, into = established(credit_bytes=1 << 20)
    raws = [b"first", b"x" * 300_000, b""]

    units = [ship(out, into, raw) for raw in raws]

    assert [unit.sequence for unit in units] == [1, 2, 3]
    assert [into.decode(unit) for unit in units] == raws
    assert into.encoded_bytes == out.encoded_bytes


def test_what_came_with_the_attach_is_not_lost() -> None:
    out, into = outbound(), inbound()
    tell(out, into)
    into.welcome({})
    tell(into, out)
    greeting, data = Greeting(), out.attach() + out.send_unit(b"a") + out.send_unit(b"b")
    greeting.feed(data[:-1])

    units = into.adopt(greeting, 0) + into.receive_data(data[-1:], 0)

    assert [into.decode(unit) for unit in units] == [b"a", b"b"]


def test_a_session_that_is_not_open_takes_no_data_connection() -> None:
    with pytest.raises(UnexpectedMessageError, match=r"no .* data connection"):
        inbound().adopt(Greeting(), 0)


def test_a_session_takes_one_data_connection_only() -> None:
    _, into = established()

    with pytest.raises(UnexpectedMessageError, match=r"no .* data connection"):
        into.adopt(Greeting(), 0)


def test_the_token_of_the_welcome_is_that_of_the_attach() -> None:
    out, into = established()
    greeting = Greeting()
    greeting.feed(out.attach())

    assert greeting.token == into.token == TOKEN


@pytest.mark.parametrize("sequence", [0, 1, 3, 1 << 60])
def test_a_unit_out_of_order_breaks_the_protocol(sequence: int) -> None:
    out, into = established()
    ship(out, into, b"x")  # number 1
    stray = Frame(FrameType.UNIT, bytes(16), 1, sequence)

    with pytest.raises(UnexpectedMessageError, match="units come in order"):
        into.receive_data(encode_frame(stray), 0)


@pytest.mark.parametrize(("kind", "flow"), [(FrameType.UNIT, 2), (FrameType.GOODBYE, 1)])
def test_only_units_of_the_state_flow_come_as_data(kind: FrameType, flow: int) -> None:
    _, into = established()

    with pytest.raises(UnexpectedMessageError, match=f"{kind.name} of flow {flow}"):
        into.receive_data(encode_frame(Frame(kind, bytes(16), flow, 1)), 0)


def test_a_unit_beyond_the_credit_breaks_the_protocol() -> None:
    out, into = established(credit_bytes=100)
    ship(out, into, b"x" * 150)
    out._credit_bytes = 1_000  # a sender that does not ask

    with pytest.raises(CreditExceededError, match="all 100 bytes were spent"):
        ship(out, into, b"x")


def test_acknowledged_bytes_may_be_sent_again() -> None:
    out, into = established(credit_bytes=100)
    for _ in range(20):
        unit = ship(out, into, b"x" * 100)
        into.acknowledge(unit, {})
        tell(into, out)

    assert out.raw_bytes == 2_000


def test_a_unit_without_end_is_stopped() -> None:
    _, into = established(unit_bytes_max=PAYLOAD_BYTES_MAX)
    piece = encode_frame(Frame(FrameType.UNIT, bytes(PAYLOAD_BYTES_MAX), 1, 1, flags=0))
    into.receive_data(piece, 0)
    into.receive_data(piece, 0)

    with pytest.raises(CreditExceededError, match="encoded bytes"):
        into.receive_data(piece, 0)


def test_a_unit_that_hides_its_size_from_the_credit_breaks_the_protocol() -> None:
    _, into = established()
    payload = HEADER.pack(Level.RAW, FLAG_KEY, 0, 0, 0, 0) + bytes(1_000)

    with pytest.raises(CreditExceededError, match="1,020 bytes for 0 raw"):
        into.receive_data(encode_frame(Frame(FrameType.UNIT, payload, 1, 1)), 0)


@pytest.mark.parametrize("level", [0, 1, 3, 19])
@pytest.mark.parametrize("size", [0, 1, 1_000, 140_000, 1_000_000])
def test_a_unit_that_does_not_shrink_is_taken(level: int, size: int) -> None:
    out, into = established(level=level)
    noise = Random(1).randbytes(size)

    assert into.decode(ship(out, into, noise)) == noise


def test_a_unit_too_short_for_its_header_breaks_the_protocol() -> None:
    _, into = established()

    with pytest.raises(BadUnitError):
        into.receive_data(encode_frame(Frame(FrameType.UNIT, b"short", 1, 1, FLAG_LAST)), 0)


def test_a_refused_epoch_stays_refused_and_its_units_give_their_credit_back() -> None:
    out, into = established(credit_bytes=100)
    units = [ship(out, into, b"x" * 30) for _ in range(3)]
    into.refuse_epoch(units[0], "damaged", {0: 0})
    tell(into, out)

    assert [into.decode(unit) for unit in units[1:]] == [None, None]
    for unit in units[1:]:
        into.acknowledge(unit, {0: 0})
    assert tell(into, out) == [Acked(2, {0: 0}), Acked(3, {0: 0})]
    out.begin_epoch()
    out.send_unit(b"x" * 99)
    assert out.has_credit


def test_after_a_refusal_the_next_epoch_is_decoded() -> None:
    out, into = established()
    into.refuse_epoch(ship(out, into, b"x"), "damaged", {})
    late = ship(out, into, b"late")
    out.begin_epoch()
    new = ship(out, into, b"new")

    assert into.decode(late) is None
    assert into.decode(new) == b"new"


def test_a_unit_that_lied_about_its_epoch_does_not_close_the_epoch_it_named() -> None:
    out, into = established()
    unit = ship(out, into, b"x")
    payload = bytearray(unit.payload)
    payload[3] ^= 1  # epoch 1 instead of 0
    into.refuse_epoch(Unit(1, bytes(payload), 1), "damaged", {})
    out.begin_epoch()

    assert [into.decode(ship(out, into, raw)) for raw in (b"key", b"next")] == [b"key", b"next"]
