"""Frames of many streams become units in order, within what was granted."""

import pytest
import xxhash

from schemas.errors import CreditExceededError, UnexpectedMessageError
from transport.amst.limits import FRAMES_AHEAD_MAX
from transport.amst.objects import IncomingObject
from transport.amst.reassembly import FlowLimits, FlowReport, Reassembler, WholeUnit
from transport.frame import FLAG_LAST, UNIT_FRAME_BYTES_MAX, FrameType, Header

FLOW = 1


def reassembler(window_bytes: int = 1 << 20, unit_bytes_max: int = 1 << 20) -> Reassembler:
    return Reassembler({FLOW: FlowLimits(window_bytes, unit_bytes_max)})


def land(
    made: Reassembler, sequence: int, payload: bytes = b"x", flags: int = FLAG_LAST
) -> list[bytes]:
    header = Header(FrameType.UNIT, flags, FLOW, len(payload), sequence, 0)
    return [bytes(unit.payload) for unit in made.land(1, header, payload)]


def test_units_leave_in_order_whatever_came_first() -> None:
    made = reassembler()

    assert land(made, 2, b"c") == []
    assert land(made, 1, b"b") == []
    assert land(made, 0, b"a") == [b"a", b"b", b"c"]


def test_a_unit_is_whole_with_its_last_frame() -> None:
    made = reassembler()

    assert land(made, 1, b"b", flags=0) == []
    assert land(made, 2, b"c") == []
    assert land(made, 0, b"a", flags=0) == [b"abc"]


def test_a_frame_that_comes_again_is_dropped_and_counted() -> None:
    made = reassembler()
    land(made, 0, b"a")
    land(made, 2, b"c")

    assert land(made, 0, b"a") == land(made, 2, b"c") == []
    assert made.duplicates == 2
    assert land(made, 1, b"b") == [b"b", b"c"]


def test_a_report_says_what_is_here_once_for_each_change() -> None:
    made = reassembler()
    assert made.report() == []
    for sequence in (0, 1, 3, 4, 7):
        land(made, sequence)

    assert made.report() == [FlowReport(FLOW, 2, ((3, 5), (7, 8)))]
    assert made.report() == []
    land(made, 3)  # again: the sender may not know
    assert made.report() == [FlowReport(FLOW, 2, ((3, 5), (7, 8)))]


def test_a_frame_too_far_ahead_breaks_the_protocol() -> None:
    made = reassembler()
    land(made, FRAMES_AHEAD_MAX - 1)

    with pytest.raises(CreditExceededError, match="while 0 is awaited"):
        land(made, FRAMES_AHEAD_MAX)


def test_bytes_ahead_of_their_turn_are_bounded() -> None:
    made = reassembler(window_bytes=UNIT_FRAME_BYTES_MAX)
    land(made, 1, bytes(UNIT_FRAME_BYTES_MAX))
    land(made, 2, bytes(UNIT_FRAME_BYTES_MAX))

    with pytest.raises(CreditExceededError, match="bytes wait for frame 0"):
        land(made, 3, b"x")


def test_a_unit_without_end_is_stopped() -> None:
    made = reassembler(unit_bytes_max=10)
    land(made, 0, b"x" * 10, flags=0)

    with pytest.raises(CreditExceededError, match="a unit of more than 11"):
        land(made, 1, b"x", flags=0)


@pytest.mark.parametrize(
    ("kind", "flow"), [(FrameType.UNIT, 2), (FrameType.CHUNK, FLOW), (FrameType.GOODBYE, FLOW)]
)
def test_only_what_is_open_comes_as_data(kind: FrameType, flow: int) -> None:
    made = reassembler()

    with pytest.raises(UnexpectedMessageError, match=f"{kind.name} of flow {flow}"):
        made.land(1, Header(kind, FLAG_LAST, flow, 1, 0, 0), b"x")


def chunk(flow: int, offset: int, payload: bytes) -> tuple[Header, bytes]:
    digest = xxhash.xxh3_64_intdigest(payload)
    return Header(FrameType.CHUNK, FLAG_LAST, flow, len(payload), offset, digest), payload


def test_chunks_come_in_any_order_and_are_reported_in_bytes() -> None:
    made = reassembler()
    thing = IncomingObject("x", 10_000, 4_096)
    made.open_object(16, thing)

    made.land(1, *chunk(16, 8_192, b"c" * 1_808))
    assert made.report() == [FlowReport(16, 0, ((8_192, 10_000),))]
    made.land(2, *chunk(16, 0, b"a" * 4_096))
    made.land(2, *chunk(16, 0, b"a" * 4_096))
    assert made.report() == [FlowReport(16, 4_096, ((8_192, 10_000),))]
    assert not thing.is_whole
    made.land(1, *chunk(16, 4_096, b"b" * 4_096))

    assert thing.is_whole
    assert made.duplicates == 1
    assert thing.data == b"a" * 4_096 + b"b" * 4_096 + b"c" * 1_808
    assert made.report() == [FlowReport(16, 10_000, ())]


def test_late_chunks_of_an_object_that_is_closed_are_dropped() -> None:
    made = reassembler()
    made.open_object(16, IncomingObject("x", 10, 4_096))
    made.close_object(16)

    assert made.land(1, *chunk(16, 0, b"x" * 10)) == []
    assert made.duplicates == 1
    assert made.report() == []
    with pytest.raises(UnexpectedMessageError, match="offered before"):
        made.open_object(16, IncomingObject("x", 10, 4_096))


def test_units_and_objects_have_their_own_numbers() -> None:
    made = reassembler()

    with pytest.raises(UnexpectedMessageError, match="flow 1 was offered before"):
        made.open_object(FLOW, IncomingObject("x", 10, 4_096))
    header = Header(FrameType.UNIT, FLAG_LAST, FLOW, 1, 0, 0)
    assert made.land(1, header, b"x") == [WholeUnit(FLOW, b"x")]
