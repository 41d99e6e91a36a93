"""Kill data streams and the sending process of a real link: what is lost, how soon is it back?

    python -m benchmarks.link_kills [--kills 20] [--seed N] [--json]

Loopback sockets, a log in memory, three data streams. A time is from the kill to the next durable
record. A process that is killed is started again: its time is Python's start as well, and not
given. Baseline is nothing killed: the pause between two durable records of the same paced link.
"""

import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import sys
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from tests.support.link_kills import KINDS, run_kills

console = Console(stderr=True)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    report = asyncio.run(run_kills(options.kills, options.seed))
    table = Table("killed", "times", "back after, median", "most", box=None)
    rows: list[dict[str, Any]] = []
    for kind in ("nothing", *KINDS):
        times = report.back_ms.get(kind, [])
        row: dict[str, Any] = {"killed": kind, "times": report.kills.get(kind, len(times))}
        if times:
            row |= {
                "back_ms_p50": round(statistics.median(times)),
                "back_ms_max": round(max(times)),
            }
        rows.append(row)
        shown = (f"{row['back_ms_p50']} ms", f"{row['back_ms_max']} ms") if times else ("", "")
        table.add_row(kind, str(row["times"]), *shown)
    console.print(table)
    console.print(
        f"{report.records:,} records, {len(report.wrong)} partitions wrong, "
        f"{report.sessions} sessions, {report.seconds:.1f} s"
    )
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}",
        "rows": rows,
        "records": report.records,
        "wrong": report.wrong,
        "sessions": report.sessions,
        "refused": report.refused,
        "seconds": round(report.seconds, 1),
    }
    if options.json:
        print(json.dumps(result))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
