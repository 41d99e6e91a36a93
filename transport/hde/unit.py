"""The unit: what one encoding step makes, with a header that says all that is needed to read it.

======  =====  =====================================================================
offset  bytes  meaning
======  =====  =====================================================================
0       1      codec, see `Level`
1       1      flags: 1 key (the flow begins with this unit), 2 a base is named,
               4 a dictionary is named, 8 the body begins with a dictionary,
               16 the window is empty before it
2       2      epoch of the flow, modulo 65,536; big-endian like all of it
4       4      number of the unit in its epoch: it builds on all before it
8       4      raw length
12      8      name of the raw bytes, XOR xxh3-64 of all other fields
20      8      hash of the base, if one is named
..      8      hash of the dictionary, if one is named
..      n      body, as its codec writes it
======  =====  =====================================================================

The name is `content_hash`: whoever needs it for other things, to hold the content by it or to name
it as a base, hashes the content once. The XOR binds the header to the result: whichever bit is
flipped, that field does not fit.
"""

import enum
import struct
from typing import Final, NamedTuple

import xxhash

from schemas.errors import BadUnitError

HEADER: Final = struct.Struct("!BBHIIQ")
_BOUND: Final = struct.Struct("!BBHIIQQ")
_NAME: Final = struct.Struct("!Q")
EPOCH_MASK: Final = 0xFFFF

FLAG_KEY: Final = 1
FLAG_BASE: Final = 2
FLAG_DICTIONARY: Final = 4
FLAG_CARRIED: Final = 8
FLAG_ANEW: Final = 16
HEADER_BYTES_MAX: Final = HEADER.size + 2 * _NAME.size
_GROWTH_BYTES: Final = 256


class Level(enum.IntEnum):
    """The codecs, by their number on the wire; `docs/encoding.md` has the picture."""

    RAW = 0  # the bytes themselves
    DICTIONARY = 1  # H1: zstd with a trained dictionary
    PREFIX = 2  # H2: zstd with the old version as prefix
    TYPED = 3  # H3 in H4: columns of typed deltas, inside the flow's window
    WINDOW = 4  # H4: the flow's zstd window
    PAGES = 5  # HB: XOR of dirty pages
    SAME = 6  # H0: nothing changed against the base


class UnitHeader(NamedTuple):
    """What a unit says of itself; a base or dictionary of 0 is none."""

    codec: int
    flags: int
    epoch: int
    number: int
    raw_bytes: int
    raw_hash: int
    base: int
    dictionary: int
    body_start: int

    @property
    def is_key(self) -> bool:
        """Tell whether the flow begins with this unit."""
        return bool(self.flags & FLAG_KEY)


def content_hash(content: bytes) -> int:
    """Return the name of a content, base or dictionary: xxh3-64 of its bytes, never 0."""
    return xxhash.xxh3_64_intdigest(content) or 1


class Named(NamedTuple):
    """A content and its name, which costs as much as all else that is done to large raw ones.

    Attributes:
        content: The bytes.
        name: `content_hash` of them; 0 for a base that is none.
    """

    content: bytes
    name: int

    @classmethod
    def of(cls, content: bytes) -> "Named":
        """Hash a content."""
        return cls(content, content_hash(content))


NOTHING: Final = Named(b"", 0)


def unit_bytes_max(raw_bytes: int) -> int:
    """Return the bound on growth: no unit of so many raw bytes is larger."""
    return body_bytes_max(raw_bytes) + HEADER_BYTES_MAX


def body_bytes_max(raw_bytes: int) -> int:
    """Return the bound on growth of a body."""
    return raw_bytes + raw_bytes // 1_024 + _GROWTH_BYTES


def pack_unit(
    place: tuple[Level, int, int, int], raw: Named, body: bytes, base: int = 0, dictionary: int = 0
) -> bytes:
    """Put a header before a body.

    Args:
        place: Codec, flags (base and dictionary are added), epoch and number in it.
        raw: What the body stands for.
        body: As the codec wrote it.
        base: Hash of the base, 0 for none.
        dictionary: Hash of the dictionary, 0 for none.
    """
    codec, flags, epoch, number = place
    flags |= (FLAG_BASE if base else 0) | (FLAG_DICTIONARY if dictionary else 0)
    fields = (codec, flags, epoch, number, len(raw.content))
    parts = [HEADER.pack(*fields, raw.name ^ _bound(*fields, base, dictionary))]
    parts += [_NAME.pack(name) for name in (base, dictionary) if name]
    return b"".join((*parts, body))


def read_unit_header(unit: bytes) -> UnitHeader:
    """Read a unit's header.

    Raises:
        BadUnitError: The unit is shorter than that.
    """
    if len(unit) < HEADER.size:
        raise BadUnitError(f"a unit of {len(unit)} bytes, its header alone has {HEADER.size}")
    codec, flags, epoch, number, raw_bytes, raw_hash = HEADER.unpack_from(unit)
    start, names = HEADER.size, [0, 0]
    for at, flag in enumerate((FLAG_BASE, FLAG_DICTIONARY)):
        if flags & flag:
            if len(unit) < start + _NAME.size:
                raise BadUnitError(f"a unit of {len(unit)} bytes ends inside its header")
            (names[at],) = _NAME.unpack_from(unit, start)
            start += _NAME.size
    return UnitHeader(codec, flags, epoch, number, raw_bytes, raw_hash, names[0], names[1], start)


def check_raw(header: UnitHeader, raw: bytes) -> Named:
    """Return `raw` with its name if it is what was encoded.

    Raises:
        BadUnitError: It is not.
    """
    found = Named.of(raw)
    fields = (header.codec, header.flags, header.epoch, header.number, header.raw_bytes)
    name = header.raw_hash ^ _bound(*fields, header.base, header.dictionary)
    if len(raw) != header.raw_bytes or found.name != name:
        raise BadUnitError(
            f"a unit decoded to {len(raw):,} bytes that are not the {header.raw_bytes:,} "
            f"that were encoded"
        )
    return found


def check_raw_bytes(header: UnitHeader, raw_bytes_max: int) -> None:
    """Raise BadUnitError when a unit announces more than is allowed."""
    if header.raw_bytes > raw_bytes_max:
        raise BadUnitError(f"a unit of {header.raw_bytes:,} bytes, {raw_bytes_max:,} are allowed")


def _bound(*fields: int) -> int:
    """Return what binds a name to a header: `HEADER`'s fields without the last, and both names."""
    return xxhash.xxh3_64_intdigest(_BOUND.pack(*fields))
