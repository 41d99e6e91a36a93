"""Scalars of Avro as texts that compare well, and back to the same bytes.

======== ============================================ =======================
kind     Avro                                         as text
======== ============================================ =======================
LONG     int, long, the symbol of an enum             decimal
BOOLEAN  boolean                                      `0` or `1`
TEXT     string, bytes                                as it is
HEX      string, bytes that a text cannot be          hex digits
FIXED    fixed; a float or double that is no decimal  hex digits
FLOAT    float                                        decimal
DOUBLE   double                                       decimal
======== ============================================ =======================

A digit behind the kind says that the scalar is optional (a union of two branches, one of them
null), and which branch null is.
"""

import math
import struct
from binascii import unhexlify
from collections.abc import Callable
from functools import partial
from typing import Final

from schemas.errors import BadUnitError
from transport.hde.typed.avro import one_long, one_prefixed

LONG, BOOLEAN, TEXT, HEX, FIXED, FLOAT, DOUBLE = (b"l", b"b", b"t", b"h", b"f", b"e", b"d")
NULL_TEXT: Final = b"\2"
BRANCHES: Final = (b"\0", b"\2")
DECIMALS_MAX: Final = 6  # of what is compared as a number
TEXT_GROWTH_MAX: Final = 6  # bytes of a text for each byte of Avro: a float with six decimals
_NUMBER_BYTES_MAX: Final = 32
_PLAIN_MAX: Final = 1e15  # beyond it a decimal has digits that mean nothing
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")

Write = Callable[[bytes], bytes]
Plan = tuple[list[bytes], list[Write]]  # what is between the leaves, and how each is written


def decimal(
    value: float, content: bytes, decimals: int, *, is_double: bool
) -> tuple[bytes | None, int]:
    """Return a float or double as a decimal.

    Args:
        value: It.
        content: Its bytes.
        decimals: How many decimals its field had so far at most.
        is_double: It is a double.

    Returns:
        The text, None if no decimal has exactly these bytes, and how many decimals its field has.
    """
    packer = _DOUBLE if is_double else _FLOAT
    if -_PLAIN_MAX < value < _PLAIN_MAX:
        text = b"%.*f" % (decimals, value)
        if packer.pack(float(text)) == content:
            return text, decimals
    shortest = repr(value) if is_double else _shortest(value, content)
    part = shortest.partition(".")[2]
    if math.isfinite(value) and "e" not in shortest and decimals < len(part) <= DECIMALS_MAX:
        decimals = len(part)
    if packer.pack(float(shortest)) != content:
        return None, decimals
    return shortest.encode(), decimals


def _shortest(value: float, content: bytes) -> str:
    text = f"{value:.6g}"
    try:
        is_exact = _FLOAT.pack(float(text)) == content
    except OverflowError:
        is_exact = False  # the largest ones round to more than a float can be
    return text if is_exact else f"{value:.9g}"


def writer(kind: bytes) -> Write:
    """Return what writes a text of this kind as Avro.

    Raises:
        BadUnitError: There is no such kind.
    """
    write = _WRITERS.get(kind[:1])
    if write is None or len(kind) > 2:  # noqa: PLR2004 - a kind and a branch
        raise BadUnitError(f"a leaf of kind {kind!r}")
    if len(kind) == 1:
        return write
    if kind[1:] not in (b"0", b"1"):
        raise BadUnitError(f"a leaf of kind {kind!r}")
    null = int(kind[1:])
    return partial(_optional, write, BRANCHES[null], BRANCHES[1 - null])


def _optional(write: Write, null: bytes, branch: bytes, text: bytes) -> bytes:
    return null if text == NULL_TEXT else branch + write(text)


def _short(text: bytes) -> bytes:
    if len(text) > _NUMBER_BYTES_MAX:
        raise BadUnitError(f"a number of {len(text):,} bytes")
    return text


def _long(text: bytes) -> bytes:
    return one_long(int(_short(text)))


_WRITERS: Final[dict[bytes, Write]] = {
    LONG: _long,
    BOOLEAN: lambda text: b"\1" if text == b"1" else b"\0",
    TEXT: one_prefixed,
    HEX: lambda text: one_prefixed(unhexlify(text)),
    FIXED: unhexlify,
    FLOAT: lambda text: _FLOAT.pack(float(_short(text))),
    DOUBLE: lambda text: _DOUBLE.pack(float(_short(text))),
}
