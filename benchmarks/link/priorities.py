"""Are small urgent things ahead of large ones, and does a thin link stay alive?

    python -m benchmarks.link.priorities [--seconds S] [--json]

Emulated 50 Mbit/s, 80 ms, bbr, two streams: state at full rate and a bulk flow beside it, paced at
95 % of the link (its headers take the rest); 20 messages of 200 bytes a second of the consensus
class, their age on arrival; the same without pacing; and without other traffic. The bar is half a
round trip and 20 ms.

Emulated 50 kbit/s, 200 ms, queue of 10 packets, full load, one stream, paced likewise and not: gaps
between heartbeats, which are sent every second; five seconds of silence would end a session.
"""

import argparse
import time
from itertools import pairwise
from typing import Final, NamedTuple

from benchmarks.link.report import Row, console, percentile, run_module
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import open_site
from benchmarks.wan.emulator import LinkShape

OURS: Final = "benchmarks.link.ours"
MESSAGES: Final = "log:20:200"
PACED_SHARE: Final = 0.95
FAST: Final = Scenario("", LinkShape(50, 80))
THIN: Final = Scenario("", LinkShape(0.05, 200, queue_bytes=15_000))


class Case(NamedTuple):
    """One row: a path, how many streams, what they carry, and whether they are paced."""

    name: str
    scenario: Scenario
    streams: int
    loads: tuple[str, ...]
    is_paced: bool = False


def measure(options: argparse.Namespace) -> list[Row]:
    """Return a row for each case."""
    cases = (
        Case(
            "50 Mbit/s, state and bulk, paced", FAST, 2, ("full", "bulk", MESSAGES), is_paced=True
        ),
        Case("50 Mbit/s, state and bulk", FAST, 2, ("full", "bulk", MESSAGES)),
        Case("50 Mbit/s, nothing else", FAST, 2, (MESSAGES,)),
        Case("50 kbit/s, state, paced", THIN, 1, ("full",), is_paced=True),
        Case("50 kbit/s, state", THIN, 1, ("full",)),
    )
    return [_one(case, options.seconds) for case in cases]


def _one(case: Case, seconds: float) -> Row:
    shape, loads = case.scenario.shape, case.loads
    assert shape is not None
    console.print(f"[dim]{case.name}[/]")
    with open_site(case.scenario) as site:
        receiver = site.worker("b", OURS, "receive", site.host)
        port = receiver.first["port"]
        sender = site.worker("a", OURS, "send", site.host, port, case.streams, "bbr", *loads)
        if case.is_paced:
            sender.ask("pace", shape.rate_mbit_s * 1e6 / 8 * PACED_SHARE)
        time.sleep(5)
        receiver.ask("latencies")
        before, wire_before = receiver.mark(), site.line_bytes()
        time.sleep(seconds)
        after, wire_after = receiver.mark(), site.line_bytes()
        ages_ms = receiver.ask("latencies")["latencies_ms"].get("log", [])
        beats_s = receiver.ask("heartbeats")["heartbeats_s"]
        sender.close()
        receiver.close()
    beats_s = [at_s for at_s in beats_s if at_s >= before["at_s"]]
    passed_s = after["at_s"] - before["at_s"]
    gaps_s = [late - early for early, late in pairwise(beats_s)]
    is_asked = any(load.startswith("log") for load in loads)
    return {
        "case": case.name,
        "line_used": round((wire_after - wire_before) * 8e-6 / passed_s / shape.rate_mbit_s, 3),
        "messages": len(ages_ms) if is_asked else None,
        "age_p50_ms": percentile(ages_ms, 0.5),
        "age_p99_ms": percentile(ages_ms, 0.99),
        "bar_ms": shape.rtt_ms / 2 + 20 if is_asked else None,
        "heartbeats": len(beats_s),
        "expected": int(passed_s),
        "longest_gap_s": round(max(gaps_s), 2) if gaps_s else None,
    }


if __name__ == "__main__":
    run_module(__doc__, measure, seconds=20.0)
