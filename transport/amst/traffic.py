"""Classes of traffic, and which goes first: strict, then by shares."""

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final


class Traffic(enum.IntEnum):
    """What a frame is for; the lower number goes first, or has the larger share."""

    CONTROL = 0
    LOG = 1
    STATE = 2
    CATCH_UP = 3
    BULK = 4


STRICT: Final = (Traffic.CONTROL, Traffic.LOG)
SHARED: Final = (Traffic.STATE, Traffic.CATCH_UP, Traffic.BULK)
DEFAULT_SHARES: Final[Mapping[Traffic, int]] = MappingProxyType(
    {Traffic.STATE: 8, Traffic.CATCH_UP: 4, Traffic.BULK: 1}
)


class Shares:
    """Chooses among the classes that share the link, by bytes and weights.

    Each class has a clock that its bytes, divided by its share, move on; the class whose clock is
    furthest behind goes next. A class that was idle begins at the clock of the one served last: it
    saves nothing up.

    Args:
        shares: Weights above 0, by class.

    Source:
        Start-time fair queueing (Goyal, Vin, Cheng 1996), with frames as packets.
    """

    def __init__(self, shares: Mapping[Traffic, int] = DEFAULT_SHARES) -> None:
        self._clocks = dict.fromkeys(SHARED, 0.0)
        self._now = 0.0
        self.shares: dict[Traffic, int] = {}
        self.set(shares)

    def set(self, shares: Mapping[Traffic, int]) -> None:
        """Change the weights; what was sent before stays as it is."""
        wrong = [f"{name}: {share}" for name, share in shares.items() if share <= 0]
        assert not wrong, f"shares must be above 0: {wrong}"
        self.shares = {**DEFAULT_SHARES, **self.shares, **shares}

    def order(self, waiting: Sequence[Traffic]) -> Sequence[Traffic]:
        """Return classes in the order in which they should be served."""
        if len(waiting) < 2:  # noqa: PLR2004 - as for most frames: there is nothing to order
            return waiting
        shared = [traffic for traffic in waiting if traffic in self._clocks]
        strict = sorted(traffic for traffic in waiting if traffic not in self._clocks)
        return strict + sorted(shared, key=lambda t: (max(self._clocks[t], self._now), t))

    def charge(self, traffic: Traffic, size_bytes: int) -> None:
        """Count bytes that a class was given."""
        if traffic in self._clocks:
            start = max(self._clocks[traffic], self._now)
            self._now = start
            self._clocks[traffic] = start + size_bytes / self.shares[traffic]
