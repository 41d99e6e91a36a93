"""Bulk objects: chunks, places, sums, and the shelf between sessions."""

from random import Random

import pytest

from schemas.errors import UnexpectedMessageError
from tests.support.sessions import established, tell
from transport.amst.objects import IncomingObject, OutgoingObject
from transport.amst.ranges import RangeSet
from transport.amst.reassembly import Reassembler
from transport.amst.scheduler import SendScheduler
from transport.frame import FrameType, Header, decode_header
from transport.session.events import ObjectTaken, Offered, SumKnown, Wanted
from transport.session.objects import IncomingObjects, OutgoingObjects, ReceivedObject, Shelf

CONTENT = Random(1).randbytes(20_000)


def outgoing(data: bytes = CONTENT) -> OutgoingObject:
    return OutgoingObject(bytes(16), "image", data, 4_096)


def carry(thing: OutgoingObject, target: IncomingObject, held: RangeSet | None = None) -> int:
    """Carry all chunks, the last first, and return how many."""
    pieces = list(thing.pieces(16, held or RangeSet()))
    for piece in reversed(pieces):
        header = decode_header(piece.header())
        place = target.place(1, header.sequence, header.length)
        assert place is not None
        place[:] = piece.payload
        assert target.land(1, header, place)
    return len(pieces)


def test_an_object_arrives_in_its_place_and_both_ends_have_the_same_sum() -> None:
    thing, target = outgoing(), IncomingObject("image", len(CONTENT), 4_096)

    assert carry(thing, target) == 5
    assert target.is_whole
    assert target.data == CONTENT
    assert target.sum() == thing.sum()


def test_only_what_is_missing_is_shipped() -> None:
    thing, target = outgoing(), IncomingObject("image", len(CONTENT), 4_096)
    held = RangeSet([(0, 8_192), (16_384, 20_000)])

    assert carry(thing, target, held) == 2
    assert [*target.held] == [(8_192, 16_384)]


def test_another_content_has_another_sum() -> None:
    changed = bytearray(CONTENT)
    changed[12_345] ^= 1

    assert outgoing(bytes(changed)).sum() != outgoing().sum()


def test_two_streams_never_write_to_the_same_place() -> None:
    target = IncomingObject("image", 8_192, 4_096)
    place = target.place(1, 0, 4_096)

    assert place is not None
    assert target.place(2, 0, 4_096) is None
    assert target.place(2, 4_096, 4_096) is not None
    target.give_up(1)
    assert target.place(3, 0, 4_096) is not None


def test_a_chunk_half_written_by_an_ended_session_is_written_whole_by_the_next() -> None:
    thing, target = outgoing(), IncomingObject("image", len(CONTENT), 4_096)
    ended, current = Reassembler({}), Reassembler({})
    ended.open_object(16, target)
    current.open_object(16, target)
    pieces = [(decode_header(one.header()), one.payload) for one in thing.pieces(16, RangeSet())]
    half = ended.place(1, pieces[0][0])
    assert half is not None
    half[:2_048] = pieces[0][1][:2_048]  # then its path died, and nobody noticed yet

    assert current.place(1, pieces[0][0]) is None
    for header, payload in pieces:
        current.land(1, header, bytes(payload))
    ended.lose_stream(1)

    assert target.is_whole
    assert target.data == CONTENT


def test_a_copy_that_is_first_is_taken_and_the_other_dropped() -> None:
    target = IncomingObject("image", 4_096, 4_096)
    header = Header(FrameType.CHUNK, 1, 16, 4_096, 0, 7)
    place = target.place(1, 0, 4_096)
    assert place is not None

    assert target.land(2, header, b"x" * 4_096)
    place[:] = b"x" * 4_096
    assert not target.land(1, header, place)
    assert target.data == b"x" * 4_096


@pytest.mark.parametrize(("offset", "size"), [(1, 4_096), (0, 4_095), (8_192, 4_096), (16_384, 1)])
def test_what_is_no_chunk_breaks_the_protocol(offset: int, size: int) -> None:
    target = IncomingObject("image", 10_000, 4_096)

    with pytest.raises(UnexpectedMessageError, match="no chunk"):
        target.place(1, offset, size)


def test_an_empty_object_is_whole_at_once() -> None:
    target = IncomingObject("nothing", 0, 4_096)

    assert target.is_whole
    assert target.sum() == outgoing(b"").sum()


