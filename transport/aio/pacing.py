"""Paces the data streams of a session: as configured, and slower while a path's queue drains."""

import socket
from collections import deque
from collections.abc import Collection, Iterable
from statistics import fmean
from typing import Final, Protocol

from transport.aio.options import begin_anew, pace
from transport.aio.tcp_info import read_tcp_info
from transport.amst.queue_drain import QueueDrain
from transport.amst.rate_rise import RateRise
from transport.amst.samples import StreamReading
from transport.amst.stream_count import LOSS_BLIND, Decision, Reason

DECISIONS_MAX: Final = 64


class Paced(Protocol):
    """A data stream: its socket, and the address that it goes to."""

    connection: socket.socket
    path: str


class Pacer:
    """Tells the kernel how fast each stream may send.

    Attributes:
        bytes_per_s: What is configured, of all streams together; None for no limit.
        decisions: What was decided since they were taken, oldest first.
    """

    def __init__(self) -> None:
        self.bytes_per_s: float | None = None
        self.decisions: deque[Decision] = deque(maxlen=DECISIONS_MAX)
        self._drains: dict[str, QueueDrain] = {}
        self._rises: dict[Paced, RateRise] = {}

    def apply(self, streams: Iterable[Paced]) -> bool:
        """Give each stream its share of the less of both limits; False where the system cannot."""
        paths = _by_path(streams)
        count = sum(map(len, paths.values()))
        answers = []
        for path, own in paths.items():
            drain = self._drains.get(path)
            cap = None if drain is None else drain.cap_bytes_per_s
            shares = [
                rate / among
                for rate, among in ((self.bytes_per_s, count), (cap, len(own)))
                if rate is not None
            ]
            share = min(shares, default=None)
            answers += [pace(stream.connection, share) for stream in own]
        return all(answers)

    def watch(self, streams: Collection[Paced], now_ns: int) -> None:
        """Look at the streams' paths, each 0.1 s or so, and change what has to be changed."""
        paths = _by_path(streams)
        self._drains = {path: self._drains.get(path, QueueDrain()) for path in paths}
        oldest = {own[0] for own in paths.values()}
        self._rises = {stream: rise for stream, rise in self._rises.items() if stream in oldest}
        has_changed = False
        for path, own in paths.items():
            drain = self._drains[path]
            before = drain.cap_bytes_per_s
            self._observe(path, own, now_ns)
            has_changed |= drain.cap_bytes_per_s != before
        if has_changed:
            self.apply(streams)

    def _observe(self, path: str, streams: list[Paced], now_ns: int) -> None:
        found = {stream: read_tcp_info(stream.connection) for stream in streams}
        readings = {
            stream: one
            for stream, one in found.items()
            if one is not None and one.congestion_control in LOSS_BLIND and one.rtt_us
        }
        if not readings:
            return
        drain = self._drains[path]
        seen = _seen(readings.values())
        reason = drain.observe(now_ns, seen.delivered_bytes_per_s, seen.rtt_us, seen.min_rtt_us)
        # One that begins anew is enough to fill the path; that others join does not make it rise.
        oldest = next(iter(readings))
        is_busy = drain.cap_bytes_per_s is None and readings[oldest].unsent_bytes > 0
        rate = readings[oldest].delivered_bytes_per_s
        rise = self._rises.setdefault(oldest, RateRise(now_ns))
        if rise.observe(now_ns, rate, seen.rtt_us, seen.min_rtt_us, is_busy=is_busy):
            begin_anew(oldest.connection, rate)
            reason = Reason.ANEW
        if reason is not None:
            count, delivered = len(streams), seen.delivered_bytes_per_s
            ratio = seen.rtt_us / max(1, seen.min_rtt_us)
            made = Decision(now_ns, count, count, reason, delivered, rtt_ratio=ratio)
            self.decisions.append(made)


def _seen(readings: Collection[StreamReading]) -> StreamReading:
    """Return what the streams of a path say of it together."""
    return StreamReading(
        delivered_bytes_per_s=sum(one.delivered_bytes_per_s for one in readings),
        rtt_us=round(fmean(one.rtt_us for one in readings)),
        min_rtt_us=min(one.min_rtt_us for one in readings),
    )


def _by_path(streams: Iterable[Paced]) -> dict[str, list[Paced]]:
    paths: dict[str, list[Paced]] = {}
    for stream in streams:
        paths.setdefault(stream.path, []).append(stream)
    return paths
