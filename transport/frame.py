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
12      4      payload length, at most 262,144
16      8      sequence: of the unit within its flow and epoch; else 0
24      8      xxh3-64 of the payload
======  =====  =====================================================================

A unit larger than one payload travels in several frames of the same sequence; the last one has
`FLAG_LAST`.
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


class Frame(NamedTuple):
    """One frame; a sequence means something only for units."""

    type: FrameType
    payload: bytes
    flow: int = 0
    sequence: int = 0
    flags: int = FLAG_LAST


def encode_frame(frame: Frame) -> bytes:
    """Return header and payload."""
    payload = frame.payload
    assert len(payload) <= PAYLOAD_BYTES_MAX, f"{len(payload)} bytes do not fit a frame"
    digest = xxhash.xxh3_64_intdigest(payload)
    rest = (frame.flow, len(payload), frame.sequence, digest)
    bare = HEADER.pack(MAGIC, LAYOUT_VERSION, frame.type, frame.flags, 0, *rest)
    check = xxhash.xxh3_64_intdigest(bare) & 0xFFFF
    return b"".join((bare[:6], check.to_bytes(2, "big"), bare[8:], payload))


class FrameDecoder:
    """Cuts a byte stream into frames, however it was chunked; holds at most one frame.

    Args:
        payload_bytes_max: Larger frames are refused as soon as their header is there.
    """

    def __init__(self, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._payload_bytes_max = payload_bytes_max
        self._buffer = bytearray()

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
        header = bytes(self._buffer[start : start + HEADER_BYTES])
        magic, version, kind, flags, check, flow, length, sequence, digest = HEADER.unpack(header)
        if magic != MAGIC or version != LAYOUT_VERSION:
            raise BadFrameError(
                f"[{header[:4].hex(' ')}] is no frame of ours: does the peer speak DWCP, "
                f"version {LAYOUT_VERSION}?"
            )
        bare = header[:6] + b"\0\0" + header[8:]
        if check != xxhash.xxh3_64_intdigest(bare) & 0xFFFF or kind not in _TYPES:
            raise BadFrameError(f"frame header [{header.hex(' ')}] is damaged")
        if length > self._payload_bytes_max:
            raise FrameTooLargeError(
                f"a frame of {length:,} bytes, {self._payload_bytes_max:,} are allowed"
            )
        end = start + HEADER_BYTES + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[start + HEADER_BYTES : end])
        if xxhash.xxh3_64_intdigest(payload) != digest:
            raise ChecksumError(f"payload of {length:,} bytes of {FrameType(kind).name} is damaged")
        return Frame(FrameType(kind), payload, flow, sequence, flags)


_TYPES: Final = frozenset(int(kind) for kind in FrameType)
