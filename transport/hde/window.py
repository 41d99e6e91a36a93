"""HDE level H4: one zstd window per flow, flushed per unit.

Layout of a unit, before the compressed bytes:

======  =====  =====================================================================
offset  bytes  meaning
======  =====  =====================================================================
0       1      codec: 0 raw, 4 zstd window
1       1      flags: 1 = key (the window begins with this unit)
2       2      epoch of the flow, modulo 65,536; big-endian
4       4      raw length
8       8      xxh3-64 of the raw bytes
======  =====  =====================================================================

Each unit refers to all that went before it in its epoch, so units are decoded in order and all of
them. Whoever cannot goes back: the sender begins a new epoch with a key unit.
"""

import struct
from typing import Final, NamedTuple

import xxhash
import zstandard

from schemas.errors import BadUnitError

HEADER: Final = struct.Struct("!BBHIQ")
CODEC_RAW: Final = 0
CODEC_WINDOW: Final = 4
FLAG_KEY: Final = 1
EPOCH_MASK: Final = 0xFFFF

LEVEL: Final = 3
WINDOW_LOG: Final = 23  # 8 MiB: some 3,000 documents of 2.6 KB; memory for it on both sides
# Four input bytes can stand for a 128 KiB run, so input goes in by small pieces and the output
# is counted after each: a unit that lies about its length is stopped within 16 MiB.
_PIECE_BYTES: Final = 512


class UnitHeader(NamedTuple):
    """What a unit says of itself."""

    codec: int
    flags: int
    epoch: int
    raw_bytes: int
    raw_hash: int


def read_unit_header(unit: bytes) -> UnitHeader:
    """Read the first 16 bytes of a unit.

    Raises:
        BadUnitError: It is shorter than that.
    """
    if len(unit) < HEADER.size:
        raise BadUnitError(f"a unit of {len(unit)} bytes, its header alone has {HEADER.size}")
    return UnitHeader(*HEADER.unpack_from(unit))


class WindowEncoder:
    """The sending end of one flow.

    Args:
        level: zstd level; 0 sends raw.
        window_log: Window size as a power of two.
    """

    def __init__(self, level: int = LEVEL, window_log: int = WINDOW_LOG) -> None:
        self._level = level
        self._window_log = window_log
        self.epoch = -1
        self.reset()

    def reset(self) -> None:
        """Begin a new epoch: the next unit is a key unit."""
        self.epoch = (self.epoch + 1) & EPOCH_MASK
        self._is_key = True
        parameters = zstandard.ZstdCompressionParameters.from_level(
            max(self._level, 1), window_log=self._window_log, write_checksum=False
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._stream = compressor.compressobj()

    def encode(self, raw: bytes) -> bytes:
        """Encode one unit; releases the GIL while zstd works."""
        flags = FLAG_KEY if self._is_key else 0
        self._is_key = False
        codec, body = CODEC_RAW, raw
        if self._level:
            codec = CODEC_WINDOW
            flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
            body = self._stream.compress(raw) + self._stream.flush(flush)
        head = HEADER.pack(codec, flags, self.epoch, len(raw), xxhash.xxh3_64_intdigest(raw))
        return head + body


class WindowDecoder:
    """The receiving end of one flow.

    Args:
        raw_bytes_max: Largest unit accepted.
        window_log: Largest window accepted, as a power of two.
    """

    def __init__(self, raw_bytes_max: int, window_log: int = WINDOW_LOG) -> None:
        self._raw_bytes_max = raw_bytes_max
        self._window_bytes_max = 1 << window_log
        self.epoch = -1

    def decode(self, unit: bytes) -> bytes:
        """Decode one unit.

        Raises:
            BadUnitError: It names another epoch, is not what was encoded, or is too large;
                no later unit of this epoch can be decoded.
        """
        header = read_unit_header(unit)
        if header.raw_bytes > self._raw_bytes_max:
            self.epoch = -1
            raise BadUnitError(
                f"a unit of {header.raw_bytes:,} bytes, {self._raw_bytes_max:,} are allowed"
            )
        if header.flags & FLAG_KEY:
            self.epoch = header.epoch
            limits = zstandard.ZstdDecompressor(max_window_size=self._window_bytes_max)
            self._stream = limits.decompressobj()
        elif header.epoch != self.epoch:
            raise BadUnitError(f"a unit of epoch {header.epoch} without its key unit")
        raw = self._body(header, unit)
        if len(raw) != header.raw_bytes or xxhash.xxh3_64_intdigest(raw) != header.raw_hash:
            self.epoch = -1
            raise BadUnitError(
                f"a unit decoded to {len(raw):,} bytes that are not the {header.raw_bytes:,} "
                f"that were encoded"
            )
        return raw

    def _body(self, header: UnitHeader, unit: bytes) -> bytes:
        if header.codec == CODEC_RAW:
            return unit[HEADER.size :]
        if header.codec != CODEC_WINDOW:
            self.epoch = -1
            raise BadUnitError(f"codec {header.codec} is not known here")
        pieces: list[bytes] = []
        size_bytes = 0
        for start in range(HEADER.size, len(unit), _PIECE_BYTES):
            try:
                piece = self._stream.decompress(unit[start : start + _PIECE_BYTES])
            except zstandard.ZstdError as error:
                self.epoch = -1
                raise BadUnitError(f"zstd: {error}") from error
            size_bytes += len(piece)
            if size_bytes > header.raw_bytes:
                break
            pieces.append(piece)
        return b"".join(pieces)
