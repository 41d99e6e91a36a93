"""Which level should a flow use on which path, and does the choice find it?

    python -m benchmarks.link.levels [--rates 2,10,100] [--changes 2000] [--repeat N] [--json]

An emulated path of each rate, 80 ms, TLS 1.3, both ends as nodes run them on logs in memory.
Made-up documents are appended at a steady rate and shipped by the window alone, by typed deltas
wherever possible (a bound on the rate makes bytes dear), and as chosen. After the first half of
`--seconds`, in which every entity is seen for the first time, are counted: the time from append to
append, what of the records arrived, bytes of all units, and CPU of encoding as a share of a core.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.link.encryption import VARIABLE, make_certificates
from benchmarks.link.report import Row, console, percentile, run_module
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import open_site
from benchmarks.wan.emulator import LinkShape

ENDS: Final = "benchmarks.link.levels_ends"
LEVELS: Final = {"window": (False, 0.0), "typed": (True, 0.001), "chosen": (True, 0.0)}
RTT_MS: Final = 80
BATCH: Final = 10


def main() -> None:
    """Run and report."""
    run_module(__doc__, measure, seconds=20.0, add_more=_add_options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", default="2,10,100", help="Mbit/s, with commas between")
    parser.add_argument("--changes", type=int, default=2_000, help="a second")


def measure(options: argparse.Namespace) -> list[Row]:
    """Return a row for each path, level and repeat."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="dwcp-levels-") as folder:
        certificates = Path(folder) / "certs"
        make_certificates(certificates)
        for rate_mbit_s in map(float, options.rates.split(",")):
            for _ in range(options.repeat):
                for level in LEVELS:
                    rows.append(measure_once(rate_mbit_s, level, options, certificates))
                    console.print(f"[dim]{json.dumps(rows[-1])}[/]")
    return rows


def measure_once(
    rate_mbit_s: float, level: str, options: argparse.Namespace, certificates: Path
) -> Row:
    """Ship changes over one path.

    Raises:
        WanError: The emulator does not work here.
    """
    half_s = options.seconds / 2
    with open_site(Scenario("", LinkShape(rate_mbit_s, RTT_MS))) as site:
        site.environ[VARIABLE] = str(certificates)
        taker = site.worker("b", ENDS, "take", site.host)
        port = taker.first["port"]
        load = (options.changes, options.seconds)
        giver = site.worker("a", ENDS, "give", site.host, port, *load, *LEVELS[level])
        time.sleep(half_s)
        since_ms, before = time.time_ns() // 1_000_000, giver.mark()
        time.sleep(half_s)
        after = giver.mark()
        delays = taker.ask("delays", since_ms)["delays"]
        giver.close()
        taker.close()
    flow = after["flows"]["dwcp.state"]
    return {
        "mbit_s": rate_mbit_s,
        "level": level,
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "arrived": round(len(delays) / (options.changes / BATCH * half_s), 3),
        "kb_s": round((after["encoded_bytes"] - before["encoded_bytes"]) / half_s / 1e3, 1),
        "encode_share": round((_cpu_s(after) - _cpu_s(before)) / half_s, 4),
        "typed_units": flow["levels"].get("H3 in H4", {}).get("units", 0),
        "window_units": flow["levels"].get("H4", {}).get("units", 0),
        "believed_mbit_s": round(after["rate_bytes_s"] * 8e-6, 2),
        "choices": [flow["choices"]],
    }


def _cpu_s(status: dict[str, Any]) -> float:
    return sum(float(one["cpu_s"]) for one in status["flows"]["dwcp.state"]["levels"].values())


if __name__ == "__main__":
    main()
