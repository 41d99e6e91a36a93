"""What is measured: each rival is a pair of processes, and tells the same figures."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.link.encryption import VARIABLE, make_certificates
from benchmarks.link.scenarios import Scenario
from benchmarks.link.site import Site

OURS: Final = "dwcp"

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """When to measure: `warm_up_s` after the start, for `seconds`."""

    warm_up_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rival:
    """One way to move bytes.

    Attributes:
        name: As the table says it.
        streams: Connections; 0: it finds the number itself.
        run: Measures it once.
        is_searching: Whether it needs the scenario's time to settle before it is measured.
    """

    name: str
    streams: int
    run: Callable[[Site, Scenario, int, Window], Figures]
    is_searching: bool = False


def _pair(module: str, *loads: str) -> Callable[[Site, Scenario, int, Window], Figures]:
    def run(site: Site, scenario: Scenario, streams: int, window: Window) -> Figures:
        words = (streams, scenario.control, *loads)
        return measure_pair(site, module, (streams,), words, window)

    return run


def _encrypted(module: str) -> Callable[[Site, Scenario, int, Window], Figures]:
    def run(site: Site, scenario: Scenario, streams: int, window: Window) -> Figures:
        with tempfile.TemporaryDirectory(prefix="dwcp-bench-") as folder:
            make_certificates(Path(folder) / "certs")
            site.environ[VARIABLE] = str(Path(folder) / "certs")
            return measure_pair(site, module, (streams,), (streams, scenario.control), window)

    return run


def measure_pair(
    site: Site,
    module: str,
    receiver_words: tuple[object, ...],
    sender_words: tuple[object, ...],
    window: Window,
) -> Figures:
    """Start a receiver and a sender, and ask both before and after the window."""
    receiver = site.worker("b", module, "receive", site.host, *receiver_words)
    try:
        with site.reach(receiver.first["port"]) as (host, port):
            sender = site.worker("a", module, "send", host, port, *sender_words)
            try:
                time.sleep(window.warm_up_s)
                before = receiver.mark(), sender.mark()
                time.sleep(window.seconds)
                after = receiver.mark(), sender.mark()
            finally:
                sender.close()
    finally:
        receiver.close()
    return _figures(before, after)


def _figures(before: tuple[Figures, Figures], after: tuple[Figures, Figures]) -> Figures:
    received = after[0]["bytes"] - before[0]["bytes"]
    seconds = after[0]["at_s"] - before[0]["at_s"]
    cpu_s = sum(late["cpu_s"] - early["cpu_s"] for early, late in zip(before, after, strict=True))
    sent, repeated = _growth(before[1]["counters"], after[1]["counters"])
    extras: Figures = {
        name: after[1][name] for name in ("settled_s", "decisions") if name in after[1]
    }
    return {
        "goodput_mbit_s": received * 8e-6 / seconds,
        "cpu_s_per_gb": cpu_s / (received / 1e9) if received else None,
        "retransmit_ratio": repeated / sent if sent else 0.0,
        "streams": after[1]["streams"],
        **extras,
    }


def _growth(before: Figures, after: Figures) -> tuple[int, int]:
    """Return what all streams that are open sent meanwhile, and what of it they repeated."""
    sent = repeated = 0
    for port, (sent_now, repeated_now) in after.items():
        sent_before, repeated_before = before.get(port, (0, 0))
        sent += sent_now - sent_before
        repeated += repeated_now - repeated_before
    return sent, repeated


def _iperf(site: Site, scenario: Scenario, streams: int, window: Window) -> Figures:
    """Run iperf3; its own words are its figures, but of both ends' CPU it tells shares of time."""
    server = site.command("b", ["iperf3", "-s", "-1", "-p", "5201", "--json"])
    try:
        argv = ["iperf3", "-c", site.host, "-p", "5201", "-J", "-P", str(streams), "-l", "256K"]
        argv += ["-t", f"{window.seconds:.0f}", "-O", f"{window.warm_up_s:.0f}"]
        argv += ["-C", scenario.control] if scenario.control else []
        report = _until_it_listens(site, argv)
    finally:
        server.kill()
        with server:
            pass
    ends = report["end"]
    received, seconds = ends["sum_received"]["bytes"], ends["sum_received"]["seconds"]
    cpu = ends["cpu_utilization_percent"]
    cpu_s = (cpu["host_total"] + cpu["remote_total"]) / 100 * seconds
    sent = ends["sum_sent"]["bytes"]
    repeated = ends["sum_sent"].get("retransmits", 0) * 1_448  # it counts segments
    return {
        "goodput_mbit_s": received * 8e-6 / seconds,
        "cpu_s_per_gb": cpu_s / (received / 1e9) if received else None,
        "retransmit_ratio": repeated / sent if sent else 0.0,
        "streams": streams,
    }


def _until_it_listens(site: Site, argv: list[str]) -> Figures:
    """Start the client again as long as the server is not there yet, for two seconds at most."""
    deadline = time.monotonic() + 2
    while True:
        client = site.command("a", argv)
        text, _ = client.communicate()
        report: Figures = json.loads(text)
        if "error" not in report or time.monotonic() > deadline:
            return report
        time.sleep(0.1)


def rivals(scenario: Scenario, names: Sequence[str] = ()) -> list[Rival]:
    """Return what is measured on a path, ours last; with names, those that begin so.

    A name may go on with the number of streams: "dwcp 16", "dwcp 0" for as many as it finds.
    """
    found = _all_rivals(scenario)
    if not names:
        return found
    return [one for one in found if f"{one.name} {one.streams}".startswith(tuple(names))]


def _all_rivals(scenario: Scenario) -> list[Rival]:
    raw, plain = _pair("benchmarks.link.raw"), _pair("benchmarks.link.plain_asyncio")
    found = [Rival("raw sockets", n, raw) for n in (1, 4, 16)]
    found.append(Rival("asyncio streams", 4, plain))
    if shutil.which("iperf3") and not scenario.is_proxied:
        found += [Rival("iperf3", n, _iperf) for n in (1, 4)]
    ours = _pair("benchmarks.link.ours")
    if scenario.shape is None:
        return [
            *found,
            Rival(OURS, 4, ours),
            Rival(f"{OURS}, objects", 4, _pair("benchmarks.link.ours", "objects")),
            Rival("raw sockets, TLS 1.3", 4, _encrypted("benchmarks.link.raw")),
            Rival(f"{OURS}, TLS 1.3", 4, _encrypted("benchmarks.link.ours")),
        ]
    counts = (1, 16) if scenario.control == "cubic" else (1,)  # 16: the most that may be found
    found += [Rival(OURS, n, ours) for n in counts]
    return [*found, Rival(OURS, 0, ours, is_searching=True)]
