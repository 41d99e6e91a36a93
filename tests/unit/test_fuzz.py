"""A short run of the fuzzer, so that it is alive when somebody needs it."""

import pytest

from tests.fuzz.damage import Report, run
from transport.hde import flow


def test_damaged_units_are_refused_or_still_right() -> None:
    report = Report()

    run(1, 1_500, report)

    assert not report.wrong
    assert report.units == 1_500
    assert report.refused > 1_000


def test_the_fuzzer_notices_a_decoder_that_does_not_check_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow, "check_raw", lambda _, raw: (raw, 0))
    report = Report()

    run(1, 1_500, report)

    assert any(wrong.endswith("other bytes came out") for wrong in report.wrong)


def test_a_report_of_several_processes_counts_all() -> None:
    total, one = Report(), Report()
    run(1, 100, one)

    total.add(one)
    total.add(one)

    assert (total.units, total.refused) == (200, 2 * one.refused)
