"""Federations from a seed keep every promise.

Which bugs this simulation finds, those we once had among them, is in `tests.simulation.mutants`,
and checked by `test_mutants.py`.
"""

import functools

import pytest

from tests.simulation.federation import Report, run_schedule
from tests.simulation.nemesis import FAULTS

SEEDS = range(40)


@functools.cache
def report_of(seed: int) -> Report:
    return run_schedule(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_is_broken_and_all_regions_become_equal(seed: int) -> None:
    report = report_of(seed)

    assert not report.check, (
        f'{report.what}\nreplay: make simulate ARGS="--schedules 1 --seed {seed}"'
    )
    assert report.records


def test_a_seed_decides_everything() -> None:
    first, second = run_schedule(7), run_schedule(7)

    assert first == second
    assert first.steps > 100


def test_every_fault_strikes_in_some_of_the_seeds() -> None:
    struck = {fault for seed in SEEDS for fault in report_of(seed).faults}

    assert struck == {name for name, _ in FAULTS}
