"""A short run of the fuzzer, so that it is alive when somebody needs it."""

from tests.fuzz.damage import Report, run


def test_damaged_units_are_refused_or_still_right() -> None:
    report = Report()

    run(1, 1_500, report)

    assert not report.wrong
    assert report.units == 1_500
    assert report.refused > 1_000