class Pair:
    """Both ends of a session with an object on one side."""

    def __init__(self, things: list[OutgoingObject], shelf: Shelf | None) -> None:
        self.out, self.into = established()
        self.into.peer_region = "ams"
        self.scheduler = SendScheduler()
        self.scheduler.open_stream(1, 0)
        self.reassembler = Reassembler({})
        self.whole: list[ReceivedObject] = []
        self.sending = OutgoingObjects(self.out, self.scheduler, things)
        self.taking = IncomingObjects(self.into, self.reassembler, shelf, self.whole.append)

    def talk(self) -> list[object]:
        """Let both ends answer until neither has anything to say."""
        events: list[object] = []
        while heard := [*tell(self.out, self.into), *tell(self.into, self.out)]:
            for event in heard:
                match event:
                    case Offered():
                        self.taking.on_offered(event)
                    case SumKnown():
                        self.taking.on_sum(event)
                    case Wanted():
                        self.sending.on_wanted(event)
                    case ObjectTaken():
                        self.sending.on_taken(event)
            events += heard
        return events

    def ship(self, most: int = 1_000) -> int:
        """Carry frames, report them, and tell sums that are due."""
        count = 0
        while count < most and (piece := self.scheduler.take(1, 0)) is not None:
            self.reassembler.land(1, decode_header(piece.header()), bytes(piece.payload))
            count += 1
        for report in self.reassembler.report():
            self.scheduler.on_report(report.flow, report.before, report.ranges, 0)
        for flow, thing in self.sending.sums_due():
            self.out.tell_sum(flow, thing.sum())
        return count


def test_an_object_goes_from_one_end_to_the_other() -> None:
    things = [outgoing(), OutgoingObject(b"1" * 16, "nothing", b"")]
    shelf = Shelf(1 << 20)
    pair = Pair(things, shelf)
    pair.sending.offer()
    pair.talk()
    assert pair.ship() == 5
    pair.talk()

    assert sorted((one.label, bytes(one.data)) for one in pair.whole) == [
        ("image", CONTENT),
        ("nothing", b""),
    ]
    assert things == []
    assert shelf.standing == {}


def test_what_one_session_brought_the_next_does_not_ship_again() -> None:
    things, shelf = [outgoing()], Shelf(1 << 20)
    first = Pair(things, shelf)
    first.sending.offer()
    first.talk()
    assert first.ship(3) == 3

    second = Pair(things, shelf)
    second.sending.offer()
    second.talk()
    assert second.ship() == 2
    second.talk()

    assert [one.data for one in second.whole] == [CONTENT]


def test_an_object_whose_sum_is_wrong_is_shipped_again() -> None:
    things, shelf = [outgoing()], Shelf(1 << 20)
    pair = Pair(things, shelf)
    pair.sending.offer()
    pair.talk()
    shelf.standing["ams", bytes(16)]._leaves[0] = 5
    shelf.standing["ams", bytes(16)].held.add(0, 4_096)  # it says it has what it has not
    pair.ship()
    pair.talk()
    assert pair.whole == []
    assert pair.ship() == 5
    pair.talk()

    assert [one.data for one in pair.whole] == [CONTENT]


@pytest.mark.parametrize(
    ("shelf", "reason"),
    [
        (None, "nobody takes objects"),
        (Shelf(19_999), "20,000 bytes do not fit"),
        (Shelf(1 << 20, count_max=0), "do not fit"),
    ],
)
def test_an_object_that_cannot_be_taken_is_declined_and_waits(
    shelf: Shelf | None, reason: str
) -> None:
    things = [outgoing()]
    pair = Pair(things, shelf)
    pair.sending.offer()
    pair.talk()
    pair.sending.offer()

    assert reason in pair.sending.refusals[bytes(16)]
    assert pair.talk() == []
    assert len(things) == 1


def test_an_object_of_another_size_takes_the_place_of_an_old_one() -> None:
    shelf = Shelf(1 << 20)
    old = shelf.find("ams", Offered(16, bytes(16), "image", 100, 4_096))

    assert shelf.find("ams", Offered(17, bytes(16), "image", 100, 4_096)) is old
    assert shelf.find("fra", Offered(17, bytes(16), "image", 100, 4_096)) is not old
    assert shelf.find("ams", Offered(18, bytes(16), "image", 200, 4_096)) is not old


@pytest.mark.parametrize(
    "offer",
    [
        Offered(16, b"short", "x", 1, 4_096),
        Offered(16, bytes(16), "x", -1, 4_096),
        Offered(16, bytes(16), "x", 1, 0),
        Offered(16, bytes(16), "x", 1, 1 << 21),
    ],
)
def test_an_offer_that_cannot_be_breaks_the_protocol(offer: Offered) -> None:
    with pytest.raises(UnexpectedMessageError, match="an offer of"):
        Pair([], Shelf(1 << 20)).taking.on_offered(offer)


def test_answers_about_what_was_not_offered_break_the_protocol() -> None:
    pair = Pair([], Shelf(1 << 20))

    with pytest.raises(UnexpectedMessageError, match="not offered"):
        pair.sending.on_wanted(Wanted(16, (), ""))
    with pytest.raises(UnexpectedMessageError, match="not offered"):
        pair.sending.on_taken(ObjectTaken(16, is_whole=True))
    with pytest.raises(UnexpectedMessageError, match="not open"):
        pair.taking.on_sum(SumKnown(16, bytes(16)))
