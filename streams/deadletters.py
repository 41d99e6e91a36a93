"""Dead letters: a record that could not be handled, whole, with its reason. Pure."""

from typing import NamedTuple

from connectors.log import LogRecord, NewRecord
from schemas.errors import DwcpError
from schemas.registry import Record, decode_event, encode_event


class Place(NamedTuple):
    """Where a record stands; `change_index` is -1 for the record as a whole."""

    topic: str
    partition: int
    offset: int
    change_index: int = -1


def dead_letter(
    region: str,
    origin_region: str,
    place: Place,
    record: LogRecord,
    error: DwcpError,
    *,
    value_bytes_max: int,
) -> NewRecord:
    """Return the dead letter of a record.

    Its key is the place, so that a letter written twice (a crash between letter and commit) can
    be told from two letters.
    """
    value = record.value or b""
    letter = {
        "reason": error.reason,
        "detail": str(error),
        "region": region,
        "origin_region": origin_region,
        "topic": place.topic,
        "partition": place.partition,
        "offset": place.offset,
        "change_index": place.change_index,
        "record_time_ms": record.record_time_ms,
        "key": record.key,
        "value": None if record.value is None else value[:value_bytes_max],
        "value_bytes": len(value),
        "headers": [{"name": name, "value": content} for name, content in record.headers],
    }
    key = f"{place.topic}/{place.partition}/{place.offset}/{place.change_index}".encode()
    return NewRecord(key, encode_event("DeadLetter", letter))


def read_dead_letter(value: bytes) -> Record:
    """Decode a dead letter."""
    return decode_event(value)[1]
