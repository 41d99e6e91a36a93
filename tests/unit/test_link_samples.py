"""Seconds of a link from the counters of its streams."""

import pytest

from transport.amst.samples import SAMPLE_NS, LinkSampler, StreamReading


def reading(acked: int, **more: int) -> StreamReading:
    return StreamReading("bbr", acked_bytes=acked, sent_bytes=acked, **more)


def test_goodput_is_what_all_streams_gained_by_the_time_that_really_passed() -> None:
    sampler = LinkSampler(0)
    sampler.sample(SAMPLE_NS, {1: reading(1_000), 2: reading(500)})
    sample = sampler.sample(3 * SAMPLE_NS, {1: reading(3_000), 2: reading(2_500)})

    assert sample.goodput_bytes_per_s == 2_000
    assert sample.stream_count == 2
    assert sample.duration_ns == 2 * SAMPLE_NS


def test_a_new_stream_counts_from_nought_and_a_closed_one_no_more() -> None:
    sampler = LinkSampler(0)
    sampler.sample(SAMPLE_NS, {1: reading(1_000)})
    sample = sampler.sample(2 * SAMPLE_NS, {2: reading(300)})
    after = sampler.sample(3 * SAMPLE_NS, {2: reading(300)})

    assert sample.goodput_bytes_per_s == 300
    assert after.goodput_bytes_per_s == 0


def test_streams_that_retire_still_count_their_bytes_but_not_as_streams() -> None:
    sampler = LinkSampler(0)
    sample = sampler.sample(SAMPLE_NS, {1: reading(100), 2: reading(50)}, stream_count=1)

    assert (sample.goodput_bytes_per_s, sample.stream_count) == (150, 1)


def test_a_counter_that_falls_is_never_less_than_nothing() -> None:
    sampler = LinkSampler(0)
    sampler.sample(SAMPLE_NS, {1: reading(1_000)})

    assert sampler.sample(2 * SAMPLE_NS, {1: reading(10)}).goodput_bytes_per_s == 0


def test_shares_are_of_what_was_sent_and_of_the_time_that_was_busy() -> None:
    sampler = LinkSampler(0)
    one = StreamReading(
        "bbr", 900, 1_000, 100, 90_000, 80_000, busy_us=500_000, send_buffer_limited_us=100_000
    )
    two = StreamReading("bbr", 1_000, 1_000, 0, 110_000, 82_000, busy_us=500_000)
    sample = sampler.sample(SAMPLE_NS, {1: one, 2: two}, starved_ns=SAMPLE_NS)

    assert sample.repeated_share == pytest.approx(0.05)
    assert sample.send_buffer_limited_share == pytest.approx(0.1)
    assert sample.rtt_us == 100_000
    assert sample.min_rtt_us == 80_000
    assert sample.rtt_ratio == pytest.approx(1.25)
    assert sample.starved_share == pytest.approx(0.5)
    assert sample.is_app_limited


def test_a_link_without_streams_or_without_tcp_info_has_nought_everywhere() -> None:
    sampler = LinkSampler(0)
    sample = sampler.sample(SAMPLE_NS, {})

    assert (sample.goodput_bytes_per_s, sample.rtt_us, sample.rtt_ratio) == (0, 0, 0)
    assert sample.congestion_control == ""
