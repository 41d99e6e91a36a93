"""What is bounded besides the settings: fixed limits, where they stand, and what happens there.

The values are read from the modules that enforce them, so this table cannot lie about them.
"""

import importlib
from dataclasses import fields
from typing import Any, Final, NamedTuple


class Limit(NamedTuple):
    """A fixed limit.

    Attributes:
        place: `module:NAME` of the constant that enforces it, or `module:Class.field` of a default.
        meaning: What it bounds, with the unit, and what happens at it.
    """

    place: str
    meaning: str

    @property
    def value(self) -> float:
        """Return the limit as the enforcing module has it."""
        module, _, names = self.place.partition(":")
        name, _, field = names.partition(".")
        found: Any = getattr(importlib.import_module(module), name)
        if field:  # a setting of a dataclass that no operator sets
            found = {each.name: each.default for each in fields(found)}[field]
        limit: float = found[-1] if isinstance(found, tuple) else found
        return limit


_PLACES: Final = {
    "record.bytes": (
        "streams.topics:RECORD_BYTES_MAX",
        "of a record in `dwcp.state`; the producer splits batches, one larger change is refused",
    ),
    "record.shipped_bytes": (
        "streams.topics:SHIPPED_BYTES_MAX",
        "of a record that links carry; a larger one goes to the dead letters in every region",
    ),
    "record.deadletter_bytes": (
        "streams.topics:DEADLETTER_VALUE_BYTES_MAX",
        "of a record's value in its dead letter; the rest is cut, its size is told",
    ),
    "change.entity_id_bytes": (
        "schemas.changes:ENTITY_ID_BYTES_MAX",
        "of an entity's id; a longer one is refused",
    ),
    "change.depth": (
        "schemas.changes:DEPTH_MAX",
        "objects and arrays in each other; a deeper document is refused",
    ),
    "change.drift_ms": (
        "schemas.changes:DRIFT_MS_MAX",
        "ms a change's time may be ahead of its append time; else to the dead letters",
    ),
    "producer.pending_changes": (
        "connectors.producer:ProducerSettings.pending_changes_max",
        "changes of one producer that are not durable yet; its callers wait",
    ),
    "producer.batch_changes": (
        "connectors.producer:ProducerSettings.batch_changes_max",
        "changes in one record; more go as several",
    ),
    "append.timeout_s": (
        "connectors.kafka:APPEND_TIMEOUT_S",
        "seconds an append goes on trying; then its outcome is unknown",
    ),
    "append.batch_bytes": (
        "connectors.kafka_batches:BATCH_BYTES",
        "of one batch of Kafka's; more go as several",
    ),
    "append.transaction_bytes": (
        "connectors.kafka_writer:GROUP_BYTES",
        "that appends share one transaction up to; others wait for the next",
    ),
    "append.group_bytes": (
        "streams.agents.appending:GROUP_BYTES",
        "raw, of a link's units that are appended together; others wait for the next",
    ),
    "frame.payload_bytes": (
        "transport.frame:PAYLOAD_BYTES_MAX",
        "of a control message; a larger one ends the session",
    ),
    "frame.chunk_bytes": (
        "transport.frame:CHUNK_BYTES_MAX",
        "of an object's frame; a larger one ends the session",
    ),
    "frame.unit_bytes": (
        "transport.frame:UNIT_FRAME_BYTES_MAX",
        "of a unit's frame; a larger unit goes in several, a larger frame ends the session",
    ),
    "flow.frames_ahead": (
        "transport.amst.limits:FRAMES_AHEAD_MAX",
        "frames of a flow that are not reported yet; the sender waits",
    ),
    "log.unit_bytes": (
        "transport.session.control:LOG_UNIT_BYTES_MAX",
        "of a consensus entry on the link; a larger one is refused",
    ),
    "door.connections": (
        "transport.aio.door:CONNECTIONS_MAX",
        "connections at the link's port; further are closed",
    ),
    "door.half_open": (
        "transport.aio.door:HALF_OPEN_MAX",
        "of them that have not said yet who they are; the oldest is closed",
    ),
    "door.sessions": (
        "streams.agents.receiver:SESSIONS_MAX",
        "sessions of peers; further are refused by name",
    ),
    "door.data_streams": (
        "streams.agents.receiver:DATA_STREAMS_MAX",
        "data streams of all sessions, a thread each; further are refused by name",
    ),
    "session.data_streams": (
        "streams.agents.taking:STREAMS_MAX",
        "data streams of one session, retiring ones too; further are refused by name",
    ),
    "session.queue_bytes": (
        "transport.amst.limits:SchedulerLimits.queue_bytes_max",
        "that wait for the data streams of a session; the log's reader waits",
    ),
    "link.retry_s": (
        "streams.agents.sender:BACKOFF_S",
        "seconds between attempts to reach a peer, at most; for ever",
    ),
    "link.refused_retry_s": (
        "streams.agents.sender:REFUSED_S",
        "seconds between attempts after a peer refused; for ever",
    ),
    "letter.retry_s": (
        "streams.agents.letters:RETRY_S",
        "seconds between attempts to write a dead letter; for ever, its partition waits",
    ),
    "baselines.retry_s": (
        "dwcp.baseline_lane:RETRY_S",
        "seconds between attempts to read the directory of baselines; for ever",
    ),
    "link.decisions": (
        "transport.amst.stream_search:DECISIONS_MAX",
        "decisions on the number and rate of data streams that are remembered",
    ),
    "link.unsent_bytes": (
        "transport.aio.wire:UNSENT_BYTES_MAX",
        "queued for a control connection; then it ends",
    ),
    "hde.rows": (
        "transport.hde.typed.batch:ROWS_MAX",
        "records and changes of a typed unit; a larger one goes through the window",
    ),
    "http.body_bytes": (
        "streams.app:BODY_BYTES_MAX",
        "of a request, decompressed; a larger one gets 413",
    ),
    "http.changes_per_post": (
        "streams.web.routes:CHANGES_PER_POST_MAX",
        "changes of one POST; more get 400",
    ),
    "http.watchers": (
        "streams.web.routes:WATCHERS_MAX",
        "clients that watch; further get 503",
    ),
    "http.watch_pending": (
        "streams.web.watching:WATCH_PENDING_MAX",
        "entities that a slow watcher has not read; then its watch ends",
    ),
    "http.waiting": (
        "streams.web.site:WAITING_MAX",
        "connections that have shown no rights yet; the oldest is closed",
    ),
}

LIMITS: Final = {name: Limit(*entry) for name, entry in _PLACES.items()}


def limit_values() -> dict[str, Any]:
    """Return every fixed limit's value by name."""
    return {name: limit.value for name, limit in LIMITS.items()}


def limits_table() -> str:
    """Return the table of `docs/configuration.md`; a test fails when the page is stale."""
    lines = ["| limit | value | meaning |", "|---|---|---|"]
    lines += [f"| `{n}` | {limit.value:,} | {limit.meaning} |" for n, limit in LIMITS.items()]
    return "\n".join(lines) + "\n"
