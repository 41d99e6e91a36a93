"""Damage units and see that the decoder stays honest and small.

    python -m tests.fuzz [--count 10000000] [--seed N] [--seconds S] [--json]

Half of the damage is done to the unit as it travels; half to what is inside it, behind zstd, and
packed again with lengths that fit: so it reaches every reader. Allowed is BadUnitError or the right
bytes; anything else, or memory that grows, ends the run with exit code 1.
"""

import argparse
import json
import resource
import sys
import time

from tests.fuzz.damage import Report, run


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.0, help="end earlier; 0 is never")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = time.monotonic() + options.seconds if options.seconds else float("inf")
    report = Report()
    seed = options.seed
    while report.units < options.count and time.monotonic() < ends:
        run(seed, min(1_000, options.count - report.units), report)
        seed += 1
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    result = {
        "units": report.units,
        "refused": report.refused,
        "right": report.right,
        "wrong": len(report.wrong),
        "first_wrong": report.wrong[:3],
        "peak_memory_grew_mib": round(grown_mib, 1),
        "seeds": [options.seed, seed - 1],
    }
    sys.stderr.write(f"{result}\n")
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
