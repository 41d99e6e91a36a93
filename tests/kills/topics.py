"""Reads topics as a stranger: confluent-kafka, `read_committed`, fastavro, the kept schemas."""

import functools
import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.kills.history import Change, ReplicaRecord, StateRecord
from tests.support.repository import ROOT

STATE: Final = "dwcp.state"
REPLICA: Final = "dwcp.replica.state"
_MAGIC: Final = b"\xc3\x01"
_HEADER_BYTES: Final = 10
_ORIGIN: Final = ("dwcp-origin-region", "dwcp-origin-partition", "dwcp-origin-offset")
_POLL_S: Final = 10.0
_KEPT: Final = ROOT / "schemas" / "avro" / "history"


def read_state(bootstrap: str) -> list[StateRecord]:
    """Read a region's own state topic."""
    return [
        StateRecord(
            message.partition(),
            message.offset(),
            _digest(message, _headers(message)),
            decode(message.value() or b"", message.timestamp()[1]),
        )
        for message in _read(bootstrap, STATE)
    ]


def read_replica(bootstrap: str) -> list[ReplicaRecord]:
    """Read a region's replica topic."""
    records = []
    for message in _read(bootstrap, REPLICA):
        headers = _headers(message)
        named = dict(headers)
        region, partition, offset = (named.get(name, b"").decode() for name in _ORIGIN)
        origin = (region, int(partition or -1), int(offset or -1))
        rest = [header for header in headers if header[0] not in _ORIGIN]
        digest = _digest(message, rest)
        records.append(ReplicaRecord(message.partition(), message.offset(), digest, origin))
    return records


def encode(change: dict[str, Any]) -> bytes:
    """Encode a `StateChange` as any Avro library would; the oldest kept schema will always do."""
    name, fingerprint = "StateChange.1.avsc", _schema("StateChange.1.avsc")[0]
    out = BytesIO()
    fastavro.schemaless_writer(out, _schema(name)[1], change)
    return _MAGIC + fingerprint + out.getvalue()


def decode(value: bytes, append_time_ms: int) -> list[Change]:
    """Decode a record of a state topic, whichever kept schema it was written with."""
    schema = _by_fingerprint()[value[len(_MAGIC) : _HEADER_BYTES]]
    record: Any = fastavro.schemaless_reader(BytesIO(value[_HEADER_BYTES:]), schema, None)
    changes = record.get("changes", [record])
    producer = record.get("producer", "")
    return [_change(change, append_time_ms, producer) for change in changes]


def _change(change: dict[str, Any], append_time_ms: int, producer: str) -> Change:
    fields = [(d["path"], d["operation"] == "remove", _value(d["value"])) for d in change["deltas"]]
    token = next((value for path, _, value in fields if path == "/token"), "")
    if change["document"] is not None:
        token = json.loads(change["document"]).get("token", "")
    elif change["operation"] == "delete" and change["change_id"].startswith("w:"):
        token = change["change_id"]
    stamp, base = change["hybrid_timestamp"], change["base_version"]
    is_chained = change["operation"] == "patch" and base is not None
    return Change(
        token,
        "chained" if is_chained else change["operation"],
        change["entity_id"],
        change["entity_type"],
        change["document"],
        fields,
        append_time_ms << 16 if stamp is None else stamp,
        producer,
        base,
    )


def _value(value: Any) -> Any:
    return json.loads(value["json"]) if isinstance(value, dict) else value


@functools.cache
def _schema(name: str) -> tuple[bytes, Any]:
    schema = fastavro.parse_schema(json.loads((_KEPT / name).read_text()))
    form = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(form, "CRC-64-AVRO")), schema


@functools.cache
def _by_fingerprint() -> dict[bytes, Any]:
    names = [path.name for path in Path(_KEPT).glob("State*.avsc")]
    return dict(_schema(name) for name in names)


def _headers(message: Message) -> list[tuple[str, bytes]]:
    return [(name, value or b"") for name, value in message.headers() or ()]


def _digest(message: Message, headers: list[tuple[str, bytes]]) -> bytes:
    text = repr((message.key(), message.value(), message.timestamp()[1], headers))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _read(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield all records that a `read_committed` reader gets, partition by partition, in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
        }
    )
    try:
        metadata = consumer.list_topics(topic, timeout=_POLL_S)
        for partition in sorted(metadata.topics[topic].partitions):
            yield from _read_partition(consumer, TopicPartition(topic, partition))
    finally:
        consumer.close()


def _read_partition(consumer: Consumer, place: TopicPartition) -> Iterator[Message]:
    low, _ = consumer.get_watermark_offsets(place, timeout=_POLL_S)
    consumer.assign([TopicPartition(place.topic, place.partition, low)])
    while True:
        message = consumer.poll(_POLL_S)
        if message is None:
            raise KafkaException(f"{place.topic}/{place.partition}: nothing for {_POLL_S:g} s")
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        else:
            raise KafkaException(error)
