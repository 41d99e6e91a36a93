"""Frames are large only where the path carries a large one within milliseconds."""

from transport.amst.frame_size import LARGE_BYTES, LARGE_PER_S, FrameSize
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic
from transport.frame import PAYLOAD_BYTES_MAX

TENTH_NS = 100_000_000
LARGEST, LARGE = LARGE_BYTES


def test_frames_follow_the_rate_up_and_down() -> None:
    size = FrameSize()
    sizes = [size.payload_bytes]
    reported_bytes = 0
    for tenth, carried_bytes in enumerate((0, LARGE, LARGE + 1, LARGEST + 1, LARGEST, 0), 1):
        reported_bytes += carried_bytes * LARGE_PER_S // 10
        size.observe(reported_bytes, tenth * TENTH_NS)
        sizes.append(size.payload_bytes)

    small = PAYLOAD_BYTES_MAX
    assert sizes == [small, small, small, LARGE, LARGEST, LARGE, small]


def test_two_looks_in_one_moment_make_small_frames() -> None:
    size = FrameSize()
    size.observe(0, TENTH_NS)
    size.observe(0, TENTH_NS)

    assert size.payload_bytes == PAYLOAD_BYTES_MAX


def test_a_unit_is_cut_into_frames_of_the_size_of_now() -> None:
    made = SendScheduler()
    made.open_flow(1, 64 << 20)
    made.open_stream(1, 0)
    unit = bytes(LARGE + 1)
    made.submit(1, Traffic.STATE, unit)
    first = [made.take(1, 0) for _ in range(5)]
    made.poll(0)
    made.on_report(1, 5, [], 1)
    made.poll(5_000_000)
    made.submit(1, Traffic.STATE, unit)
    second = [made.take(1, 5_000_000) for _ in range(2)]

    assert [len(piece) for piece in first if piece is not None] == [PAYLOAD_BYTES_MAX] * 4 + [1]
    assert [len(piece) for piece in second if piece is not None] == [LARGE, 1]
    assert made.take(1, 5_000_000) is None
