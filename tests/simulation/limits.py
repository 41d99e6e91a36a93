"""Limits of the system made small, so that small schedules reach them."""

import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import structlog

from streams import topics
from streams.state import partition, snapshot
from transport.amst import decoder, frame_size, objects, reassembly
from transport.session import objects as session_objects

# A few entities fill a bucket, a bucket several chunks, a unit several frames.
_SMALL: Final[tuple[tuple[ModuleType, str, Any], ...]] = (
    (topics, "SHIPPED_BYTES_MAX", 6_000),
    (partition, "BUCKET_COUNT", 3),
    (snapshot, "BUCKET_COUNT", 3),
    (snapshot, "CHUNK_BYTES", 200),
    (frame_size, "PAYLOAD_BYTES_MAX", 300),
    (reassembly, "UNIT_FRAME_BYTES_MAX", 300),
    (decoder, "_DIRECT_BYTES", 150),
    (objects, "CHUNK_BYTES_MIN", 100),
    (session_objects, "CHUNK_BYTES_MIN", 100),
)


@contextlib.contextmanager
def small_limits() -> Iterator[None]:
    """Make limits small and logs silent for a while."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in _SMALL]
    logs = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for module, name, value in _SMALL:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)
        structlog.configure(**logs)
