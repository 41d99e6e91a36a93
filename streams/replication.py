"""What crosses the link, and how it stands in the replica topic. Pure.

A record of an origin's log keeps its key, value, headers and timestamp. Three headers are added
that name where it came from, each as decimal text:

========================  ==================================
header                    meaning
========================  ==================================
``dwcp-origin-region``    region whose log it is
``dwcp-origin-partition`` its partition there, and here
``dwcp-origin-offset``    its offset there
========================  ==================================
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from connectors.log import LogRecord, NewRecord, RecordRange
from schemas.errors import BadUnitError, EventError, MalformedMessageError, MissingOriginError
from schemas.registry import Record, decode_bare, encode_bare

REGION_HEADER: Final = "dwcp-origin-region"
PARTITION_HEADER: Final = "dwcp-origin-partition"
OFFSET_HEADER: Final = "dwcp-origin-offset"


class Origin(NamedTuple):
    """Where a replica record came from."""

    region: str
    partition: int
    offset: int


def encode_batch(ranges: Iterable[RecordRange], record_bytes_max: int) -> bytes:
    """Encode ranges as the raw bytes of one unit.

    A record above `record_bytes_max` is left out, in every link alike; the origin's own fold puts
    it to the dead letters.
    """
    return encode_bare(
        "LinkBatch", {"ranges": [_range_record(part, record_bytes_max) for part in ranges]}
    )


def decode_batch(raw: bytes) -> list[RecordRange]:
    """Decode what `encode_batch` made.

    Raises:
        MalformedMessageError: The bytes are no batch.
    """
    try:
        record = decode_bare("LinkBatch", raw)
    except EventError as error:
        raise MalformedMessageError(f"LinkBatch: {error}") from error
    return [_record_range(part) for part in record["ranges"]]


def replica_records(origin: str, part: RecordRange, cursors: Mapping[int, int]) -> list[NewRecord]:
    """Return what of a range is new here, ready to append to the replica topic.

    Args:
        origin: Region whose log the range is of.
        part: The range.
        cursors: Next offset we lack, by partition.

    Raises:
        BadUnitError: The range leaves a hole, or names a partition that is not there.
    """
    cursor = cursors.get(part.partition)
    if cursor is None or part.from_offset > cursor:
        raise BadUnitError(
            f"range [{part.from_offset}, {part.to_offset}) of partition {part.partition} leaves "
            f"a hole: we hold up to {cursor}"
        )
    return [
        NewRecord(
            record.key,
            record.value,
            (*record.headers, *origin_headers(Origin(origin, part.partition, record.offset))),
            record.record_time_ms,
        )
        for record in part.records
        if record.offset >= cursor
    ]


def origin_headers(origin: Origin) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that name an origin."""
    return (
        (REGION_HEADER, origin.region.encode()),
        (PARTITION_HEADER, str(origin.partition).encode()),
        (OFFSET_HEADER, str(origin.offset).encode()),
    )


def read_origin(headers: Iterable[tuple[str, bytes]]) -> Origin:
    """Read where a replica record came from.

    Raises:
        MissingOriginError: The headers do not say, or not in numbers.
    """
    found = dict(headers)
    try:
        return Origin(
            found[REGION_HEADER].decode(),
            int(found[PARTITION_HEADER]),
            int(found[OFFSET_HEADER]),
        )
    except (KeyError, ValueError) as error:
        raise MissingOriginError(
            f"a record in the replica topic without {REGION_HEADER}, {PARTITION_HEADER} and "
            f"{OFFSET_HEADER}: only DWCP writes there, produce to dwcp.state"
        ) from error


def _range_record(part: RecordRange, record_bytes_max: int) -> Record:
    return {
        "partition": part.partition,
        "from_offset": part.from_offset,
        "to_offset": part.to_offset,
        "records": [
            {
                "offset_delta": record.offset - part.from_offset,
                "record_time_ms": record.record_time_ms,
                "key": record.key,
                "value": record.value,
                "headers": [{"name": name, "value": value} for name, value in record.headers],
            }
            for record in part.records
            if record.size_bytes <= record_bytes_max
        ],
    }


def _record_range(part: Record) -> RecordRange:
    first = part["from_offset"]
    records = [
        LogRecord(
            first + record["offset_delta"],
            record["record_time_ms"],
            record["key"],
            record["value"],
            tuple((header["name"], header["value"]) for header in record["headers"]),
        )
        for record in part["records"]
    ]
    return RecordRange(part["partition"], first, part["to_offset"], records)
