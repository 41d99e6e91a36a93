"""Which frame goes next, and what becomes of those whose stream dies."""

import pytest

from schemas.errors import UnexpectedMessageError
from transport.amst.limits import CONTROL_STREAM, FRAMES_AHEAD_MAX, SchedulerLimits
from transport.amst.objects import OutgoingObject
from transport.amst.piece import Piece
from transport.amst.ranges import RangeSet
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import SHARED, Shares, Traffic
from transport.frame import FLAG_LAST, HEADER_BYTES, PAYLOAD_BYTES_MAX, FrameType, decode_header

FLOW = 1
MS = 1_000_000


def scheduler(*streams: int, window_bytes: int = 1 << 30, **limits: int) -> SendScheduler:
    made = SendScheduler(SchedulerLimits(**limits))
    made.open_flow(FLOW, window_bytes)
    for stream in streams:
        made.open_stream(stream, 0)
    return made


def submit(made: SendScheduler, *units: bytes, traffic: Traffic = Traffic.STATE) -> None:
    for unit in units:
        made.submit(FLOW, traffic, unit)


def taken(made: SendScheduler, stream: int, now_ns: int = 0) -> Piece:
    piece = made.take(stream, now_ns)
    assert piece is not None
    return piece


def test_frames_go_out_in_order_and_say_where_a_unit_ends() -> None:
    made = scheduler(1, 2)
    submit(made, b"x" * (PAYLOAD_BYTES_MAX + 1), b"y")

    pieces = [taken(made, 1), taken(made, 2), taken(made, 1)]

    assert [(p.sequence, len(p), p.flags) for p in pieces] == [
        (0, PAYLOAD_BYTES_MAX, 0),
        (1, 1, FLAG_LAST),
        (2, 1, FLAG_LAST),
    ]
    assert made.take(2, 0) is None
    header = decode_header(pieces[1].header())
    assert (header.type, header.flow, header.sequence) == (FrameType.UNIT, FLOW, 1)
    assert len(pieces[1].header()) == HEADER_BYTES


def test_an_empty_unit_travels_too() -> None:
    made = scheduler(1)
    submit(made, b"")

    piece = taken(made, 1)

    assert (len(piece), piece.flags) == (0, FLAG_LAST)


def test_what_a_dead_stream_held_goes_to_the_head_of_the_queue_in_order() -> None:
    made = scheduler(1, 2)
    submit(made, b"a", b"b", b"c", b"d")
    held = [taken(made, 1), taken(made, 1)]
    other = taken(made, 2)

    made.lose_stream(1)

    assert [taken(made, 2) for _ in range(3)] == [*held, taken_last(made, other)]
    assert made.counters.again[Traffic.STATE] == 2


def taken_last(made: SendScheduler, other: Piece) -> Piece:
    """Return the frame that nobody had taken: the one behind `other`."""
    (last,) = (p for p in made._out if p.sequence == other.sequence + 1)
    return last


def test_what_is_reported_is_never_sent_again() -> None:
    made = scheduler(1, 2)
    submit(made, b"a", b"b", b"c")
    for _ in range(3):
        taken(made, 1)
    made.on_report(FLOW, 1, [(2, 3)], 0)

    made.lose_stream(1)

    assert taken(made, 2).sequence == 1
    assert made.take(2, 0) is None


def test_what_is_reported_while_it_waits_to_be_sent_again_is_not_sent() -> None:
    made = scheduler(1, 2)
    submit(made, b"a", b"b")
    taken(made, 1)
    made.lose_stream(1)
    assert made.queue_bytes[Traffic.STATE] == 2

    made.on_report(FLOW, 1, [], 0)

    assert made.queue_bytes[Traffic.STATE] == 1
    assert taken(made, 2).sequence == 1


