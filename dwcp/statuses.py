"""Parts of a node's status as JSON values."""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.agents.steward import Steward
from streams.sharing import Owner


def ownership_json(steward: Steward, owners: Mapping[int, Owner]) -> dict[str, Any]:
    """Return which partitions are whose, and what is wrong with ours."""
    return {
        "assigned": sorted(steward.assigned),
        "holds": sorted(steward.holds),
        "owners": {str(p): owner._asdict() for p, owner in sorted(owners.items())},
        "troubles": {
            str(p): {"reason": error.reason, "message": str(error)}
            for p, error in sorted(steward.troubles.items())
        },
    }


def summed(restored: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return what all partitions' restores cost together."""
    total: dict[str, float] = {}
    for found in restored:
        for name, value in found.items():
            total[name] = round(total.get(name, 0) + value, 3)
    return total
