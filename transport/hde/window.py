"""HDE level H4: one zstd window per flow, flushed per unit.

Each body refers to all that went before it in its epoch, so bodies are decoded in order and all of
them. Whoever cannot goes back: the sender begins a new epoch with a key unit.
"""

from typing import Final

import zstandard

from transport.hde.codec import inflate

LEVEL: Final = 3
WINDOW_LOG: Final = 23  # 8 MiB: some 3,000 documents of 2.6 KB; memory for it on both sides


class WindowWriter:
    """The sending end of one epoch.

    Args:
        level: zstd level, 1 to 19.
        window_log: Window size as a power of two.
        dictionary: What both ends hold from the start, if anything.
    """

    def __init__(self, level: int, window_log: int, dictionary: bytes = b"") -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, window_log=window_log, write_checksum=False
        )
        trained = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        compressor = zstandard.ZstdCompressor(dict_data=trained, compression_params=parameters)
        self._stream = compressor.compressobj()

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
        limits = zstandard.ZstdDecompressor(dict_data=trained, max_window_size=1 << window_log)
        self._stream = limits.decompressobj()

    def read(self, body: bytes, content_bytes: int) -> bytes:
        """Decompress the next bytes.

        Raises:
            BadUnitError: They are no zstd of this window, or give more than `content_bytes`.
        """
        return inflate(self._stream, body, content_bytes)
