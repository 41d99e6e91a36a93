"""The paths that links are measured on."""

from dataclasses import dataclass
from typing import Final

from benchmarks.wan.emulator import LinkShape


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path.

    Attributes:
        name: What `--scenario` calls it.
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
