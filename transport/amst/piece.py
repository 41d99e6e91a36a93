"""One frame of a data flow on the sending side: what it carries, and who holds it."""

from collections.abc import Callable
from typing import Final

import xxhash

from transport.amst.traffic import Traffic
from transport.frame import FrameType, Header, encode_header

Buffer = bytes | bytearray | memoryview

_UNKNOWN: Final = -1


class Piece:
    """One frame from its submission to its report.

    Attributes:
        sequence: Of the frame within its flow; of a chunk its byte offset.
        end: One after the last number that a report of this frame covers.
        holders: Data streams that took it and are not known to be dead.
        copies: How often it was overdue, so that one more stream may take it, too.
        sent_ns: When it was last taken.
    """

    __slots__ = (
        "_digest",
        "_leaf",
        "copies",
        "end",
        "flags",
        "flow",
        "holders",
        "is_queued",
        "is_reported",
        "payload",
        "sent_ns",
        "sequence",
        "takes",
        "traffic",
        "type",
    )

    def __init__(
        self,
        header: tuple[FrameType, int, int, int],
        traffic: Traffic,
        payload: Buffer,
        end: int,
        leaf: Callable[[], int] | None = None,
    ) -> None:
        self.type, self.flags, self.flow, self.sequence = header
        self.traffic = traffic
        self.payload = payload
        self.end = end
        self.holders: set[int] = set()
        self.is_queued = True
        self.copies = 0
        self.is_reported = False
        self.takes = 0
        self.sent_ns = 0
        self._leaf = leaf
        self._digest = _UNKNOWN

    def header(self, *, is_hashed: bool = True) -> bytes:
        """Return the 32 bytes before the payload; hashes it once, so outside of locks.

        Args:
            is_hashed: False under TLS, which vouches for the bytes: a unit's digest is 0 then.
        """
        digest = self._hash() if is_hashed or self._leaf else 0
        size = len(self.payload)
        return encode_header(Header(self.type, self.flags, self.flow, size, self.sequence, digest))

    def _hash(self) -> int:
        if self._digest == _UNKNOWN:
            hash_of = self._leaf
            self._digest = hash_of() if hash_of else xxhash.xxh3_64_intdigest(self.payload)
        return self._digest

    def __len__(self) -> int:
        return len(self.payload)
