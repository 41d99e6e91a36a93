"""Bulk objects: chunks at their offsets, in any order, into one buffer made beforehand.

An object is named by 16 bytes that its owner chooses, for example a hash of its content or of its
name and version; the same name means the same bytes. Its chunks begin at multiples of the chunk
size. The sum that both ends compare is xxh3-128 over the xxh3-64 of all chunks in order: these are
the checksums that the frames carry anyway, so neither end reads the object a second time. It finds
accidents, as TCP's own sum does not; who sent the object, TLS says.
"""

from collections.abc import Hashable, Iterator
from functools import partial
from typing import Final

import xxhash

from schemas.errors import UnexpectedMessageError
from transport.amst.decoder import Payload
from transport.amst.piece import Buffer, Piece
from transport.amst.ranges import RangeSet
from transport.amst.traffic import Traffic
from transport.frame import CHUNK_BYTES_MAX, FLAG_LAST, FrameType, Header

CHUNK_BYTES_MIN: Final = 4_096
_NO_LEAF: Final = -1


def sum_of(leaves: list[int]) -> bytes:
    """Return the 16 bytes that both ends compare."""
    state = xxhash.xxh3_128()
    for leaf in leaves:
        state.update(leaf.to_bytes(8, "big"))
    return state.digest()


def chunk_count(size_bytes: int, chunk_bytes: int) -> int:
    """Return in how many chunks an object travels."""
    return -(-size_bytes // chunk_bytes)


class OutgoingObject:
    """An object to ship; its buffer must not change until it is taken.

    Args:
        object_id: 16 bytes, its name.
        label: What the receiver's owner knows it by.
        data: Its bytes.
        chunk_bytes: Size of all chunks but the last.
    """

    def __init__(
        self, object_id: bytes, label: str, data: Buffer, chunk_bytes: int = 262_144
    ) -> None:
        assert len(object_id) == 16, f"an object's id has 16 bytes, not {len(object_id)}"  # noqa: PLR2004
        assert CHUNK_BYTES_MIN <= chunk_bytes <= CHUNK_BYTES_MAX, f"chunks of {chunk_bytes:,} bytes"
        self.object_id = object_id
        self.label = label
        self.chunk_bytes = chunk_bytes
        self._data = memoryview(data).cast("B")
        self._leaves = [_NO_LEAF] * chunk_count(len(self._data), chunk_bytes)

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return len(self._data)

    def pieces(self, flow: int, held: RangeSet) -> Iterator[Piece]:
        """Yield the chunks that a peer lacks.

        Args:
            flow: Id of its flow in this session.
            held: Byte ranges that the peer has.
        """
        for index in range(len(self._leaves)):
            start, end = self._bounds(index)
            if not held.covers(start, end):
                header = (FrameType.CHUNK, FLAG_LAST, flow, start)
                payload = self._data[start:end]
                yield Piece(header, Traffic.BULK, payload, end, partial(self.leaf, index))

    def leaf(self, index: int) -> int:
        """Return xxh3-64 of a chunk; hashed once."""
        if self._leaves[index] == _NO_LEAF:
            start, end = self._bounds(index)
            self._leaves[index] = xxhash.xxh3_64_intdigest(self._data[start:end])
        return self._leaves[index]

    def sum(self) -> bytes:
        """Return the sum of the whole object; hashes only chunks that were not sent."""
        return sum_of([self.leaf(index) for index in range(len(self._leaves))])

    def _bounds(self, index: int) -> tuple[int, int]:
        start = index * self.chunk_bytes
        return start, min(start + self.chunk_bytes, self.size_bytes)


class IncomingObject:
    """An object on its way in.

    Args:
        label: What its owner knows it by.
        size_bytes: Its size, within the receiver's limits.
        chunk_bytes: Size of all chunks but the last.

    Attributes:
        data: Its bytes, as far as they are `held`.
        held: Byte ranges that are here and checked.
    """

    def __init__(self, label: str, size_bytes: int, chunk_bytes: int) -> None:
        self.label = label
        self.size_bytes = size_bytes
        self.chunk_bytes = chunk_bytes
        self.data = bytearray(size_bytes)  # zeroed by the kernel when first touched
        self._view = memoryview(self.data)
        self._leaves = [_NO_LEAF] * chunk_count(size_bytes, chunk_bytes)
        self._writers: dict[Hashable, int] = {}  # offset that each reads into its place
        self.held = RangeSet()

    @property
    def is_whole(self) -> bool:
        """Tell whether every chunk is here."""
        return self.held.size == self.size_bytes

    def place(self, writer: Hashable, offset: int, size_bytes: int) -> memoryview | None:
        """Return the place of a chunk, unless it is here or somebody is writing it.

        Args:
            writer: One stream of one session: an object outlives sessions, and the stream of
                an ended one may still be half-way through a chunk when the next one begins.
            offset: Where the chunk begins.
            size_bytes: Its size.
        """
        self._check(offset, size_bytes)
        if offset in self._writers.values() or self.held.covers(offset, offset + size_bytes):
            return None
        self._writers[writer] = offset
        return self._view[offset : offset + size_bytes]

    def give_up(self, writer: Hashable) -> None:
        """Let others write what a stream was writing."""
        self._writers.pop(writer, None)

    def land(self, writer: Hashable, header: Header, payload: Payload) -> bool:
        """Take a checked chunk; False when it was here before."""
        offset = header.sequence
        self._check(offset, len(payload))
        was_in_place = self._writers.pop(writer, None) == offset
        if self.held.covers(offset, offset + len(payload)):
            return False
        if not was_in_place:
            self._view[offset : offset + len(payload)] = payload
        self._leaves[offset // self.chunk_bytes] = header.digest
        self.held.add(offset, offset + len(payload))
        return True

    def sum(self) -> bytes:
        """Return the sum of what is here."""
        assert self.is_whole, "an object that is not whole has no sum"
        return sum_of(self._leaves)

    def forget(self) -> None:
        """Begin again: the sum was wrong."""
        self.held = RangeSet()

    def _check(self, offset: int, size_bytes: int) -> None:
        is_chunk = offset % self.chunk_bytes == 0 and offset < self.size_bytes
        if not is_chunk or size_bytes != min(self.chunk_bytes, self.size_bytes - offset):
            raise UnexpectedMessageError(
                f"{size_bytes:,} bytes at {offset:,} are no chunk of an object of "
                f"{self.size_bytes:,} bytes in chunks of {self.chunk_bytes:,}"
            )
