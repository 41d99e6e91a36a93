"""Whatever happens to data streams, units arrive once and in order, and nothing is sent in vain."""

import itertools
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

import transport.amst.decoder as decoder_module
import transport.amst.frame_size as frame_size_module
from schemas.errors import ProtocolError
from tests.support.strategies import chunked
from transport.amst.decoder import StreamDecoder
from transport.amst.limits import SchedulerLimits
from transport.amst.piece import Piece
from transport.amst.ranges import RangeSet
from transport.amst.reassembly import FlowLimits, Reassembler
from transport.amst.scheduler import SendScheduler
from transport.amst.spread import Dial, Retire, next_step
from transport.amst.traffic import Traffic
from transport.frame import Frame, FrameType, Header, decode_header, encode_frame

FLOW = 1
MS = 1_000_000
WINDOW = 400
STREAMS = st.integers(0, 3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "take", "arrive", "report", "lose", "retire", "poll"]),
        STREAMS,
        st.integers(1, 120),
    ),
    max_size=120,
)


@dataclass
class Link:
    """Both halves, and what is under way between them on up to four streams."""

    sending: SendScheduler = field(
        default_factory=lambda: SendScheduler(SchedulerLimits(overdue_ms=50))
    )
    taking: Reassembler = field(
        default_factory=lambda: Reassembler({FLOW: FlowLimits(WINDOW, 200)})
    )
    way: dict[int, deque[Piece]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    sent: list[bytes] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    now_ns: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.sending.open_flow(FLOW, WINDOW)

    def number(self, slot: int) -> int:
        """Return the stream of a slot; a slot whose stream is gone gets a new one."""
        if slot not in self.numbers:
            self.count += 1
            self.numbers[slot] = self.count
            self.way[self.count] = deque()
            self.sending.open_stream(self.count, self.now_ns)
        return self.numbers[slot]

    def submit(self, _: int, size: int) -> None:
        unit = b"%d " % len(self.sent) * size
        self.sent.append(unit[:size])
        self.sending.submit(FLOW, Traffic.STATE, unit[:size])

    def take(self, slot: int, _: int) -> None:
        number = self.number(slot)
        piece = self.sending.take(number, self.now_ns)
        if piece is not None:
            assert not piece.is_reported, "what is reported is not sent again"
            assert len(piece.holders) <= 1 + piece.copies
            self.way[number].append(piece)

    def arrive(self, slot: int, count: int) -> None:
        number = self.number(slot)
        for _ in range(min(count, len(self.way[number]))):
            piece = self.way[number].popleft()
            header = decode_header(piece.header())
            units = self.taking.land(number, header, bytes(piece.payload))
            self.got += [bytes(unit.payload) for unit in units]

    def report(self, _: int, __: int) -> None:
        for flow, before, ranges in self.taking.report():
            self.sending.on_report(flow, before, ranges, self.now_ns)

    def lose(self, slot: int, arrived: int) -> None:
        """A stream dies; some of what was under way has arrived."""
        number = self.number(slot)
        self.arrive(slot, arrived % (len(self.way[number]) + 1))
        self.sending.lose_stream(number)
        del self.numbers[slot], self.way[number]

    def retire(self, slot: int, _: int) -> None:
        number = self.number(slot)
        self.sending.retire_stream(number)
        if self.sending.may_close(number):
            assert not any(number in piece.holders for piece in self.way[number])
            self.lose(slot, 1_000)

    def poll(self, _: int, ms: int) -> None:
        self.now_ns += ms * MS
        self.sending.poll(self.now_ns)

    def finish(self) -> None:
        """Let all that is under way arrive, on one fresh stream."""
        for slot in list(self.numbers):
            self.lose(slot, 0)
        for _ in range(10_000):
            if self.sending.is_drained:
                return
            self.take(0, 0)
            self.arrive(0, 1)
            self.report(0, 0)
        raise AssertionError("it does not come to an end")


@given(STEPS)
def test_units_arrive_once_and_in_order_whatever_happens_to_streams(
    steps: list[tuple[str, int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_size_module, "PAYLOAD_BYTES_MAX", 50)
        link = Link()
        for name, slot, number in steps:
            getattr(link, name)(slot, number)
            assert link.got == link.sent[: len(link.got)]
        link.finish()

    assert link.got == link.sent
    counters = link.sending.counters
    total = sum(map(len, link.sent))
    assert sum(counters.reported.values()) == total
    assert sum(counters.sent.values()) == total + sum(counters.again.values())
    assert not any(link.sending.queue_bytes.values())


@given(
    st.lists(st.binary(max_size=90), max_size=12),
    st.lists(st.integers(0, 1_500), max_size=12),
)
def test_a_stream_s_bytes_become_the_same_frames_however_they_are_cut(
    payloads: list[bytes], places: list[int]
) -> None:
    frames = [Frame(FrameType.UNIT, p, FLOW, n) for n, p in enumerate(payloads)]
    data = b"".join(map(encode_frame, frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "_DIRECT_BYTES", 40)
        patch.setattr(decoder_module, "STAGING_BYTES", 80)
        decoder = StreamDecoder()
        got = [one for piece in chunked(data, places) for one in decoder.feed(piece)]

    assert [bytes(payload) for _, payload in got] == payloads
    assert [header.sequence for header, _ in got] == list(range(len(payloads)))
    assert len(decoder.buffer()) > 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_whatever_comes_on_a_stream_only_protocol_errors_come_of_it(
    data: bytes, places: list[int]
) -> None:
    decoder = StreamDecoder()
    try:
        for piece in chunked(data, places):
            decoder.feed(piece)
    except ProtocolError:
        pass


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FrameType),
            st.integers(0, 3),
            st.integers(0, (1 << 64) - 1) | st.integers(0, 40),
            st.binary(max_size=60),
            st.integers(0, 1),
        )
    )
)
def test_whatever_frames_come_memory_is_bounded_and_only_protocol_errors_come_of_it(
    frames: list[tuple[FrameType, int, int, bytes, int]],
) -> None:
    taking = Reassembler({FLOW: FlowLimits(200, 100)})
    try:
        for kind, flow, sequence, payload, flags in frames:
            header = Header(kind, flags, flow, len(payload), sequence, 0)
            taking.land(1, header, payload)
            (report,) = taking.report()
            assert report.before <= len(frames)
    except ProtocolError:
        pass


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20))
def test_a_range_set_is_a_set(pieces: list[tuple[int, int]]) -> None:
    held, expected = RangeSet(), set[int]()
    for start, size in pieces:
        new = set(range(start, start + size)) - expected
        assert held.add(start, start + size) == len(new)
        expected |= new

    assert {n for start, end in held for n in range(start, end)} == expected
    assert held.size == len(expected)
    ranges = list(held)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ranges))
    missing = {n for start, end in held.missing(100) for n in range(start, end)}
    assert missing == set(range(100)) - expected
    for start, size in pieces:
        assert held.covers(start, start + size)
        assert held.covers(start, start + 70) == expected.issuperset(range(start, start + 70))


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 6), min_size=1),
    st.sets(st.sampled_from("abc")),
    st.integers(1, 16),
)
def test_streams_come_to_rest_spread_evenly_over_paths_that_are_up(
    counts: dict[str, int], down: set[str], target: int
) -> None:
    serving: dict[str, list[int]] = {}
    number = 0
    for path, count in counts.items():
        serving[path] = [0] * (0 if path in down else count)
    for _ in range(100):
        step = next_step(serving, frozenset(down), target)
        match step:
            case Dial(path=path):
                assert path not in down
                number += 1
                serving[path].append(number)
            case Retire(stream=stream):
                path = next(p for p, streams in serving.items() if stream in streams)
                serving[path].remove(stream)
            case None:
                break
    else:
        raise AssertionError("it does not come to rest")

    up = [path for path in serving if path not in down]
    if up:
        sizes = [len(serving[path]) for path in up]
        assert sum(sizes) == max(target, len(up))
        assert max(sizes) - min(sizes) <= 1
