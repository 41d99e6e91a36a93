"""What becomes of a link whose rate falls to a tenth and comes back?

    python -m benchmarks.link.steps [--seconds S] [--json]

Emulated 200 Mbit/s, 80 ms, bbr, streams found by the link; after `--seconds` the rate falls to 20
Mbit/s, after as many again it comes back. For each part: how long until the mean of two
seconds is within 10 % of what the new rate lets through, and the mean of the rest. The router's
queue keeps its
size in bytes, which is ten times as long at a tenth of the rate.
"""

import argparse
import statistics
import time
from itertools import pairwise
from typing import Any, Final

from benchmarks.link.report import Row, run_module
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import open_site
from benchmarks.wan.emulator import LinkShape

OURS: Final = "benchmarks.link.ours"
RATES_MBIT_S: Final = (200, 20, 200)
PAYLOAD_SHARE: Final = 1_448 / 1_500
NEAR: Final = 0.1


def measure(options: argparse.Namespace) -> list[Row]:
    """Return a row for each part and repeat."""
    return [row for _ in range(options.repeat) for row in _one(options.seconds)]


def _one(seconds: float) -> list[Row]:
    with open_site(Scenario("", LinkShape(RATES_MBIT_S[0], 80))) as site:
        assert site.wan is not None
        receiver = site.worker("b", OURS, "receive", site.host)
        port = receiver.first["port"]
        sender = site.worker("a", OURS, "send", site.host, port, 0, "bbr", "full")
        begins_s = []
        for rate in RATES_MBIT_S:
            site.wan.change(rate_mbit_s=rate)
            begins_s.append(time.monotonic())
            time.sleep(seconds)
        samples = sender.ask("samples")["samples"]
        sender.close()
        receiver.close()
    ends_s = [*begins_s[1:], time.monotonic()]
    parts = zip(RATES_MBIT_S, begins_s, ends_s, strict=True)
    return [_part(rate, begin_s, end_s, samples) for rate, begin_s, end_s in parts]


def _part(rate: float, begin_s: float, end_s: float, samples: list[dict[str, Any]]) -> Row:
    own = [sample for sample in samples if begin_s + 1 <= sample["at_s"] < end_s]
    goodputs = [sample["goodput_bytes_per_s"] * 8e-6 for sample in own]
    pairs = [(early + late) / 2 for early, late in pairwise(goodputs)]
    target = rate * PAYLOAD_SHARE
    near = (at for at, pair in enumerate(pairs) if abs(pair / target - 1) <= NEAR)
    first = next(near, None)
    rest = [] if first is None else goodputs[first:]
    return {
        "rate_mbit_s": rate,
        "settled_after_s": None if first is None else round(own[first + 1]["at_s"] - begin_s, 1),
        "then_mbit_s": round(statistics.mean(rest), 1) if rest else None,
        "least_mbit_s": round(min(rest), 1) if rest else None,
        "streams_at_end": own[-1]["stream_count"] if own else None,
        "repeated_at_end": round(own[-1]["repeated_share"], 4) if own else None,
        "goodputs_mbit_s": [round(one, 1) for one in goodputs],
    }


if __name__ == "__main__":
    run_module(__doc__, measure, seconds=20.0)
