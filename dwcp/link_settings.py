"""From the configuration of links to what the transport needs."""

from dwcp.config import HdeConfig, LinkConfig
from streams.agents.shaping import Shape, shape_of
from transport.aio.keeper import StreamSettings
from transport.aio.options import SocketOptions, send_buffer_bytes_max
from transport.amst.limits import SchedulerLimits
from transport.amst.stream_count import StreamLimits
from transport.hde.dictionary import Dictionaries
from transport.hde.settings import FlowSettings
from transport.session.events import LinkSettings


def stream_settings(link: LinkConfig) -> StreamSettings:
    """Return what a session's data streams should be."""
    named = [link.congestion_control] if link.congestion_control else []
    return StreamSettings(
        count=link.data_streams_min,
        connect_ms=link.connect_ms,
        drain_ms=link.drain_ms,
        limits=SchedulerLimits(stall_ms=link.stall_ms),
        options=SocketOptions(
            congestion_control=(*named, "cubic") if named else (), dead_ms=link.silence_ms
        ),
    )


def link_shape(link: LinkConfig) -> Shape:
    """Return what the links to a peer keep to from the start."""
    return shape_of(link.pacing_mbit_s, link.shares.model_dump())


def stream_limits(link: LinkConfig) -> StreamLimits:
    """Return how many data streams the search may try."""
    return StreamLimits(link.data_streams_min, link.data_streams_max, send_buffer_bytes_max())


def session_settings(link: LinkConfig, hde: HdeConfig, dictionaries: Dictionaries) -> LinkSettings:
    """Return the limits of all sessions, and how their units are encoded."""
    return LinkSettings(
        heartbeat_ms=link.heartbeat_ms,
        silence_ms=link.silence_ms,
        credit_bytes=link.credit_mib << 20,
        flow=FlowSettings(
            level=hde.compression_level if hde.enabled else 0,
            is_typed=hde.typed,
            memory_bytes=hde.memory_mib << 20,
            rate_bytes_s=hde.rate_mbit_s * 125_000,
        ),
        dictionaries=dictionaries,
    )
