"""Steers a link's data streams: a sample a second, a count for it, and both kept for who asks."""

import asyncio
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import structlog

from connectors.log import Log, NewRecord
from schemas.errors import LogError
from schemas.registry import encode_event
from streams import topics
from streams.agents.status import SenderStatus
from transport.aio.keeper import StreamKeeper
from transport.aio.tcp_info import read_tcp_info
from transport.amst.available import AvailableRate
from transport.amst.samples import SAMPLE_NS, LinkSample, LinkSampler, StreamReading
from transport.amst.stream_count import PathEstimate, StreamLimits
from transport.amst.stream_search import StreamSearch
from transport.amst.traffic import Traffic

log = structlog.get_logger(__name__)

SAMPLES_MAX: Final = 900  # a quarter of an hour


class Steerable(Protocol):
    """A session whose data streams can be steered."""

    keeper: StreamKeeper
    status: SenderStatus


@dataclass(frozen=True, slots=True)
class Steered:
    """Whose link it is, and what is allowed.

    Attributes:
        region: Ours; `node` likewise, `peer` is the other region.
        log: Where samples are written.
        limits: Of the count of data streams.
        estimate: What is believed of the path when a session begins, for example by a forecast.
    """

    region: str
    node: str
    peer: str
    log: Log
    limits: StreamLimits
    estimate: PathEstimate | None = None


class LinkSteering:
    """Steers the sessions of one link, one after the other; what it found outlives them.

    Args:
        steered: Whose link it is.
        every_ns: Time between samples; the rules of the search are made for a second.

    Attributes:
        samples: Last seconds, oldest first.
        search: Why there are so many streams; None before the first session.
        peer_node: Who answered last.
    """

    def __init__(self, steered: Steered, every_ns: int = SAMPLE_NS) -> None:
        self._steered = steered
        self._every_ns = every_ns
        self.samples: deque[LinkSample] = deque(maxlen=SAMPLES_MAX)
        self.search: StreamSearch | None = None
        self.peer_node = ""
        self._rate = AvailableRate()
        self._class_bytes = dict.fromkeys(Traffic, 0)
        self._writing: asyncio.Future[None] | None = None

    async def run(self, session: Steerable) -> None:
        """Steer a session until it ends; ends by cancellation only."""
        now_ns = time.monotonic_ns()
        self.peer_node = session.status.node
        session.status.rate_bytes_s = self._rate.bytes_per_s  # what the last session found
        self._class_bytes = dict.fromkeys(Traffic, 0)
        sampler = LinkSampler(now_ns)
        search = self._begin(session, now_ns)
        due_ns = now_ns
        while True:
            due_ns = max(due_ns + self._every_ns, time.monotonic_ns())
            await asyncio.sleep((due_ns - time.monotonic_ns()) / 1e9)
            sample = self._sample(session, sampler)
            self.samples.append(sample)
            self._rate.observe(sample)
            session.status.rate_bytes_s = self._rate.bytes_per_s
            self._steer(session, search, sample)
            self._publish(sample, self._sent_by_class(session))

    def to_json(self) -> dict[str, Any]:
        """Return samples and decisions; their times are seconds of the monotonic clock."""
        decisions = self.search.decisions if self.search is not None else ()
        return {
            "region": self._steered.region,
            "peer": self._steered.peer,
            "node": self.peer_node,
            "now_s": time.monotonic(),
            "streams_wanted": self.search.count if self.search is not None else None,
            "is_holding": self.search is not None and self.search.is_holding,
            "decisions": [asdict(made) | {"at_s": made.at_ns / 1e9} for made in decisions],
            "samples": [_sample_json(sample) for sample in self.samples],
        }

    def _begin(self, session: Steerable, now_ns: int) -> StreamSearch:
        if self.search is None:
            steered = self._steered
            control = session.keeper.congestion_control
            self.search = StreamSearch(now_ns, steered.limits, steered.estimate, control)
        else:
            self.search.restart(now_ns)
        session.keeper.set_data_streams(self.search.count)
        return self.search

    def _steer(self, session: Steerable, search: StreamSearch, sample: LinkSample) -> None:
        limits = self._steered.limits
        path_count = len(session.keeper.paths)  # each of them has a stream
        if path_count > limits.least:
            most = max(limits.most, path_count)
            limits = StreamLimits(path_count, most, limits.send_buffer_bytes_max)
        search.set_limits(sample.at_ns, limits)
        self._take_pacing(session, search)
        if not sample.min_rtt_us:
            return  # nothing is known of the path: the count stays
        if search.observe(sample) != session.keeper.target_count:
            made = search.decisions[-1]
            log.info("link.streams", peer=self._steered.peer, count=made.after, why=made.reason)
            session.keeper.set_data_streams(search.count)

    def _take_pacing(self, session: Steerable, search: StreamSearch) -> None:
        """Let what was decided on the streams' rate stand beside what is decided on their count."""
        made = session.keeper.streams.pacer.decisions
        while made:
            one = made.popleft()
            search.decisions.append(one)
            log.info("link.pacing", peer=self._steered.peer, why=one.reason)

    def _sample(self, session: Steerable, sampler: LinkSampler) -> LinkSample:
        streams = session.keeper.streams
        readings = {
            number: reading
            for number, stream in streams.streams.items()
            if (reading := read_tcp_info(stream.connection)) is not None
        }
        # Where the kernel does not tell, at least the goodput is known: what the peer reported.
        reported = sum(streams.scheduler.counters.reported.values())
        return sampler.sample(
            time.monotonic_ns(),
            readings or {0: StreamReading(acked_bytes=reported)},
            stream_count=sum(not one.is_retiring for one in streams.streams.values()),
            starved_ns=streams.take_starved_ns(),
            queue_bytes=sum(streams.scheduler.queue_bytes.values()),
        )

    def _sent_by_class(self, session: Steerable) -> dict[str, int]:
        now = dict(session.keeper.streams.scheduler.counters.sent)
        grown = {traffic.name.lower(): now[traffic] - self._class_bytes[traffic] for traffic in now}
        self._class_bytes = now
        return grown

    def _publish(self, sample: LinkSample, class_bytes: dict[str, int]) -> None:
        """Write a sample into the topic, unless the one before is still under way."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write(sample, class_bytes))

    async def _write(self, sample: LinkSample, class_bytes: dict[str, int]) -> None:
        steered = self._steered
        record = _sample_json(sample) | {
            "region": steered.region,
            "node": steered.node,
            "peer": steered.peer,
            "at_ms": time.time_ns() // 1_000_000,
            "duration_us": sample.duration_ns // 1_000,
            "class_bytes": class_bytes,
        }
        try:
            value = encode_event("LinkSample", record)
            await steered.log.append(topics.LINKS, 0, [NewRecord(steered.peer.encode(), value)])
        except LogError as error:
            log.warning("link.sample_lost", peer=steered.peer, error=str(error))


def _sample_json(sample: LinkSample) -> dict[str, Any]:
    own = asdict(sample)
    return own | {"at_s": sample.at_ns / 1e9, "is_app_limited": sample.is_app_limited}
