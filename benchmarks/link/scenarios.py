"""The paths that links are measured on."""

import re
from dataclasses import dataclass
from typing import Final

from benchmarks.wan.emulator import LinkShape
from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path.

    Attributes:
        name: What `--scenario` calls it; of an emulated path RATE, RTT, loss and control.
        shape: Of the emulated WAN; none: loopback.
        control: Congestion control asked of every socket; empty: the system's own.
        settle_s: How long the search for streams is given before it is measured.
        is_proxied: Run over the demo's TCP proxy instead of the emulator.
    """

    name: str
    shape: LinkShape | None
    control: str = "bbr"
    settle_s: float = 12.0
    is_proxied: bool = False


SCENARIOS: Final = (
    Scenario("loopback", None, control=""),
    Scenario("400m-80ms-0.1%-bbr", LinkShape(400, 80, 0.001)),
    Scenario("400m-80ms-0.1%-cubic", LinkShape(400, 80, 0.001), "cubic", 30.0),
    Scenario("400m-80ms-0%-bbr", LinkShape(400, 80)),
    Scenario("800m-200ms-0%-bbr", LinkShape(800, 200), settle_s=25.0),
    Scenario("20m-100ms-0%-bbr", LinkShape(20, 100), settle_s=15.0),
    Scenario("20m-500ms-1%-bbr", LinkShape(20, 500, 0.01), settle_s=25.0),
    Scenario("100m-20ms-0.1%-bbr", LinkShape(100, 20, 0.001)),
)
PROXIED: Final = Scenario("proxy-200m-40ms", LinkShape(200, 40), control="", is_proxied=True)
DEFAULT: Final = ("loopback", "400m-80ms-0.1%-bbr")
QUICK: Final = ("loopback", "100m-20ms-0.1%-bbr")
SPELLED: Final = (
    "RATEm-RTTms-LOSS%-CONTROL, as 300m-120ms-0.05%-bbr: Mbit/s, 1 to 2,000 ms, below 50 %"
)
_NUMBER: Final = r"(\d+(?:\.\d+)?)"
_OWN: Final = re.compile(rf"{_NUMBER}m-{_NUMBER}ms-{_NUMBER}%-(bbr|cubic|reno)")
_RTT_MS: Final = (1.0, 2_000.0)
_LOSS_MAX: Final = 0.5
_SETTLE_S: Final = 25.0
_SETTLE_CUBIC_S: Final = 30.0


def scenario_named(name: str) -> Scenario:
    """Return a path of the list, or the one that a name spells out.

    Args:
        name: As in `SCENARIOS`, or any numbers in the same order; see `SPELLED`.

    Raises:
        ConfigError: It is neither, or a number is out of bounds.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    parts = _OWN.fullmatch(name)
    if parts is None:
        known = ", ".join(scenario.name for scenario in SCENARIOS)
        raise ConfigError("--scenario", name, f"choose of {known}, all; or spell out {SPELLED}")
    rate_mbit_s, rtt_ms, loss = float(parts[1]), float(parts[2]), float(parts[3]) / 100
    if not rate_mbit_s or not _RTT_MS[0] <= rtt_ms <= _RTT_MS[1] or loss >= _LOSS_MAX:
        raise ConfigError("--scenario", name, f"a number is out of bounds; spell out {SPELLED}")
    settle_s = _SETTLE_CUBIC_S if parts[4] == "cubic" else _SETTLE_S
    return Scenario(name, LinkShape(rate_mbit_s, rtt_ms, loss), parts[4], settle_s)
