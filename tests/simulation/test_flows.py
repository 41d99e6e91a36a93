"""Flows under fire keep every promise; which bugs that finds is in `flow_mutants.py`."""

import functools
from collections import Counter

import pytest

from tests.simulation.flows import ACTS, FlowReport, run_flow
from transport.hde.unit import Level

SEEDS = range(60)


@functools.cache
def report_of(seed: int) -> FlowReport:
    return run_flow(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_read_is_what_was_sent_and_a_refusal_is_mended(seed: int) -> None:
    report = report_of(seed)

    assert not report.check, f"{report.what}\nreplay: run_flow({seed})"


def test_every_fault_struck_at_every_level_and_memories_were_full() -> None:
    reports = [report_of(seed) for seed in SEEDS]
    faults = Counter(fault for report in reports for fault in report.faults)
    levels = sum((report.levels for report in reports), Counter[Level]())

    assert faults.keys() == set(ACTS)
    assert levels.keys() == {Level.RAW, Level.WINDOW, Level.TYPED}
    assert sum(report.forgotten for report in reports) > 1_000


def test_a_seed_decides_everything() -> None:
    assert run_flow(3) == run_flow(3)
