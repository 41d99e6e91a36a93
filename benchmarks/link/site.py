"""Where the two ends of a measurement run: on loopback, on the emulated WAN, behind the proxy."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.link.scenarios import Scenario
from benchmarks.wan.emulator import B_ADDRESS, EmulatedWan, Side

_LOOPBACK: Final = "127.0.0.1"
_ROOT: Final = str(Path(__file__).parents[2])


class WorkerError(Exception):
    """A process of a measurement ended before it had answered."""


class Worker:
    """A process that answers marks; see `benchmarks.link.worker`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.first = self.read()

    def mark(self) -> dict[str, Any]:
        """Ask where it is."""
        return self.ask("mark")

    def ask(self, *words: object) -> dict[str, Any]:
        """Give a command and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Wait for its next word."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self._process.args!r} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        with self._process:
            pass


class Site:
    """Two places and a path between them; this one is loopback.

    Attributes:
        host: Where the receiver listens.
        wan: The emulator, where there is one.
        environ: What processes find in their environment beside our own.
    """

    def __init__(self, host: str = _LOOPBACK, wan: EmulatedWan | None = None) -> None:
        self.host = host
        self.wan = wan
        self.environ: dict[str, str] = {}

    def command(self, side: Side, argv: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a process on one side, with pipes to it."""
        options: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "text": True,
            "env": os.environ | {"PYTHONPATH": _ROOT} | self.environ,
        }
        if self.wan is not None:
            process: subprocess.Popen[str] = self.wan.popen(side, argv, **options)
            return process
        return subprocess.Popen(argv, **options)

    def worker(self, side: Side, module: str, *words: object) -> Worker:
        """Start a module as a worker."""
        return Worker(self.command(side, [sys.executable, "-m", module, *map(str, words)]))

    @contextlib.contextmanager
    def reach(self, port: int) -> Iterator[tuple[str, int]]:
        """Give the address under which the sender finds the receiver's port."""
        yield self.host, port

    def line_bytes(self) -> int:
        """Return how many IP bytes were put on the emulated line to the receiver."""
        return 0 if self.wan is None else self.wan.counters()["ab"]["bytes"]

    def too_slow_packets(self) -> int:
        """Return how many packets the emulator was too slow for: else figures do not count."""
        if self.wan is None:
            return 0
        ways = self.wan.counters().values()
        return sum(way["overruns"] + way["refused"] for way in ways)


class _ProxySite(Site):
    """Behind the demo's TCP proxy: a rate and a delay, no packets."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        assert scenario.shape is not None
        self._shape = scenario.shape

    @contextlib.contextmanager
    def reach(self, port: int) -> Iterator[tuple[str, int]]:
        proxy = self.worker(
            "a", "benchmarks.link.proxy", port, self._shape.rate_mbit_s, self._shape.rtt_ms
        )
        try:
            yield _LOOPBACK, proxy.first["port"]
        finally:
            proxy.close()


@contextlib.contextmanager
def open_site(scenario: Scenario) -> Iterator[Site]:
    """Set up the path of a scenario, for one measurement.

    Raises:
        WanError: The emulator does not work here.
    """
    if scenario.shape is None:
        yield Site()
    elif scenario.is_proxied:
        yield _ProxySite(scenario)
    else:
        with EmulatedWan(scenario.shape) as wan:
            yield Site(B_ADDRESS, wan)
