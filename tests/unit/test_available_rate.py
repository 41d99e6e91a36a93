"""What a link can carry: measured at its limit, a lower bound below it."""

from transport.amst.available import AvailableRate
from transport.amst.samples import LinkSample


def sample(
    goodput: float,
    starved_share: float,
    window_bytes: int = 0,
    rtt_us: int = 0,
    waiting_bytes: int = 1,
    control: str = "cubic",
) -> LinkSample:
    return LinkSample(
        at_ns=0,
        duration_ns=1_000_000_000,
        goodput_bytes_per_s=goodput,
        repeated_share=0.0,
        rtt_us=rtt_us,
        min_rtt_us=rtt_us,
        send_buffer_limited_share=0.0,
        receive_window_limited_share=0.0,
        starved_share=starved_share,
        stream_count=2,
        congestion_control=control,
        congestion_window_bytes=window_bytes,
        unsent_bytes=0,
        queue_bytes=waiting_bytes,
    )


def test_an_idle_link_can_carry_a_window_a_round_trip() -> None:
    rate = AvailableRate()
    assert rate.bytes_per_s == 0
    rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000))
    assert rate.bytes_per_s == 200_000
    rate.observe(sample(1_000, 0.99, window_bytes=20_000, rtt_us=100_000))
    assert rate.bytes_per_s == 200_000


def test_without_the_kernels_word_it_is_what_went_out_in_the_busy_time() -> None:
    rate = AvailableRate()
    rate.observe(sample(1_000, 0.75))
    assert rate.bytes_per_s == 4_000


def test_a_link_at_its_limit_carries_what_it_carries() -> None:
    rate = AvailableRate()
    rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000))
    rate.observe(sample(50_000, 0.0, window_bytes=40_000, rtt_us=400_000))
    assert rate.bytes_per_s == 50_000
    rate.observe(sample(100_000, 0.0, window_bytes=40_000, rtt_us=400_000))
    assert rate.bytes_per_s == 75_000


def test_once_the_limit_was_seen_the_estimate_rises_slowly() -> None:
    rate = AvailableRate()
    rate.observe(sample(40_000, 0.0))
    rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000))
    assert rate.bytes_per_s == 50_000
    for _ in range(10):
        rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000))
    assert rate.bytes_per_s == 200_000


def test_a_cut_tells_nothing_of_the_rate() -> None:
    rate = AvailableRate()
    rate.observe(sample(40_000, 0.0))
    for _ in range(10):
        rate.observe(sample(0, 0.0))
    assert rate.bytes_per_s == 40_000


def test_a_link_with_nothing_waiting_is_not_at_its_limit() -> None:
    rate = AvailableRate()
    rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000))
    rate.observe(sample(1_000, 0.0, window_bytes=40_000, rtt_us=100_000, waiting_bytes=0))
    assert rate.bytes_per_s == 200_000


def test_half_a_window_of_bbr_fills_the_path() -> None:
    rate = AvailableRate()
    rate.observe(sample(1_000, 0.99, window_bytes=40_000, rtt_us=100_000, control="bbr"))
    assert rate.bytes_per_s == 100_000
