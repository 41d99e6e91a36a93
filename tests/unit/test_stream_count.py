"""How many streams to start with: windows and loss, not bandwidth by latency."""

import pytest

from transport.amst.stream_count import (
    START_COUNT,
    Decision,
    PathEstimate,
    Reason,
    StreamLimits,
    start_count,
    streams_for_loss,
    streams_for_window,
)
from transport.amst.stream_search import DECISIONS_MAX, StreamSearch

MBIT = 125_000
MS = 1_000_000


@pytest.mark.parametrize(
    ("rate_mbit_s", "rtt_ms", "expected"), [(20, 100, 1), (400, 80, 2), (800, 200, 7)]
)
def test_so_many_send_buffers_hold_a_full_path(
    rate_mbit_s: int, rtt_ms: int, expected: int
) -> None:
    path = PathEstimate(rate_mbit_s * MBIT, rtt_ms * MS)

    assert streams_for_window(path, 4 << 20) == expected


def test_loss_asks_for_streams_under_cubic_and_not_under_bbr() -> None:
    path = PathEstimate(400 * MBIT, 80 * MS, 0.001)

    assert streams_for_loss(path, "cubic") == 72  # Mathis: 5.6 Mbit/s each
    assert streams_for_loss(path, "bbr") == 1


def test_on_a_long_path_with_little_loss_cubic_asks_for_fewer_than_reno() -> None:
    path = PathEstimate(250 * MBIT, 180 * MS, 0.0001)

    assert streams_for_loss(path, "reno") == 32  # Mathis: 7.9 Mbit/s each
    assert streams_for_loss(path, "cubic") == 14  # RFC 9438: 18.7 Mbit/s each
    assert streams_for_loss(PathEstimate(250 * MBIT, 180 * MS), "cubic") == 1


def test_a_longer_round_trip_never_asks_for_fewer() -> None:
    counts = [
        streams_for_window(PathEstimate(400 * MBIT, rtt_ms * MS), 4 << 20)
        for rtt_ms in range(1, 500)
    ]

    assert counts == sorted(counts)


def test_the_start_keeps_to_the_limits() -> None:
    dear = PathEstimate(400 * MBIT, 80 * MS, 0.001)

    assert start_count(StreamLimits(most=16), None, "cubic") == START_COUNT
    assert start_count(StreamLimits(most=16), dear, "cubic") == 16
    assert start_count(StreamLimits(least=4, most=16), dear, "bbr") == 4
    assert start_count(StreamLimits(most=1), None, "bbr") == 1


def test_other_limits_take_effect_at_once_and_are_told() -> None:
    search = StreamSearch(0, StreamLimits(most=16))
    search.set_limits(5, StreamLimits(least=4, most=8))

    assert search.count == 4
    assert search.decisions[-1] == Decision(5, START_COUNT, 4, Reason.LIMITS)


def test_the_list_of_decisions_is_bounded() -> None:
    search = StreamSearch(0, StreamLimits())
    for now in range(2 * DECISIONS_MAX):
        least = 1 + now % 2 * 3
        search.set_limits(now, StreamLimits(least=least, most=least))

    assert len(search.decisions) == DECISIONS_MAX
