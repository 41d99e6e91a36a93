"""Frames: what a connection between regions carries.

Header, 32 bytes, big-endian:

======  =====  =====================================================================
offset  bytes  meaning
======  =====  =====================================================================
0       2      magic, 44 57 ("DW")
2       1      protocol version of the frame layout, 1
3       1      type, see `FrameType`
4       2      flags, see `FLAG_LAST`
6       2      header check: low 16 bits of xxh3-64 over the header with this field 0
8       4      flow id
12      4      payload length, at most 262,144; of a chunk 1,048,576, of a unit 4,194,304
16      8      sequence: of the frame within its flow, from 0; of a chunk its byte offset
24      8      xxh3-64 of the payload; 0 of a unit on a data stream under TLS
======  =====  =====================================================================

A unit larger than one payload travels in several frames that follow each other; the last one has
`FLAG_LAST`. Frames of one flow may take different connections and overtake each other.
"""

import enum
import struct
from typing import Final, NamedTuple

import xxhash

from schemas.errors import BadFrameError, ChecksumError, FrameTooLargeError

MAGIC: Final = 0x4457
LAYOUT_VERSION: Final = 1
HEADER: Final = struct.Struct("!HBBHHIIQQ")
HEADER_BYTES: Final = HEADER.size
PAYLOAD_BYTES_MAX: Final = 262_144
CHUNK_BYTES_MAX: Final = 1_048_576
UNIT_FRAME_BYTES_MAX: Final = 4_194_304
FLAG_LAST: Final = 1


class FrameType(enum.IntEnum):
    """What a frame's payload is; control messages are Avro records of the same name."""

    HELLO = 1
    WELCOME = 2
    REFUSAL = 3
    ATTACH = 4
    UNIT = 5
    ACK = 6
    NACK = 7
    HEARTBEAT = 8
    GOODBYE = 9
    ATTACHED = 10
    RECEIVED = 11
    OFFER = 12
    WANT = 13
    CHUNK = 14
    DONE = 15
    TAKEN = 16


class Frame(NamedTuple):
    """One frame; a sequence means something only for units and chunks."""

    type: FrameType
    payload: bytes
    flow: int = 0
    sequence: int = 0
    flags: int = FLAG_LAST


class Header(NamedTuple):
    """What stands before a payload; `digest` is xxh3-64 of it."""

    type: FrameType
    flags: int
    flow: int
    length: int
    sequence: int
    digest: int


def encode_header(header: Header) -> bytes:
    """Return the 32 bytes of a header."""
    kind, flags, *rest = header
    bare = HEADER.pack(MAGIC, LAYOUT_VERSION, kind, flags, 0, *rest)
    return b"".join((bare[:_CHECK_AT], _check_of(bare), bare[_CHECK_END:]))


def decode_header(data: bytes) -> Header:
    """Read the 32 bytes of a header.

    Raises:
        BadFrameError: It is not one of ours; the stream cannot go on.
        FrameTooLargeError: It announces more than its type may carry.
    """
    magic, version, kind, flags, _, flow, length, sequence, digest = HEADER.unpack(data)
    if magic != MAGIC or version != LAYOUT_VERSION:
        raise BadFrameError(
            f"[{data[:4].hex(' ')}] is no frame of ours: does the peer speak DWCP, "
            f"version {LAYOUT_VERSION}?"
        )
    bare = b"".join((data[:_CHECK_AT], _NO_CHECK, data[_CHECK_END:]))
    found = _TYPES.get(kind)
    if found is None or data[_CHECK_AT:_CHECK_END] != _check_of(bare):
        raise BadFrameError(f"frame header [{data.hex(' ')}] is damaged")
    most = _LARGE_BYTES_MAX.get(kind, PAYLOAD_BYTES_MAX)
    if length > most:
        raise FrameTooLargeError(f"a frame of {length:,} bytes, {most:,} are allowed")
    return Header(found, flags, flow, length, sequence, digest)


def _check_of(bare: bytes) -> bytes:
    """Return the check of a header whose own is 0."""
    return xxhash.xxh3_64_digest(bare)[-2:]


def encode_frame(frame: Frame) -> bytes:
    """Return header and payload."""
    payload = frame.payload
    assert len(payload) <= PAYLOAD_BYTES_MAX, f"{len(payload)} bytes do not fit a frame"
    digest = xxhash.xxh3_64_intdigest(payload)
    header = Header(frame.type, frame.flags, frame.flow, len(payload), frame.sequence, digest)
    return encode_header(header) + payload


class FrameDecoder:
    """Cuts a byte stream into frames, however it was chunked; holds at most one frame.

    Args:
        payload_bytes_max: Larger frames are refused as soon as their header is there.
    """

    def __init__(self, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._payload_bytes_max = payload_bytes_max
        self._buffer = bytearray()

    @property
    def has_rest(self) -> bool:
        """Tell whether a frame is half there."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames they complete, possibly none.

        Raises:
            BadFrameError: The header is not one of ours; the stream cannot go on.
            FrameTooLargeError: The header announces more than the limit.
            ChecksumError: The payload is not what its sender hashed.
        """
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            frame = self._parse(start)
            if frame is None:
                break
            frames.append(frame)
            start += HEADER_BYTES + len(frame.payload)
        del self._buffer[:start]
        return frames

    def _parse(self, start: int) -> Frame | None:
        header = decode_header(bytes(self._buffer[start : start + HEADER_BYTES]))
        if header.length > self._payload_bytes_max:
            raise FrameTooLargeError(
                f"a frame of {header.length:,} bytes, {self._payload_bytes_max:,} are allowed"
            )
        end = start + HEADER_BYTES + header.length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[start + HEADER_BYTES : end])
        check_payload(header, payload)
        return Frame(header.type, payload, header.flow, header.sequence, header.flags)


def check_payload(header: Header, payload: bytes | bytearray | memoryview) -> None:
    """Compare a payload with what its sender hashed.

    Raises:
        ChecksumError: It is not the same.
    """
    if xxhash.xxh3_64_intdigest(payload) != header.digest:
        raise ChecksumError(f"payload of {header.length:,} bytes of {header.type.name} is damaged")


_CHECK_AT: Final = 6
_CHECK_END: Final = 8
_NO_CHECK: Final = b"\0\0"
_TYPES: Final = {int(kind): kind for kind in FrameType}
_LARGE_BYTES_MAX: Final = {
    FrameType.UNIT: UNIT_FRAME_BYTES_MAX,
    FrameType.CHUNK: CHUNK_BYTES_MAX,
}
