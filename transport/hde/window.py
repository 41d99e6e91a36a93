"""HDE level H4: one zstd window per flow, flushed per unit.

Each body refers to all that went before it in its epoch, so bodies are decoded in order and all of
them. Whoever cannot goes back: the sender begins a new epoch with a key unit.
"""

from collections.abc import Sequence
from typing import Final

import zstandard

from schemas.errors import BadUnitError
from transport.hde.codec import inflate
from transport.hde.typed.integers import read_varints, varints

LEVEL: Final = 3
WINDOW_LOG: Final = 23  # 8 MiB: some 3,000 documents of 2.6 KB; memory for it on both sides
_SHEET_BYTES: Final = 65_536  # columns may be larger than what they stand for, but not by much


class WindowWriter:
    """The sending end of one epoch.

    Args:
        level: zstd level, 1 to 19.
        window_log: Window size as a power of two.
        dictionary: What both ends hold from the start, if anything.

    Attributes:
        level: zstd level.
    """

    def __init__(self, level: int, window_log: int, dictionary: bytes = b"") -> None:
        self._window_log = window_log
        self._trained = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self.level = 0
        self.turn(level)

    def turn(self, level: int) -> bool:
        """Use a zstd level; returns whether the window begins anew, for it was another one."""
        if level == self.level:
            return False
        self.level = level
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, window_log=self._window_log, write_checksum=False
        )
        compressor = zstandard.ZstdCompressor(
            dict_data=self._trained, compression_params=parameters
        )
        self._stream = compressor.compressobj()
        return True

    def write(self, content: bytes) -> bytes:
        """Compress the next bytes; releases the GIL while zstd works."""
        flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return self._stream.compress(content) + self._stream.flush(flush)


class WindowReader:
    """The receiving end of one epoch.

    Args:
        window_log: Largest window accepted, as a power of two.
        dictionary: What both ends hold from the start, if anything.
    """

    def __init__(self, window_log: int, dictionary: bytes = b"") -> None:
        trained = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._limits = zstandard.ZstdDecompressor(
            dict_data=trained, max_window_size=1 << window_log
        )
        self.begin()

    def begin(self) -> None:
        """Forget all that went before."""
        self._stream = self._limits.decompressobj()

    def read(self, body: bytes, content_bytes: int) -> bytes:
        """Decompress the next bytes.

        Raises:
            BadUnitError: They are no zstd of this window, or give more than `content_bytes`.
        """
        return inflate(self._stream, body, content_bytes)


def pack_typed(
    window: WindowWriter, numbers: Sequence[int], content: bytes, beside: bytes
) -> bytes:
    """Return the body of a typed unit: numbers and sizes, what the window takes, what it does not.

    Args:
        window: The flow's.
        numbers: What the first typed unit of an epoch tells besides.
        content: What goes through the window.
        beside: What goes beside it.
    """
    packed = window.write(content)
    head = b"".join(varints([*numbers, len(content), len(packed)]))
    return b"".join((len(head).to_bytes(1, "big"), head, packed, beside))


def unpack_typed(
    window: WindowReader, body: bytes, raw_bytes: int, *, has_memory: bool
) -> tuple[int, bytes, bytes]:
    """Undo `pack_typed`; returns the memory in MiB (0 if it was told before) and both contents.

    Raises:
        BadUnitError: The sizes do not add up, or are far beyond those of the raw bytes.
    """
    start = 1 + (body[0] if body else 0)
    numbers = read_varints(body[1:start])
    if len(numbers) != 2 + has_memory:
        raise BadUnitError("a typed unit without its sizes")
    content_bytes, packed_bytes = numbers[-2:]
    end = start + packed_bytes
    if not 0 <= content_bytes <= 2 * raw_bytes + _SHEET_BYTES or not start <= end <= len(body):
        raise BadUnitError(f"a typed unit of {content_bytes:,} bytes for {raw_bytes:,} raw ones")
    content = window.read(body[start:end], content_bytes)
    if len(content) != content_bytes:
        raise BadUnitError(f"{len(content):,} bytes came out, {content_bytes:,} were announced")
    return numbers[0] if has_memory else 0, content, body[end:]
