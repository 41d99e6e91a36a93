"""Damage units and see that the decoder stays honest and small.

    python -m tests.fuzz [--count 10000000] [--seed N] [--seconds S] [--jobs N] [--json]

Half of the damage is done to the unit as it travels: bits, cuts, two units spliced, one lost or
twice, lengths that lie, bombs. Half is done to what is inside it, behind zstd, and packed again
with lengths that fit: so it reaches every reader. Allowed is BadUnitError or the right bytes;
anything else, or a process that grows by more than 64 MiB after its first seed, makes exit code 1.
"""

import argparse
import json
import multiprocessing
import sys
import time
from typing import Final

from tests.fuzz.damage import Report, work

PER_SEED: Final = 1_000
GROWN_MIB_MAX: Final = 64


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.0, help="end earlier; 0 is never")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    seeds = range(options.seed, options.seed + -(-options.count // PER_SEED))
    tasks = [(seed, min(PER_SEED, options.count - at * PER_SEED)) for at, seed in enumerate(seeds)]
    total, grown_mib, done = Report(), 0.0, 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for report, grown in pool.imap(work, tasks):
            total.add(report)
            grown_mib = max(grown_mib, grown)
            done += 1
            if options.seconds and time.monotonic() - began > options.seconds:
                break
    result = {
        "units": total.units,
        "units_per_s": round(total.units / (time.monotonic() - began)),
        "jobs": options.jobs,
        "refused": total.refused,
        "right": total.right,
        "wrong": len(total.wrong),
        "first_wrong": total.wrong[:3],
        "peak_memory_grew_mib": round(grown_mib, 1),
        "seeds": [options.seed, options.seed + done - 1],
    }
    sys.stderr.write(f"{result}\n")
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 1 if total.wrong or grown_mib > GROWN_MIB_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
