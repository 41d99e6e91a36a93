"""A path in a formula: what one second of N streams looks like, as measured on the emulated WAN.

Only what `StreamSearch` decides by is modelled: goodput, repetitions, round trip, full send
buffers. The numbers come from docs/link-bench.md; noise comes from the seed.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from transport.amst.samples import LinkSample
from transport.amst.stream_count import StreamLimits
from transport.amst.stream_search import StreamSearch

_NS: Final = 1_000_000_000
_MSS_BYTES: Final = 1_448
_PAYLOAD_SHARE: Final = 0.965  # of a packet
_AMPLE_BUFFER: Final = 2.0  # times what the path holds: then the buffer is never what limits
_USABLE_BUFFER_BYTES: Final = 0.7 * (4 << 20)


@dataclass(slots=True)
class Path:
    """A path and the streams on it.

    Attributes:
        rate_mbit_s: May be changed between seconds, like `loss`.
        is_starved: Whether the application has too little to send.
        has_queue: Whether what is too much waits; without, the path polices: it only drops.
        repeated_each: What each bbr stream too many adds to what is sent twice.
    """

    rate_mbit_s: float
    rtt_ms: float
    loss: float
    control: str
    seed: int = 1
    is_starved: bool = False
    has_queue: bool = True
    repeated_each: float = 0.025
    ages_s: list[int] = field(default_factory=list)
    second: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    @property
    def rate(self) -> float:
        """Payload bytes per second that the path carries."""
        return self.rate_mbit_s * 1e6 / 8 * _PAYLOAD_SHARE

    def step(self, count: int) -> LinkSample:
        """Let a second pass with so many streams."""
        self.second += 1
        self.ages_s = [age + 1 for age in self.ages_s[:count]]
        self.ages_s += [0] * (count - len(self.ages_s))
        capacity = sum(map(self._stream_rate, self.ages_s))
        use = capacity / self.rate
        is_full = use >= 1
        goodput = min(capacity, self.rate) * self.dice.uniform(0.976, 1.024)
        if self.control == "bbr" and self.second % 10 == 0:
            goodput *= 0.6  # it empties the path to measure its round trip
        if self.is_starved:
            goodput, is_full = 0.3 * goodput, False
        return LinkSample(
            at_ns=self.second * _NS,
            duration_ns=_NS,
            goodput_bytes_per_s=goodput,
            repeated_share=0.0 if self.is_starved else self._repeated(count, is_full=is_full),
            rtt_us=round(self.rtt_ms * 1_000 * self._rtt_ratio(count, use, is_full=is_full)),
            min_rtt_us=round(self.rtt_ms * 1_000),
            send_buffer_limited_share=self._send_buffer_limited(use),
            receive_window_limited_share=0.0,
            starved_share=0.9 if self.is_starved else 0.0,
            stream_count=count,
            congestion_control=self.control,
            congestion_window_bytes=1 << 20,
            unsent_bytes=0 if self.is_starved else 1 << 17,
            queue_bytes=0,
        )

    def _stream_rate(self, age_s: int) -> float:
        """Return what a stream of this age would carry alone."""
        rtt_s = self.rtt_ms / 1e3
        window = _USABLE_BUFFER_BYTES / rtt_s * min(1.0, (age_s + 1) / (1 + 6 * rtt_s))
        if self.control == "bbr":
            return window * (0.55 if self.loss else 1.0)
        if not self.loss:
            return window
        steady = 1.22 * _MSS_BYTES / (rtt_s * math.sqrt(self.loss))
        return min(window, steady * (1 + 12 * math.exp(-age_s / 1.5)))

    def _send_buffer_limited(self, use: float) -> float:
        if (self.control == "cubic" and self.loss) or use > _AMPLE_BUFFER:
            return 0.0
        return self.dice.uniform(0.02, 0.08) + (0 if use >= 1 else 0.15)

    def _repeated(self, count: int, *, is_full: bool) -> float:
        if self.control != "bbr" or not is_full:
            return self.loss
        bdp_segments = self.rate * self.rtt_ms / 1e3 / _MSS_BYTES
        shy = max(1.0, math.sqrt(bdp_segments) / 15)  # streams that share the queue in peace
        burst = 0.12 if min(self.ages_s) <= 1 else 0.0
        return (
            self.loss
            + burst
            + (0.0 if count <= shy else min(0.11, self.repeated_each * (count - shy)))
        )

    def _rtt_ratio(self, count: int, use: float, *, is_full: bool) -> float:
        is_alone = self.control == "bbr" and count == 1  # then it makes no queue
        if is_alone or not is_full or not self.has_queue:
            return self.dice.uniform(1.0, 1.06)
        return min(2.0, 1.15 + 0.35 * use) * self.dice.uniform(0.97, 1.0)


@dataclass(slots=True)
class Ride:
    """What came of a search on a path: its samples, and the count wanted after each second."""

    search: StreamSearch
    limits: StreamLimits
    path: Path
    samples: list[LinkSample] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def run(self, seconds: int) -> "Ride":
        """Let time pass."""
        for _ in range(seconds):
            sample = self.path.step(self.search.count)
            self.samples.append(sample)
            self.search.set_limits(sample.at_ns, self.limits)  # each second, as a node does
            self.counts.append(self.search.observe(sample))
        return self

    def goodput_share(self, seconds: int) -> float:
        """Return the share of the path used in the last seconds."""
        last = self.samples[-seconds:]
        return sum(one.goodput_bytes_per_s for one in last) / seconds / self.path.rate

    def repeated_share(self, seconds: int) -> float:
        """Return the mean of what was sent twice in the last seconds."""
        return sum(one.repeated_share for one in self.samples[-seconds:]) / seconds