def test_all_is_drained_when_all_is_reported() -> None:
    made = scheduler(1)
    assert made.is_drained
    submit(made, b"a")
    assert not made.is_drained
    taken(made, 1)
    assert not made.is_drained
    made.on_report(FLOW, 1, [], 0)

    assert made.is_drained
    assert made.is_flow_done(FLOW)


@pytest.mark.parametrize(
    ("before", "ranges"), [(2, []), (-1, []), (0, [(0, 2)]), (0, [(1, 0)]), (0, [(-1, 1)])]
)
def test_a_report_of_what_was_never_there_breaks_the_protocol(
    before: int, ranges: list[tuple[int, int]]
) -> None:
    made = scheduler(1)
    submit(made, b"a")
    taken(made, 1)

    with pytest.raises(UnexpectedMessageError, match="flow 1: received"):
        made.on_report(FLOW, before, ranges, 0)


def test_an_overdue_frame_goes_out_on_another_stream_and_on_a_third_after_twice_the_time() -> None:
    made = scheduler(1, 2, 3, overdue_ms=100)
    submit(made, b"a")
    piece = taken(made, 1)

    made.poll(99 * MS)
    assert made.take(2, 99 * MS) is None
    made.poll(100 * MS)
    assert made.take(1, 100 * MS) is None
    assert made.take(2, 100 * MS) is piece
    made.poll(299 * MS)
    assert made.take(3, 299 * MS) is None

    made.lose_stream(1)  # the copy is still under way
    assert made.take(3, 299 * MS) is None
    made.poll(300 * MS)
    assert made.take(3, 300 * MS) is piece
    made.lose_stream(2)
    made.lose_stream(3)
    made.open_stream(4, 300 * MS)
    assert made.take(4, 300 * MS) is piece


def test_chunks_are_sent_a_second_time_at_the_tail_only() -> None:
    made = scheduler(1, 2, overdue_ms=100)
    thing = OutgoingObject(bytes(16), "x", b"x" * 12_288, 4_096)
    made.open_object(16, thing.size_bytes, list(thing.pieces(16, RangeSet())))
    first = taken(made, 1)

    made.poll(200 * MS)
    rest = [taken(made, 2, 200 * MS), taken(made, 2, 200 * MS)]
    assert first not in rest
    made.poll(201 * MS)

    assert made.take(2, 201 * MS) is first


def test_with_one_stream_nothing_is_sent_twice() -> None:
    made = scheduler(1, overdue_ms=100)
    submit(made, b"a")
    taken(made, 1)

    assert made.poll(1_000 * MS) == []
    assert made.take(1, 1_000 * MS) is None


def test_a_stream_that_holds_a_frame_and_does_nothing_is_given_up() -> None:
    made = scheduler(1, 2, stall_ms=1_000)
    submit(made, b"a")
    taken(made, 1)

    assert made.poll(1_000 * MS) == []
    assert made.poll(1_001 * MS) == [1]


def test_a_stream_that_retires_takes_nothing_and_may_close_when_all_it_held_is_reported() -> None:
    made = scheduler(1)
    submit(made, b"a", b"b")
    taken(made, 1)
    assert not made.may_close(1)

    made.retire_stream(1)
    assert made.take(1, 0) is None
    assert not made.may_close(1)
    made.on_report(FLOW, 1, [], 0)

    assert made.may_close(1)
    assert not made.may_close(9)


def test_a_window_bounds_what_is_not_reported_but_lets_one_frame_pass() -> None:
    made = scheduler(1, window_bytes=5)
    submit(made, b"x" * 9, b"y" * 3, b"z" * 3)

    assert taken(made, 1).sequence == 0
    assert made.take(1, 0) is None
    made.on_report(FLOW, 1, [], 0)
    assert taken(made, 1).sequence == 1
    assert made.take(1, 0) is None


