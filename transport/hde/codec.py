"""The contract that every level keeps, and the unit of one codec alone.

A codec writes bytes against what both ends know: nothing, a dictionary, an old version (its
`base`), or all that one flow carried so far. `tests/properties/test_codecs.py` holds every codec
to it:

* `decode(encode(raw), len(raw)) == raw` for all bytes, from none to the largest unit.
* `encode` never grows a body beyond `unit.body_bytes_max`.
* `decode` takes any bytes: it gives at most `raw_bytes` + 1 bytes, or raises BadUnitError, and its
  memory is bounded by what `raw_bytes` and its base allow.
* A unit made against another base is refused by name, before it is decoded.
"""

from typing import Final, Protocol

import zstandard

from schemas.errors import BadUnitError
from transport.hde.unit import (
    Level,
    Named,
    check_raw,
    check_raw_bytes,
    pack_unit,
    read_unit_header,
)

# Four input bytes can stand for a 128 KiB run, so input goes in by small pieces and the output
# is counted after each: a unit that lies about its length is stopped within 16 MiB.
_PIECE_BYTES: Final = 512


class Inflater(Protocol):
    """zstandard's streaming decompressor, which it does not name."""

    def decompress(self, data: bytes) -> bytes:
        """Return what the next bytes give."""


class Codec(Protocol):
    """One level; ends that talk to each other are made with equal bases."""

    @property
    def level(self) -> Level:
        """Its number on the wire."""

    @property
    def base(self) -> int:
        """`content_hash` of what both ends have to hold; 0 for nothing."""

    def encode(self, raw: bytes) -> bytes:
        """Return the body for `raw`."""

    def decode(self, body: bytes, raw_bytes: int) -> bytes:
        """Return what `body` stands for, which should be `raw_bytes` long.

        Raises:
            BadUnitError: It stands for nothing, or for more than that.
        """


class RawCodec:
    """The bytes themselves: for what does not shrink."""

    level = Level.RAW
    base = 0

    def encode(self, raw: bytes) -> bytes:
        """Return `raw`."""
        return raw

    def decode(self, body: bytes, raw_bytes: int) -> bytes:
        """Return `body`."""
        if len(body) != raw_bytes:
            raise BadUnitError(f"{len(body):,} raw bytes, {raw_bytes:,} were announced")
        return body


class SameCodec:
    """H0: the content is the one both ends hold; nothing but its name travels."""

    level = Level.SAME

    def __init__(self, base: Named) -> None:
        self._content, self.base = base

    def encode(self, raw: bytes) -> bytes:
        """Return nothing.

        Raises:
            AssertionError: The content changed: ask before.
        """
        assert raw == self._content, "the content changed"
        return b""

    def decode(self, body: bytes, raw_bytes: int) -> bytes:
        """Return the base."""
        if body or raw_bytes != len(self._content):
            raise BadUnitError(f"{len(body):,} bytes follow a unit that says: nothing changed")
        return self._content


def encode_alone(codec: Codec, raw: Named) -> bytes:
    """Return a unit that stands alone, outside any flow: for blobs and baselines."""
    return pack_unit((codec.level, 0, 0, 0), raw, codec.encode(raw.content), codec.base)


def decode_alone(codec: Codec, unit: bytes, raw_bytes_max: int) -> Named:
    """Read what `encode_alone` made.

    Raises:
        BadUnitError: Another codec or base is named, it is too large, or gives other bytes.
    """
    header = read_unit_header(unit)
    check_raw_bytes(header, raw_bytes_max)
    if header.codec != codec.level:
        raise BadUnitError(f"codec {header.codec}, we were asked to read {codec.level.name}")
    if header.base != codec.base:
        raise BadUnitError(f"base {header.base:016x} is not the one we hold, {codec.base:016x}")
    return check_raw(header, codec.decode(unit[header.body_start :], header.raw_bytes))


def inflate(stream: Inflater, body: bytes, raw_bytes: int) -> bytes:
    """Decompress a body that should give `raw_bytes` bytes; little more is ever made.

    Raises:
        BadUnitError: It is no zstd, or gives more.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    for start in range(0, len(body), _PIECE_BYTES):
        try:
            piece = stream.decompress(body[start : start + _PIECE_BYTES])
        except zstandard.ZstdError as error:
            raise BadUnitError(f"zstd: {error}") from error
        size_bytes += len(piece)
        if size_bytes > raw_bytes:
            raise BadUnitError(f"zstd gives {size_bytes:,} bytes that are not the {raw_bytes:,}")
        pieces.append(piece)
    return b"".join(pieces)
