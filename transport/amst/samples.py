"""What a link did in the last second, from what the kernel counts of each of its data streams.

The counters of a stream only grow, and streams come and go; so each stream's own growth is added
up, and a stream that is seen for the first time counts from nought: it began in this second.
What a stream did in the second in which it ends is not seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SAMPLE_NS: Final = 1_000_000_000
STARVED_SHARE_MAX: Final = 0.2


@dataclass(frozen=True, slots=True)
class StreamReading:
    """What the kernel says of one data stream; counters since it was opened.

    Attributes:
        congestion_control: Who steers it: `bbr`, `cubic`, ...; empty where unknown.
        acked_bytes: Payload the peer's kernel has acknowledged.
        sent_bytes: Payload put on the wire, repetitions included; `repeated_bytes` are those.
        rtt_us: Smoothed round trip; `min_rtt_us` the least of the last minutes; 0 if unknown.
        congestion_window_bytes: What may be under way.
        unsent_bytes: Written, not yet on the wire.
        delivered_bytes_per_s: The last rate at which the peer took what was sent.
        busy_us: Time with something under way; `send_buffer_limited_us` of it with the send
            buffer full and nothing else in the way, `receive_window_limited_us` likewise.
    """

    congestion_control: str = ""
    acked_bytes: int = 0
    sent_bytes: int = 0
    repeated_bytes: int = 0
    rtt_us: int = 0
    min_rtt_us: int = 0
    congestion_window_bytes: int = 0
    unsent_bytes: int = 0
    delivered_bytes_per_s: int = 0
    busy_us: int = 0
    send_buffer_limited_us: int = 0
    receive_window_limited_us: int = 0


@dataclass(frozen=True, slots=True)
class LinkSample:
    """One second of a link.

    Attributes:
        at_ns: End of the second, on the caller's monotonic clock.
        duration_ns: How long it really was.
        goodput_bytes_per_s: Acknowledged payload.
        repeated_share: Repeated bytes among all sent, 0 to 1.
        rtt_us: Mean smoothed round trip of the streams; `min_rtt_us` the least. 0 if unknown.
        send_buffer_limited_share: Of the busy time, how much a send buffer was what limited;
            `receive_window_limited_share` likewise.
        starved_share: Of the streams' time, how much they waited for something to send.
        stream_count: Open data streams.
        queue_bytes: What waits in front of the streams.
    """

    at_ns: int
    duration_ns: int
    goodput_bytes_per_s: float
    repeated_share: float
    rtt_us: int
    min_rtt_us: int
    send_buffer_limited_share: float
    receive_window_limited_share: float
    starved_share: float
    stream_count: int
    congestion_control: str
    congestion_window_bytes: int
    unsent_bytes: int
    queue_bytes: int

    @property
    def is_app_limited(self) -> bool:
        """Whether the link could have carried more, had there been more to carry."""
        return self.starved_share > STARVED_SHARE_MAX

    @property
    def rtt_ratio(self) -> float:
        """Round trip by the least round trip: 1 is an empty path, above it a queue; 0 unknown."""
        return self.rtt_us / self.min_rtt_us if self.min_rtt_us else 0.0


class LinkSampler:
    """Makes samples of readings.

    Args:
        now_ns: When the first second begins.
    """

    def __init__(self, now_ns: int) -> None:
        self._from_ns = now_ns
        self._last: dict[int, StreamReading] = {}

    def sample(
        self,
        now_ns: int,
        readings: Mapping[int, StreamReading],
        *,
        stream_count: int | None = None,
        starved_ns: int = 0,
        queue_bytes: int = 0,
    ) -> LinkSample:
        """Return what happened since the last sample.

        Args:
            now_ns: Later than the last time.
            readings: Of every open stream, by a number that is never used twice.
            stream_count: How many of them take frames, if not all do.
            starved_ns: Time that streams waited for work since the last sample, summed up.
            queue_bytes: What waits in front of the streams now.
        """
        growths = [
            _growth(reading, self._last.get(stream, StreamReading()))
            for stream, reading in readings.items()
        ]
        duration_ns = max(1, now_ns - self._from_ns)
        self._from_ns, self._last = now_ns, dict(readings)
        sent = sum(one.sent_bytes for one in growths)
        busy_us = sum(one.busy_us for one in growths)
        rtts = [one.rtt_us for one in readings.values() if one.rtt_us]
        return LinkSample(
            at_ns=now_ns,
            duration_ns=duration_ns,
            goodput_bytes_per_s=sum(one.acked_bytes for one in growths) * SAMPLE_NS / duration_ns,
            repeated_share=_share(sum(one.repeated_bytes for one in growths), sent),
            rtt_us=round(sum(rtts) / len(rtts)) if rtts else 0,
            min_rtt_us=min((r.min_rtt_us for r in readings.values() if r.min_rtt_us), default=0),
            send_buffer_limited_share=_share(
                sum(one.send_buffer_limited_us for one in growths), busy_us
            ),
            receive_window_limited_share=_share(
                sum(one.receive_window_limited_us for one in growths), busy_us
            ),
            starved_share=_share(starved_ns, duration_ns * max(1, len(readings))),
            stream_count=len(readings) if stream_count is None else stream_count,
            congestion_control=_most_common(one.congestion_control for one in readings.values()),
            congestion_window_bytes=sum(one.congestion_window_bytes for one in readings.values()),
            unsent_bytes=sum(one.unsent_bytes for one in readings.values()),
            queue_bytes=queue_bytes,
        )


def _growth(now: StreamReading, before: StreamReading) -> StreamReading:
    """Return what was counted between two readings of one stream; never below nought."""
    return StreamReading(
        acked_bytes=max(0, now.acked_bytes - before.acked_bytes),
        sent_bytes=max(0, now.sent_bytes - before.sent_bytes),
        repeated_bytes=max(0, now.repeated_bytes - before.repeated_bytes),
        busy_us=max(0, now.busy_us - before.busy_us),
        send_buffer_limited_us=max(0, now.send_buffer_limited_us - before.send_buffer_limited_us),
        receive_window_limited_us=max(
            0, now.receive_window_limited_us - before.receive_window_limited_us
        ),
    )


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _most_common(names: Iterable[str]) -> str:
    seen = list(names)
    return max(seen, key=seen.count) if seen else ""