def test_what_was_reported_out_of_turn_counts_against_the_window_until_its_turn() -> None:
    """The receiver keeps it until then, and ends a session that makes it keep more."""
    made = scheduler(1, window_bytes=6)
    submit(made, b"x" * 3, b"y" * 3, b"z" * 3)
    taken(made, 1)
    taken(made, 1)

    made.on_report(FLOW, 0, [(1, 2)], 0)
    assert made.take(1, 0) is None
    made.on_report(FLOW, 2, [], 0)

    assert taken(made, 1).sequence == 2


def test_no_frame_goes_out_too_far_ahead_of_the_first_that_is_not_reported() -> None:
    made = scheduler(1)
    submit(made, *[b""] * (FRAMES_AHEAD_MAX + 1))
    for _ in range(FRAMES_AHEAD_MAX):
        taken(made, 1)

    assert made.take(1, 0) is None
    made.on_report(FLOW, 0, [(1, FRAMES_AHEAD_MAX)], 0)
    assert made.take(1, 0) is None
    made.on_report(FLOW, FRAMES_AHEAD_MAX, [], 0)
    assert taken(made, 1).sequence == FRAMES_AHEAD_MAX


def test_strict_classes_go_first_whatever_waits() -> None:
    made = scheduler(1)
    for traffic in reversed(Traffic):
        submit(made, b"x", traffic=traffic)

    order = [taken(made, 1).traffic for _ in Traffic]

    assert order == list(Traffic)


def test_the_other_classes_share_by_bytes() -> None:
    shares = Shares({Traffic.STATE: 6, Traffic.CATCH_UP: 3, Traffic.BULK: 1})
    given = dict.fromkeys(SHARED, 0)
    sizes = {Traffic.STATE: 100, Traffic.CATCH_UP: 1_000, Traffic.BULK: 5_000}
    for _ in range(10_000):
        traffic = shares.order(SHARED)[0]
        shares.charge(traffic, sizes[traffic])
        given[traffic] += sizes[traffic]

    total = sum(given.values())
    assert given[Traffic.STATE] / total == pytest.approx(0.6, abs=0.02)
    assert given[Traffic.BULK] / total == pytest.approx(0.1, abs=0.02)


def test_a_class_that_was_idle_saves_nothing_up() -> None:
    shares = Shares({Traffic.STATE: 1, Traffic.BULK: 1})
    for _ in range(1_000):
        shares.charge(Traffic.BULK, 1_000)

    served = []
    for _ in range(10):
        served.append(shares.order([Traffic.STATE, Traffic.BULK])[0])
        shares.charge(served[-1], 1_000)

    assert 4 <= served.count(Traffic.STATE) <= 6


def test_shares_must_be_above_0() -> None:
    with pytest.raises(AssertionError, match="above 0"):
        Shares({Traffic.BULK: 0})


def test_small_urgent_frames_take_the_control_connection() -> None:
    made = scheduler()
    submit(made, b"state")
    submit(made, b"now", traffic=Traffic.LOG)
    submit(made, b"x" * 20_000, traffic=Traffic.LOG)

    piece = made.take_urgent(0)

    assert piece is not None
    assert (piece.payload, piece.holders) == (b"now", {CONTROL_STREAM})
    assert made.take_urgent(0) is None


def test_a_queue_that_is_full_says_so() -> None:
    made = scheduler(1, queue_bytes_max=10)
    submit(made, b"x" * 9)
    assert made.has_room
    submit(made, b"x")
    assert not made.has_room
    taken(made, 1)

    assert made.has_room


def test_a_flow_that_is_closed_is_forgotten_wherever_it_is() -> None:
    made = scheduler(1)
    thing = OutgoingObject(bytes(16), "x", b"x" * 12_288, 4_096)
    made.open_object(16, thing.size_bytes, list(thing.pieces(16, RangeSet())))
    taken(made, 1)
    made.close_flow(16)
    made.on_report(16, 4_096, [], 0)

    assert made.take(1, 0) is None
    assert made.is_drained
    made.retire_stream(1)
    assert made.may_close(1)
