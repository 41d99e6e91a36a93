"""Cuts one data stream's bytes into frames, large payloads straight to where they belong.

Sans-I/O, in two steps as `recv_into` wants it: read into `buffer()`, then tell `advance()` how many
bytes came. Small frames are taken many at a time from a staging buffer; behind a large frame only
the next header is read, so that the large payload after it is not copied.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from transport.frame import HEADER_BYTES, FrameType, Header, check_payload, decode_header

STAGING_BYTES: Final = 65_536
_DIRECT_BYTES: Final = 16_384  # from here on, a payload is read to its place

Payload = bytes | memoryview
Place = Callable[[Header], memoryview | None]


def nowhere(_: Header) -> memoryview | None:
    """Give no place of its own to any payload."""
    return None


class StreamDecoder:
    """The receiving end of one data stream; holds one frame and the staging buffer at most.

    Args:
        place: Returns where the payload of a large frame goes, of exactly its length; None for a
            buffer of its own.
        is_hashed: False under TLS, where units have no digest; see `Piece.header`.
    """

    def __init__(self, place: Place = nowhere, *, is_hashed: bool = True) -> None:
        self._place = place
        self._is_hashed = is_hashed
        self._staging = memoryview(bytearray(STAGING_BYTES))
        self._start = 0
        self._end = 0
        self._is_after_large = False
        self._header: Header | None = None
        self._target = self._staging
        self._filled = 0

    @property
    def is_exact(self) -> bool:
        """Tell whether all of `buffer()` belongs to what is read now: it may be waited for."""
        return self._header is not None or self._wants_header

    def buffer(self) -> memoryview:
        """Return where the next bytes are to be read into; never empty."""
        if self._header is not None:
            return self._target[self._filled :]
        if self._wants_header:
            return self._staging[self._end : HEADER_BYTES]
        return self._staging[self._end :]

    def advance(self, size: int) -> list[tuple[Header, Payload]]:
        """Take note of `size` bytes in `buffer()`, and return the frames that are whole now.

        Raises:
            BadFrameError: A header is not one of ours; the stream cannot go on.
            FrameTooLargeError: A header announces more than the limit.
            ChecksumError: A payload is not what its sender hashed.
        """
        frames: list[tuple[Header, Payload]] = []
        if self._header is None:
            self._end += size
        else:
            self._filled += size
            if not self._finish_large(frames):
                return frames
        while self._start < self._end and self._parse(frames):
            pass
        self._compact()
        return frames

    def feed(self, data: bytes) -> list[tuple[Header, Payload]]:
        """Take bytes that were read elsewhere; see `advance`."""
        frames: list[tuple[Header, Payload]] = []
        rest = memoryview(data)
        while rest:
            room = self.buffer()
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            rest = rest[size:]
            frames += self.advance(size)
        return frames

    @property
    def _wants_header(self) -> bool:
        return self._is_after_large and self._end < HEADER_BYTES

    def _parse(self, frames: list[tuple[Header, Payload]]) -> bool:
        """Take one frame, or the beginning of a large one, from the staging buffer.

        Returns False when what is there is no whole frame.
        """
        payload_at = self._start + HEADER_BYTES
        if payload_at > self._end:
            return False
        header = decode_header(bytes(self._staging[self._start : payload_at]))
        end = payload_at + header.length
        if header.length >= _DIRECT_BYTES:
            self._go_direct(header, payload_at)
            return self._finish_large(frames)
        if end > self._end:
            return False
        payload = bytes(self._staging[payload_at:end])
        self._check(header, payload)
        frames.append((header, payload))
        self._start = end
        self._is_after_large = False
        return True

    def _finish_large(self, frames: list[tuple[Header, Payload]]) -> bool:
        header = self._header
        assert header is not None, "no large frame is being read"
        if self._filled < header.length:
            return False
        payload, self._target = self._target, self._staging
        self._header = None
        self._check(header, payload)
        frames.append((header, payload))
        self._is_after_large = True
        return True

    def _check(self, header: Header, payload: Payload) -> None:
        if self._is_hashed or header.type is not FrameType.UNIT:
            check_payload(header, payload)

    def _go_direct(self, header: Header, payload_at: int) -> None:
        """Move what is there of a large payload to its place, and read the rest there."""
        place = self._place(header)
        # Not a bytearray: all of it is written over, so it need not be zeroed before.
        self._target = np.empty(header.length, np.uint8).data if place is None else place
        self._filled = min(self._end - payload_at, header.length)
        self._start = payload_at + self._filled
        if self._filled:
            self._target[: self._filled] = self._staging[payload_at : self._start]
        self._header = header

    def _compact(self) -> None:
        if not self._start:
            return
        size = self._end - self._start
        if size:
            self._staging[:size] = bytes(self._staging[self._start : self._end])
        self._start, self._end = 0, size
