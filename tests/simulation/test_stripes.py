"""Data streams under fire keep every promise: 200 kills and more, of streams and of processes."""

import functools
from collections import Counter

import pytest

from tests.simulation.stripes import FAULTS, StripeReport, run_stripes

SEEDS = range(60)


@functools.cache
def report_of(seed: int) -> StripeReport:
    return run_stripes(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_arrives_once_in_order_and_nothing_that_was_reported_is_sent_again(seed: int) -> None:
    report = report_of(seed)

    assert not report.check, (
        f'{report.what}\nreplay: make stripes ARGS="--schedules 1 --seed {seed}"'
    )


def test_there_were_kills_enough_and_every_fault_struck() -> None:
    faults = Counter(fault for seed in SEEDS for fault in report_of(seed).faults)

    assert sum(count for name, count in faults.items() if name.startswith("kill")) >= 200
    assert faults.keys() == set(FAULTS)
    assert sum(report_of(seed).again_bytes for seed in SEEDS) > 0


def test_a_seed_decides_everything() -> None:
    assert run_stripes(3) == run_stripes(3)
