"""What do many streams bring to one transfer, and to single state changes?

    python -m benchmarks.link.transfers [--control bbr] [--repeat N] [--seconds S] [--json]

Emulated 400 Mbit/s, 80 ms, with 0 and 0.1 % loss, bbr and cubic. For our link with one stream and
with four: the time until 64 MiB, submitted at once on a fresh session, have all arrived; and how
old state changes of 1 KiB are on arrival, 500 a second, nothing else under way (half and 99 %).
"""

import argparse
import statistics
import time
from typing import Final

from benchmarks.link.report import Row, console, percentile, run_module
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import Worker, open_site
from benchmarks.wan.emulator import LinkShape

BLOCK_BYTES: Final = 64 << 20
OURS: Final = "benchmarks.link.ours"
STREAMS: Final = (1, 4)
CONTROLS: Final = ("bbr", "cubic")


def measure(options: argparse.Namespace) -> list[Row]:
    """Return a row for each path and number of streams."""
    rows = []
    for loss in (0.0, 0.001):
        for control in options.control or CONTROLS:
            scenario = Scenario("", LinkShape(400, 80, loss), control)
            runs: dict[int, list[Row]] = {streams: [] for streams in STREAMS}
            for _ in range(options.repeat):
                for streams in STREAMS:
                    console.print(f"[dim]{loss:.1%} {control} {streams}[/]")
                    runs[streams].append(_one(scenario, streams, options.seconds))
            rows += [_row(scenario, streams, runs) for streams in STREAMS]
    return rows


def _one(scenario: Scenario, streams: int, seconds: float) -> Row:
    with open_site(scenario) as site:
        receiver = site.worker("b", OURS, "receive", site.host)
        port = receiver.first["port"]
        idle = "state:0.01:64"  # no more than the first bytes
        sender = site.worker("a", OURS, "send", site.host, port, streams, scenario.control, idle)
        time.sleep(2)
        before = receiver.mark()["bytes"]
        began_s = sender.ask("block", BLOCK_BYTES)["at_s"]
        done_s = receiver.ask("await", before + BLOCK_BYTES)["at_s"]
        sender.close()
        receiver.close()
    return {"transfer_s": done_s - began_s, **_ages(scenario, streams, seconds)}


def _ages(scenario: Scenario, streams: int, seconds: float) -> Row:
    with open_site(scenario) as site:
        receiver: Worker = site.worker("b", OURS, "receive", site.host)
        port = receiver.first["port"]
        load = "state:500:1024"
        sender = site.worker("a", OURS, "send", site.host, port, streams, scenario.control, load)
        time.sleep(3)
        receiver.ask("latencies")
        time.sleep(seconds)
        ages_ms = receiver.ask("latencies")["latencies_ms"].get("state", [])
        sender.close()
        receiver.close()
    return {
        "age_p50_ms": percentile(ages_ms, 0.5),
        "age_p99_ms": percentile(ages_ms, 0.99),
        "changes": len(ages_ms),
    }


def _row(scenario: Scenario, streams: int, runs: dict[int, list[Row]]) -> Row:
    assert scenario.shape is not None

    def median(count: int, name: str) -> float:
        return float(statistics.median(run[name] for run in runs[count]))

    times = [run["transfer_s"] for run in runs[streams]]
    return {
        "loss": f"{scenario.shape.loss:.1%}",
        "control": scenario.control,
        "streams": streams,
        "transfer_s": round(median(streams, "transfer_s"), 2),
        "min_s": round(min(times), 2),
        "max_s": round(max(times), 2),
        "of_one_stream": round(median(streams, "transfer_s") / median(1, "transfer_s"), 3),
        "age_p50_ms": median(streams, "age_p50_ms"),
        "age_p99_ms": median(streams, "age_p99_ms"),
        "p99_of_one_stream": round(median(streams, "age_p99_ms") / median(1, "age_p99_ms"), 3),
    }


if __name__ == "__main__":
    run_module(
        __doc__,
        measure,
        seconds=10.0,
        add_more=lambda parser: parser.add_argument("--control", action="append", choices=CONTROLS),
    )
