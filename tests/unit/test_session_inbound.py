"""The taking end: credit, refused epochs, reports, objects."""

from random import Random

import pytest

from schemas.errors import BadUnitError, CreditExceededError, UnexpectedMessageError
from tests.support.sessions import established, inbound, ship, tell
from transport.amst.objects import OutgoingObject
from transport.amst.reassembly import FlowReport
from transport.frame import Frame, FrameType, encode_frame
from transport.hde.settings import FlowSettings
from transport.hde.unit import FLAG_KEY, HEADER, Level
from transport.session.control import FIRST_OBJECT_FLOW, LOG_FLOW
from transport.session.events import (
    Acked,
    ObjectTaken,
    Offered,
    Reported,
    SumKnown,
    Unit,
    Urgent,
    Wanted,
)


def test_units_come_out_whole_and_decoded() -> None:
    out, into = established(credit_bytes=1 << 20)
    raws = [b"first", b"x" * 300_000, b""]

    units = [ship(out, into, raw) for raw in raws]

    assert [unit.sequence for unit in units] == [1, 2, 3]
    assert [into.decode(unit) for unit in units] == raws
    assert into.encoded_bytes == out.encoded_bytes


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
        into.acknowledge([unit], {})
        tell(into, out)

    assert out.raw_bytes == 2_000


def test_a_unit_that_hides_its_size_from_the_credit_breaks_the_protocol() -> None:
    _, into = established()
    payload = HEADER.pack(Level.RAW, FLAG_KEY, 0, 0, 0, 0) + bytes(1_000)

    with pytest.raises(CreditExceededError, match="1,020 bytes for 0 raw"):
        into.take_unit(payload)


@pytest.mark.parametrize("level", [0, 1, 3, 19])
@pytest.mark.parametrize("size", [0, 1, 1_000, 140_000, 1_000_000])
def test_a_unit_that_does_not_shrink_is_taken(level: int, size: int) -> None:
    out, into = established(flow=FlowSettings(level))
    noise = Random(1).randbytes(size)

    assert into.decode(ship(out, into, noise)) == noise


def test_a_unit_too_short_for_its_header_breaks_the_protocol() -> None:
    _, into = established()

    with pytest.raises(BadUnitError):
        into.take_unit(b"short")


def test_a_refused_epoch_stays_refused_and_its_units_give_their_credit_back() -> None:
    out, into = established(credit_bytes=100)
    units = [ship(out, into, b"x" * 30) for _ in range(3)]
    into.refuse_epoch(units[0], "damaged", {0: 0})
    tell(into, out)

    assert [into.decode(unit) for unit in units[1:]] == [None, None]
    for unit in units[1:]:
        into.acknowledge([unit], {0: 0})
    assert tell(into, out) == [Acked(2, {0: 0}), Acked(3, {0: 0})]
    out.begin_epoch()
    out.encode_unit(b"x" * 99)
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


def test_reports_say_what_need_not_be_sent_again() -> None:
    out, into = established()
    into.report([])
    assert tell(into, out) == []
    reports = (FlowReport(1, 7, ((9, 10), (12, 15))), FlowReport(16, 0, ()))

    into.report(reports)

    assert tell(into, out) == [Reported(reports)]


def test_a_small_frame_may_come_on_the_control_connection() -> None:
    _, into = established()
    data = encode_frame(Frame(FrameType.UNIT, b"now", LOG_FLOW, 3))

    (event,) = into.receive_control(data, 0, 0)

    assert isinstance(event, Urgent)
    assert (event.header.flow, event.header.sequence, event.payload) == (LOG_FLOW, 3, b"now")


def test_an_object_is_offered_wanted_summed_and_taken() -> None:
    out, into = established()
    thing = OutgoingObject(bytes(16), "image", b"x" * 10_000, 4_096)

    flow = out.offer(thing)
    assert tell(out, into) == [Offered(flow, bytes(16), "image", 10_000, 4_096)]
    into.want(flow, [(0, 4_096)])
    assert tell(into, out) == [Wanted(flow, ((0, 4_096),), "")]
    out.tell_sum(flow, thing.sum())
    assert tell(out, into) == [SumKnown(flow, thing.sum())]
    into.take_object(flow, is_whole=True)
    assert tell(into, out) == [ObjectTaken(flow, is_whole=True)]
    assert out.offer(thing) == flow + 1 == FIRST_OBJECT_FLOW + 1


def test_an_object_that_is_not_wanted_is_declined_with_the_reason() -> None:
    out, into = established()
    flow = out.offer(OutgoingObject(bytes(16), "image", b"", 4_096))
    tell(out, into)

    into.decline(flow, "no room")

    assert tell(into, out) == [Wanted(flow, (), "no room")]


def test_before_the_handshake_there_are_no_objects_and_no_data() -> None:
    out, _ = established()
    out.offer(OutgoingObject(bytes(16), "image", b"", 4_096))

    with pytest.raises(UnexpectedMessageError, match="OFFER"):
        inbound().receive_control(out.control_to_send(), 0, 0)
    with pytest.raises(UnexpectedMessageError, match="UNIT"):
        inbound().receive_control(encode_frame(Frame(FrameType.UNIT, b"")), 0, 0)
