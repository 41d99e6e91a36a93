"""Who takes part: our levels, and what a user would otherwise have."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import zstandard

from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.typed.records import FindSchema
from transport.hde.window import LEVEL

BATCH_BYTES: Final = "512 KiB"
BATCHES: Final[tuple[int | str, ...]] = (1, 2, 100, 500, BATCH_BYTES)
RIVAL_LEVELS: Final = (1, 3, 6)
WINDOW: Final = "H4"
YARDSTICK: Final = "zstd-3"  # what a well-set Kafka stores and ships
UNIT_BYTES_MAX: Final = 1 << 30


class Codec(Protocol):
    """Both ends of one codec."""

    def encode(self, raw: bytes, /) -> bytes:
        """Encode one unit."""
        ...

    def decode(self, encoded: bytes, /) -> bytes:
        """Decode it, in the order of encoding."""
        ...


class Lane(NamedTuple):
    """One row of the table.

    Attributes:
        level: Name of the codec.
        batch: Events in a unit, or its size as text.
        is_rival: What a user would otherwise pick.
        make: Makes a fresh codec.
    """

    level: str
    batch: int | str
    is_rival: bool
    make: Callable[[], Codec]


class FlowCodec:
    """A flow of ours, both ends."""

    def __init__(
        self, level: int, *, is_typed: bool = False, find_schema: FindSchema | None = None
    ) -> None:
        settings = FlowSettings(level, is_typed=is_typed)
        self._encoder = FlowEncoder(settings, find_schema=find_schema)
        self._decoder = FlowDecoder(UNIT_BYTES_MAX)

    def encode(self, raw: bytes) -> bytes:
        """See `Codec`."""
        return self._encoder.encode(raw)

    def decode(self, encoded: bytes) -> bytes:
        """See `Codec`."""
        return self._decoder.decode(encoded)


class ZstdCodec:
    """Each unit on its own, as Kafka's producers compress their batches."""

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._decompressor = zstandard.ZstdDecompressor()

    def encode(self, raw: bytes) -> bytes:
        """See `Codec`."""
        return self._compressor.compress(raw)

    def decode(self, encoded: bytes) -> bytes:
        """See `Codec`."""
        return self._decompressor.decompress(encoded)


def lanes(
    batches: Sequence[int | str] = BATCHES, find_schema: FindSchema | None = None
) -> Iterator[Lane]:
    """Yield the rows of the table for these batches; schemas are of strangers' records."""
    for batch in batches:
        yield Lane(WINDOW, batch, is_rival=False, make=partial(FlowCodec, LEVEL))
        typed = partial(FlowCodec, LEVEL, is_typed=True, find_schema=find_schema)
        yield Lane("H3 in H4", batch, is_rival=False, make=typed)
        for level in RIVAL_LEVELS:
            yield Lane(f"zstd-{level}", batch, is_rival=True, make=partial(ZstdCodec, level))
