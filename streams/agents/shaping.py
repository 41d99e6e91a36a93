"""How much of the WAN our links to a peer may take, and which class gets how much of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import InvalidChangeError
from transport.amst.traffic import DEFAULT_SHARES, SHARED, Traffic

SHARE_MAX: Final = 1_000
_MBIT_BYTES: Final = 125_000
_CLASSES: Final = {traffic.name.lower(): traffic for traffic in SHARED}


@dataclass(frozen=True, slots=True)
class Shape:
    """What one node keeps to towards one peer.

    Attributes:
        bytes_per_s: Of all data streams to the peer's nodes together; None for no limit.
        shares: Weights of the classes that share what there is; control and log go before.
    """

    bytes_per_s: float | None = None
    shares: Mapping[Traffic, int] = field(default_factory=lambda: DEFAULT_SHARES)

    def to_json(self) -> dict[str, Any]:
        """Return it with the units of the configuration."""
        return {
            "pacing_mbit_s": (self.bytes_per_s or 0.0) / _MBIT_BYTES,
            "shares": {name: self.shares[traffic] for name, traffic in _CLASSES.items()},
        }


def shape_of(pacing_mbit_s: float, shares: Mapping[str, int]) -> Shape:
    """Return the shape that the configuration asks for; 0 is no limit."""
    return Shape(
        pacing_mbit_s * _MBIT_BYTES or None, {_CLASSES[name]: n for name, n in shares.items()}
    )


def changed(shape: Shape, body: Mapping[str, Any]) -> Shape:
    """Return a shape with some things changed.

    Args:
        shape: As it is.
        body: `pacing_mbit_s`, `shares` by class, or both; what is not named stays.

    Raises:
        InvalidChangeError: Something else is named, or a value cannot be.
    """
    was = shape.to_json()
    for name, value in body.items():
        if name not in was:
            raise InvalidChangeError(name, value, f"known are {', '.join(was)}")
    rate, shares = body.get("pacing_mbit_s", was["pacing_mbit_s"]), body.get("shares", {})
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < math.inf:
        raise InvalidChangeError("pacing_mbit_s", rate, "give Mbit/s, 0 for no limit")
    if not isinstance(shares, dict):
        raise InvalidChangeError("shares", shares, 'give an object like {"state": 8}')
    for name, share in shares.items():
        if name not in _CLASSES:
            raise InvalidChangeError("shares", name, f"classes are {', '.join(_CLASSES)}")
        if isinstance(share, bool) or not isinstance(share, int) or not 1 <= share <= SHARE_MAX:
            raise InvalidChangeError(f"shares.{name}", share, f"give 1 to {SHARE_MAX:,}")
    return shape_of(rate, was["shares"] | shares)
