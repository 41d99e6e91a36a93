"""Quantiles within 5 %, in a fixed amount of memory."""

import random

import numpy as np
import pytest

from streams.histogram import BOUNDS_MS, Histogram


def of(*samples_ms: float) -> Histogram:
    histogram = Histogram()
    histogram.observe(samples_ms)
    return histogram


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_at_most_5_percent_above_the_true_one(share: float) -> None:
    dice = random.Random(1)
    samples = [dice.lognormvariate(4, 1.5) + 1 for _ in range(5_000)]

    true = float(np.quantile(samples, share, method="inverted_cdf"))

    assert true * 0.999 <= of(*samples).quantile_ms(share) <= true * 1.051 + 0.1


def test_without_samples_quantiles_are_0() -> None:
    assert of().quantile_ms(0.99) == 0
    assert of().to_json() == {"count": 0, "p50": 0.0, "p99": 0.0, "buckets": {}}


def test_times_below_a_millisecond_and_clocks_gone_back_share_the_first_bucket() -> None:
    assert of(-1e9, 0, 0.5, 1).to_json()["buckets"] == {0: 4}


def test_times_beyond_the_last_bucket_are_counted_in_it() -> None:
    histogram = of(1e12)

    assert histogram.count == 1
    assert histogram.quantile_ms(0.5) == round(float(BOUNDS_MS[-1]), 1)


def test_sums_and_counts_add_up_over_calls() -> None:
    histogram = of(10, 20)
    histogram.observe(iter([30.0]))
    histogram.observe([])

    assert histogram.count == 3
    assert histogram.sum_ms == 60


def test_another_histogram_is_added_by_its_counts() -> None:
    histogram = of(5, 500)
    histogram.add(of(5, 50).counts)

    assert histogram.count == 4
    assert histogram.quantile_ms(0.5) == of(5).quantile_ms(0.5)
