"""Control messages and batches of the link: Avro records inside frames."""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.errors import EventError, MalformedMessageError
from schemas.registry import Record, decode_bare, encode_bare
from transport.frame import Frame, FrameType

PROTOCOL_MIN: Final = 1
PROTOCOL_MAX: Final = 1

_SCHEMA_OF: Final = {
    FrameType.HELLO: "Hello",
    FrameType.WELCOME: "Welcome",
    FrameType.REFUSAL: "Refusal",
    FrameType.ATTACH: "Attach",
    FrameType.ACK: "Ack",
    FrameType.NACK: "Nack",
    FrameType.HEARTBEAT: "Heartbeat",
    FrameType.GOODBYE: "Goodbye",
    FrameType.ATTACHED: "Attached",
    FrameType.RECEIVED: "Received",
    FrameType.OFFER: "Offer",
    FrameType.WANT: "Want",
    FrameType.DONE: "Done",
    FrameType.TAKEN: "Taken",
}


def message_frame(kind: FrameType, record: Record) -> Frame:
    """Wrap a control message."""
    return Frame(kind, encode_bare(_SCHEMA_OF[kind], record))


def read_message(frame: Frame) -> Record:
    """Unwrap a control message.

    Raises:
        MalformedMessageError: The payload does not decode.
    """
    try:
        return decode_bare(_SCHEMA_OF[frame.type], frame.payload)
    except EventError as error:
        raise MalformedMessageError(f"{frame.type.name}: {error}") from error


def positions(cursors: Mapping[int, int]) -> list[Record]:
    """Write {partition: offset} as Avro `Position` records, ascending."""
    return [{"partition": p, "offset": o} for p, o in sorted(cursors.items())]


def ranges(found: Iterable[tuple[int, int]]) -> list[Record]:
    """Write ranges as Avro `ReceivedRange` records."""
    return [{"from_number": start, "to_number": end} for start, end in found]


def read_ranges(records: list[Record]) -> tuple[tuple[int, int], ...]:
    """Read Avro `ReceivedRange` records.

    Raises:
        MalformedMessageError: One ends before it begins.
    """
    found = tuple((record["from_number"], record["to_number"]) for record in records)
    if any(not 0 <= start <= end for start, end in found):
        raise MalformedMessageError(f"ranges {found}")
    return found


def read_positions(records: list[Record]) -> dict[int, int]:
    """Read Avro `Position` records."""
    return {record["partition"]: record["offset"] for record in records}
