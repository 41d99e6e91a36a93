"""How soon is a session back after its path was cut, under load?

    python -m benchmarks.link.recovery [--repeat N] [--cuts 2,4,10] [--seed N] [--json]

Emulated 50 Mbit/s, 80 ms, bbr, TLS 1.3; both ends as nodes run them, with a node's default timers,
on logs in memory. After five seconds of full load both directions lose everything, for as long as
`--cuts` says and up to a second more, by the seed: where a cut ends among the kernel's repetitions
matters. Times are from the moment the path is back: `back` until the session's data streams bring
bytes again, `durable` until the peer's log has the next record (under a backlog a unit has
megabytes, and is written when it is whole), `full` until a second begins that carries 90 % of what
the seconds before the cut did. `--seconds` is how long is looked for that.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.link.encryption import VARIABLE, make_certificates
from benchmarks.link.report import Row, console, run_module
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import Site, open_site
from benchmarks.wan.emulator import LinkShape

ENDS: Final = "benchmarks.link.recovery_ends"
PATH: Final = Scenario("", LinkShape(50, 80))
LOAD_S: Final = 5.0
BEFORE_S: Final = 2.0
FULL_SHARE: Final = 0.9
MIB: Final = 400

Arrivals = list[tuple[float, int, int]]  # when, bytes read, records durable


def main() -> None:
    """Run and report."""
    run_module(__doc__, measure, seconds=8.0, repeat=3, add_more=_add_options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cuts", default="2,10,30", help="seconds each, with commas between")
    parser.add_argument("--seed", type=int, default=1)


def measure(options: argparse.Namespace) -> list[Row]:
    """Return a row for each of `--cuts`."""
    dice = Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="dwcp-recovery-") as folder:
        certificates = Path(folder) / "certs"
        make_certificates(certificates)
        for cut_s in map(float, options.cuts.split(",")):
            runs = []
            for _ in range(options.repeat):
                runs.append(measure_once(cut_s + dice.random(), options.seconds, certificates))
                console.print(f"[dim]{json.dumps(runs[-1])}[/]")
            rows.append(_row(cut_s, runs))
    return rows


def measure_once(cut_s: float, seconds: float, certificates: Path) -> Row:
    """Cut the path of a link once.

    Args:
        cut_s: For how long.
        seconds: How long is looked afterwards.
        certificates: Folder made by `make_certificates`.

    Raises:
        WanError: The emulator does not work here.
    """
    with open_site(PATH) as site:
        site.environ[VARIABLE] = str(certificates)
        taker = site.worker("b", ENDS, "take", site.host)
        giver = site.worker("a", ENDS, "give", site.host, taker.first["port"], MIB)
        time.sleep(LOAD_S)
        cut_at_s, healed_s = _cut(site, cut_s)
        time.sleep(seconds)
        arrivals: Arrivals = taker.ask("arrivals")["arrivals"]
        sessions = taker.mark()["sessions"]
        giver.close()
        taker.close()
        too_slow = site.too_slow_packets()
    full = _bytes_in(arrivals, cut_at_s - BEFORE_S, cut_at_s) / BEFORE_S
    later = [one for one in arrivals if one[0] > healed_s]
    _, _, durable = max(one for one in arrivals if one[0] <= healed_s)
    moments = {
        "back": (at for at, _, _ in later),
        "durable": (at for at, _, records in later if records > durable),
        "full": (at for at, _, _ in later if _bytes_in(arrivals, at, at + 1) >= FULL_SHARE * full),
    }
    firsts = {name: next(found, None) for name, found in moments.items()}
    times = {name: None if at is None else round(at - healed_s, 3) for name, at in firsts.items()}
    return {
        "cut_s": round(cut_s, 2),
        "before_mbit_s": round(full * 8e-6, 1),
        **times,
        "sessions": sessions,
        "too_slow": too_slow,
    }


def _cut(site: Site, cut_s: float) -> tuple[float, float]:
    """Cut the path for so long; return when that was."""
    assert site.wan is not None
    site.wan.cut()
    cut_at_s = time.monotonic()
    time.sleep(cut_s)
    healed_s = time.monotonic()
    site.wan.heal()
    return cut_at_s, healed_s


def _bytes_in(arrivals: Arrivals, begin_s: float, end_s: float) -> int:
    def until(moment_s: float) -> int:
        return max((size for at, size, _ in arrivals if at <= moment_s), default=0)

    return until(end_s) - until(begin_s)


def _row(cut_s: float, runs: list[Row]) -> Row:
    row: dict[str, Any] = {"cut_s": cut_s, "times": len(runs)}
    row["before_mbit_s"] = round(statistics.median(run["before_mbit_s"] for run in runs), 1)
    for name in ("back", "durable", "full"):
        found = [run[name] for run in runs if run[name] is not None]
        is_whole = len(found) == len(runs)  # a time that was never seen is the worst of all
        row[f"{name}_s_p50"] = round(statistics.median(found), 2) if found else None
        row[f"{name}_s_worst"] = round(max(found), 2) if found and is_whole else None
    row["new_sessions"] = sum(run["sessions"] - 1 for run in runs)
    row["emulator_too_slow"] = sum(run["too_slow"] for run in runs)
    row["runs"] = runs
    return row


if __name__ == "__main__":
    main()
