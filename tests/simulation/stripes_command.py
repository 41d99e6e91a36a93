"""Command: `python -m tests.simulation.stripes_command`, as `make stripes` calls it."""

import sys
import time
from collections import Counter

import click

from dwcp.cli.output import console, emit_json, json_option
from tests.simulation.stripes import run_stripes


@click.command()
@click.option("--schedules", type=click.IntRange(1), default=200, help="Schedules.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of the first; the rest follow.")
@json_option
def main(*, schedules: int, seed: int, as_json: bool) -> None:
    """Kill data streams and processes of one session on a virtual network, by seeds."""
    began = time.monotonic()
    reports = [run_stripes(number) for number in range(seed, seed + schedules)]
    faults = Counter(fault for report in reports for fault in report.faults)
    failures = [
        {
            "seed": report.seed,
            "what": report.what,
            "replay": f'make stripes ARGS="--schedules 1 --seed {report.seed}"',
        }
        for report in reports
        if report.check
    ]
    verdict = {
        "schedules": schedules,
        "steps": sum(report.steps for report in reports),
        "violations": len(failures),
        "seconds": round(time.monotonic() - began, 3),
        "kills": sum(count for name, count in faults.items() if name.startswith("kill")),
        "sessions": sum(report.sessions for report in reports),
        "faults": dict(sorted(faults.items())),
        "failures": failures,
    }
    console.print(
        f"{schedules:,} schedules, {verdict['kills']:,} kills, {faults.total():,} faults, "
        f"{verdict['sessions']:,} sessions in {verdict['seconds']:.1f} s: "
        f"{len(failures)} violations"
    )
    for one in failures:
        console.print(f"seed {one['seed']}: {one['what']}", markup=False, style="red")
    if as_json:
        emit_json(verdict)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
