"""Rows of `dwcp link bench`: every rival on every path, interleaved, the median of the repeats."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.link.rivals import Figures, Rival, Window, rivals
from benchmarks.link.scenarios import (
    DEFAULT,
    PROXIED,
    QUICK,
    SCENARIOS,
    Scenario,
    scenario_named,
)
from benchmarks.link.site import open_site
from benchmarks.wan.emulator import why_missing
from dwcp.machine import machine

WARM_UP_S = 3.0
WARM_UP_LOOPBACK_S = 0.5
_TLS = ", TLS 1.3"


def chosen_scenarios(names: Sequence[str], *, is_quick: bool) -> tuple[list[Scenario], str]:
    """Return the paths to measure, and what had to be left out.

    Raises:
        ConfigError: There is no such path.
    """
    if "all" in names:
        names = [scenario.name for scenario in SCENARIOS]
    wanted = [scenario_named(name) for name in names or (QUICK if is_quick else DEFAULT)]
    missing = why_missing()
    if missing is None or all(scenario.shape is None for scenario in wanted):
        return wanted, ""
    kept = [scenario for scenario in wanted if scenario.shape is None]
    return [*kept, PROXIED], f"{missing}; the demo's TCP proxy serves instead: no packets, no loss"


def run_bench(
    scenarios: Sequence[Scenario],
    seconds: float,
    repeats: int,
    told: Callable[[str], None],
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure and return the rows.

    Args:
        scenarios: On which paths.
        seconds: Of each measurement.
        repeats: Of each measurement, interleaved.
        told: Hears what is being measured.
        names: How the rivals' names begin; none: all of them.
    """
    rows = []
    for scenario in scenarios:
        found: dict[tuple[str, int], list[Figures]] = {}
        for repeat in range(repeats):
            for rival in rivals(scenario, names):
                told(f"{scenario.name}: {rival.name} {rival.streams or ''} ({repeat + 1})")
                figures = _measure(scenario, rival, seconds)
                found.setdefault((rival.name, rival.streams), []).append(figures)
        rows += _rows(scenario, found)
    return {"rows": rows, "machine": machine(), "seconds": seconds, "repeats": repeats}


def _measure(scenario: Scenario, rival: Rival, seconds: float) -> Figures:
    warm_up_s = WARM_UP_LOOPBACK_S if scenario.shape is None else WARM_UP_S
    # For half a minute cubic's slow start promises what loss does not let it keep, to all alike.
    if scenario.shape is not None and (rival.is_searching or scenario.control == "cubic"):
        warm_up_s = scenario.settle_s
    with open_site(scenario) as site:
        figures = rival.run(site, scenario, rival.streams, Window(warm_up_s, seconds))
        return figures | {"too_slow_packets": site.too_slow_packets()}


def _rows(scenario: Scenario, found: dict[tuple[str, int], list[Figures]]) -> list[dict[str, Any]]:
    shape = scenario.shape
    rows = []
    for (name, streams), runs in found.items():
        goodputs = [one["goodput_mbit_s"] for one in runs]
        rows.append(
            {
                "name": scenario.name,
                "rival": name,
                "rate_mbit_s": shape.rate_mbit_s if shape else None,
                "rtt_ms": shape.rtt_ms if shape else None,
                "loss": shape.loss if shape else None,
                "streams": streams or round(_median(runs, "streams")),
                "finds_streams": not streams,
                "goodput_mbit_s": round(statistics.median(goodputs), 2),
                "goodput_min": round(min(goodputs), 2),
                "goodput_max": round(max(goodputs), 2),
                "cpu_s_per_gb": round(_median(runs, "cpu_s_per_gb"), 3),
                "retransmit_ratio": round(_median(runs, "retransmit_ratio"), 5),
                "too_slow_packets": sum(one["too_slow_packets"] for one in runs),
                **_extras(runs[-1]),
            }
        )
    for row in rows:
        row["of_link"] = _share(row["goodput_mbit_s"], row["rate_mbit_s"])
        row["of_raw"] = _share(row["goodput_mbit_s"], _raw_like(row, rows))
    return rows


def _extras(figures: Figures) -> Figures:
    return {key: figures[key] for key in ("settled_s", "decisions") if key in figures}


def _raw_like(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """Return the goodput of raw sockets with as many streams, or else of the best of them."""
    is_encrypted = row["rival"].endswith(_TLS)
    raw = [
        one
        for one in rows
        if one["rival"].startswith("raw") and one["rival"].endswith(_TLS) == is_encrypted
    ]
    alike = [one for one in raw if one["streams"] == row["streams"] and not row["finds_streams"]]
    return max((one["goodput_mbit_s"] for one in alike or raw), default=0.0)


def _median(runs: list[Figures], name: str) -> float:
    values = [one[name] for one in runs if one[name] is not None]
    return statistics.median(values) if values else 0.0


def _share(part: float, whole: float | None) -> float | None:
    return round(part / whole, 4) if whole else None
