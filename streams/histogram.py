"""Times in buckets 5 % wide: quantiles of millions of samples in a few kilobytes. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

_STEP: Final = 1.05
_BUCKETS: Final = 280  # 1.05 ** 280 ms is about 14 minutes
BOUNDS_MS: Final = _STEP ** np.arange(_BUCKETS)


class Histogram:
    """Counts of times in milliseconds; those below 1 ms share the first bucket."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BUCKETS, dtype=np.int64)
        self.sum_ms = 0.0

    def observe(self, samples_ms: Iterable[float]) -> None:
        """Add samples."""
        samples = np.fromiter(samples_ms, dtype=np.float64)
        np.maximum(samples, 0.0, out=samples)
        places = np.searchsorted(BOUNDS_MS, samples).clip(0, _BUCKETS - 1)
        self.counts += np.bincount(places, minlength=_BUCKETS)
        self.sum_ms += float(samples.sum())

    def add(self, counts: Iterable[int]) -> None:
        """Add another histogram's counts."""
        self.counts += np.fromiter(counts, dtype=np.int64)

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())

    def quantile_ms(self, share: float) -> float:
        """Return the upper bound of the bucket that holds the quantile; 0 without samples."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.count))
        return round(float(BOUNDS_MS[min(place, _BUCKETS - 1)]), 1)

    def to_json(self) -> dict[str, Any]:
        """Return count, quantiles and the sparse counts."""
        used = np.flatnonzero(self.counts)
        return {
            "count": self.count,
            "p50": self.quantile_ms(0.5),
            "p99": self.quantile_ms(0.99),
            "buckets": {int(i): int(self.counts[i]) for i in used},
        }
