"""What is cut of one Avro record, and the readers of its scalars.

A reader takes what was cut so far, the place in the record and how deep that is, and returns the
place behind what it read. An `IndexError` says that the record ends too early.
"""

import re
import struct
from binascii import hexlify
from collections.abc import Callable
from typing import Any, Final

from transport.hde.typed.memory import LEAVES_MAX, RECORD_MARK
from transport.hde.typed.scalars import (
    BOOLEAN,
    DOUBLE,
    FIXED,
    FLOAT,
    HEX,
    LONG,
    NULL_TEXT,
    TEXT,
    decimal,
)

_MORE: Final = 0x80
_VARINT_BITS: Final = 70
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")
KINDS: Final = {
    "int": LONG,
    "long": LONG,
    "enum": LONG,
    "boolean": BOOLEAN,
    "string": TEXT,
    "bytes": TEXT,
    "fixed": FIXED,
    "float": FLOAT,
    "double": DOUBLE,
}
_FLOATS: Final = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}


class NotCutError(Exception):
    """A schema or record that is not cut: its values travel as they are."""


class Cut:
    """What was cut of one record so far.

    Args:
        content: The record.

    Attributes:
        content: The record.
        leaves: Its leaves so far.
        between: The bytes since the last of them.
    """

    __slots__ = ("_item_count", "_pieces", "between", "content", "leaves")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.leaves: list[bytes] = []
        self.between = bytearray()
        self._pieces: list[bytes] = []
        self._item_count = 0

    def add(self, name: bytes, leaf: bytes) -> None:
        """Add a leaf; `name` is its path and kind as they stand in a piece."""
        if self.between:
            name = hexlify(self.between) + name
            self.between.clear()
        self._pieces.append(name)
        self.leaves.append(leaf)

    def count(self, items: int) -> None:
        """Count items of arrays and maps, which may take no bytes at all."""
        self._item_count += items
        if self._item_count > LEAVES_MAX:
            raise NotCutError

    def end(self) -> tuple[bytes, ...]:
        """Return the pieces of the whole record."""
        if len(self.leaves) > LEAVES_MAX:
            raise NotCutError
        self._pieces.append(hexlify(self.between) + b" ")
        self._pieces[0] = RECORD_MARK + self._pieces[0]
        return tuple(self._pieces)


Reader = Callable[[Cut, int, int], int]


def read_long(content: bytes, at: int) -> tuple[int, int]:
    """Return an Avro long, and the place behind it."""
    byte = content[at]
    at += 1
    word, shift = byte & ~_MORE, 7
    while byte & _MORE:
        if shift >= _VARINT_BITS:
            raise NotCutError
        byte = content[at]
        at += 1
        word |= (byte & ~_MORE) << shift
        shift += 7
    return (word >> 1) ^ -(word & 1), at


def scalar(kind: str, form: Any, path: bytes, option: bytes = b"") -> Reader:
    """Return the reader of a scalar.

    Args:
        kind: Its type.
        form: Its schema.
        path: Where it stands in the record.
        option: Number of the other branch, null, if it is optional.

    Raises:
        NotCutError: It is none that is cut.
    """

    def name(of: bytes) -> bytes:
        return b" %b %b%b" % (path, of, option)

    if kind == "null":
        return lambda _, at, __: at
    if kind in ("int", "long", "enum"):
        return _number(name(LONG))
    if kind == "boolean":
        return _boolean(name(BOOLEAN))
    if kind in ("string", "bytes"):
        return _text(name(TEXT), name(HEX), is_bytes=kind == "bytes")
    if kind in _FLOATS:
        return _decimal(name(KINDS[kind]), name(FIXED), _FLOATS[kind])
    if kind != "fixed" or form["size"] <= 0:
        raise NotCutError
    return _fixed(name(FIXED), form["size"])


def _number(name: bytes) -> Reader:
    def read(cut: Cut, at: int, _: int) -> int:
        number, at = read_long(cut.content, at)
        cut.add(name, b"%d" % number)
        return at

    return read


def _boolean(name: bytes) -> Reader:
    def read(cut: Cut, at: int, _: int) -> int:
        cut.add(name, b"1" if cut.content[at] else b"0")
        return at + 1

    return read


def _text(name: bytes, hex_name: bytes, *, is_bytes: bool) -> Reader:
    """Return the reader of a string or bytes; a field of bytes that was no text once is in hex."""
    is_hex = False

    def read(cut: Cut, at: int, _: int) -> int:
        nonlocal is_hex
        size, at = read_long(cut.content, at)
        text = _bytes(cut.content, at, size)
        if is_bytes and not is_hex:
            is_hex = _CONTROLS.search(text) is not None
        if is_hex or b"\0" in text or text == NULL_TEXT:
            cut.add(hex_name, hexlify(text))
        else:
            cut.add(name, text)
        return at + size

    return read


def _decimal(name: bytes, fixed_name: bytes, packer: struct.Struct) -> Reader:
    """Return the reader of floats or doubles; it gives all of them as many decimals as one had."""
    decimals = 0
    is_double = packer.size == _FLOATS["double"].size

    def read(cut: Cut, at: int, _: int) -> int:
        nonlocal decimals
        content = _bytes(cut.content, at, packer.size)
        (value,) = packer.unpack(content)
        text, decimals = decimal(value, content, decimals, is_double=is_double)
        if text is None:
            cut.add(fixed_name, hexlify(content))
        else:
            cut.add(name, text)
        return at + packer.size

    return read


def _fixed(name: bytes, size: int) -> Reader:
    def read(cut: Cut, at: int, _: int) -> int:
        cut.add(name, hexlify(_bytes(cut.content, at, size)))
        return at + size

    return read


def _bytes(content: bytes, at: int, size: int) -> bytes:
    found = content[at : at + size]
    if size < 0 or len(found) < size:
        raise NotCutError
    return found
