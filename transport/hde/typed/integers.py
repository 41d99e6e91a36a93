"""Columns of integers to bytes and back, without a Python step per value.

A signed number is folded (zigzag) and split: its *class*, the count of its bits, is a byte for
zstd's entropy coder; the bits below the highest one are noise to it and are packed beside.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import BadUnitError

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

CLASS_MAX: Final = 64
CONSTANT: Final = 3  # in place of an order of differences: one number for the whole column
_NO_BYTES: Final = np.zeros(0, dtype=np.uint8)
_NO_WORDS: Final = np.zeros(0, dtype=np.uint64)
_NO_CLASSES: Final = np.zeros(0, dtype=np.int64)
_POWERS: Final = np.array([1 << bit for bit in range(64)], dtype=np.uint64)
_BITS: Final = np.arange(63, -1, -1, dtype=np.int64)
_BIG: Final = np.dtype(">u8")
# Bytes of an Avro varint by the class of the folded number.
_VARINT_STEPS: Final = np.array([1 << bit for bit in range(7, 64, 7)], dtype=np.uint64)
_MORE: Final = 0x80  # set in all bytes of a varint but the last
_SHIFTS: Final = np.arange(0, 70, 7, dtype=np.uint64)


def int_array(values: Sequence[int]) -> Ints:
    """Return an array of 64-bit integers.

    Raises:
        BadUnitError: A number does not fit.
    """
    if not values:
        return np.zeros(0, dtype=np.int64)
    try:
        return np.frombuffer(array("q", values), dtype=np.int64)  # twice as fast as np.array
    except OverflowError as error:
        raise BadUnitError("a number of more than 64 bits") from error


def fold(values: Ints) -> Words:
    """Map signed to unsigned numbers, small ones to small ones."""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def unfold(words: Words) -> Ints:
    """Undo `fold`."""
    signed = words.view(np.int64)
    return ((words >> np.uint64(1)).view(np.int64)) ^ -(signed & 1)


def classes(words: Words) -> Ints:
    """Return how many bits each number has, 0 to 64."""
    return np.searchsorted(_POWERS, words, side="right")


def pack_bits(words: Words, word_classes: Ints) -> bytes:
    """Pack what lies below the highest bit of each number."""
    if not len(words):
        return b""
    matrix = np.unpackbits(words.astype(_BIG).view(np.uint8).reshape(-1, 8), axis=1)
    return np.packbits(matrix[(word_classes - 1)[:, None] > _BITS]).tobytes()


class BitReader:
    """Reads what several `pack_bits` calls packed, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def read(self, word_classes: Ints) -> Words:
        """Read the numbers of these classes.

        Raises:
            BadUnitError: There are not so many bits.
        """
        widths = np.maximum(word_classes - 1, 0)
        bit_count = int(widths.sum())
        end = self._place + (bit_count + 7) // 8
        if end > len(self._content):
            raise BadUnitError("the bits of a unit end too early")
        packed = np.frombuffer(self._content, np.uint8, end - self._place, self._place)
        self._place = end
        matrix = np.zeros((len(word_classes), 64), dtype=np.uint8)
        matrix[widths[:, None] > _BITS] = np.unpackbits(packed, count=bit_count)
        rows = np.nonzero(word_classes)[0]
        matrix[rows, CLASS_MAX - word_classes[rows]] = 1
        return np.packbits(matrix, axis=1).view(_BIG).reshape(-1).astype(np.uint64)

    def rest(self) -> bytes:
        """Return what follows the bits read so far."""
        return self._content[self._place :]


def varints(values: Sequence[int]) -> list[bytes]:
    """Return each number as an Avro long."""
    if not values:
        return []
    words = fold(int_array(values))
    sizes = np.searchsorted(_VARINT_STEPS, words, side="right") + 1
    groups = (words[:, None] >> _SHIFTS[None, :9]) & np.uint64(0x7F)
    top = (words >> np.uint64(63))[:, None]
    matrix = np.concatenate([groups, top], axis=1).astype(np.uint8)
    columns = np.arange(10)[None, :]
    matrix[columns < (sizes - 1)[:, None]] |= _MORE
    flat = matrix[columns < sizes[:, None]].tobytes()
    ends: list[int] = np.cumsum(sizes).tolist()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def pack_column(values: Sequence[int]) -> tuple[tuple[int, int], Bytes, Words, Ints]:
    """Choose how to write a column: as one number, as it is, or by first or second differences.

    Returns:
        The order of differences and the typical class, or `CONSTANT` and the number; the class
        bytes; what `pack_bits` needs.
    """
    if values and values.count(values[0]) == len(values):
        return (CONSTANT, values[0]), _NO_BYTES, _NO_WORDS, _NO_CLASSES
    best_cost, best = -1, (0, _NO_WORDS, _NO_CLASSES)
    column = int_array(values)
    for order in range(CONSTANT):
        words = fold(column)
        word_classes = classes(words)
        cost = int(word_classes.sum())
        if best_cost < 0 or cost < best_cost:
            best_cost, best = cost, (order, words, word_classes)
        column = _differences(column)
    order, words, word_classes = best
    typical = int(np.sort(word_classes)[len(word_classes) // 2]) if len(word_classes) else 0
    return (order, typical), ((word_classes - typical) & 0xFF).astype(np.uint8), words, word_classes


def _differences(column: Ints) -> Ints:
    result = column.copy()
    result[1:] -= column[:-1]
    return result


def unpack_column(
    kind: tuple[int, int], count: int, class_bytes: bytes, bits: BitReader
) -> list[int]:
    """Undo `pack_column`.

    Raises:
        BadUnitError: It is none.
    """
    order, typical = kind
    if order == CONSTANT:
        return [typical] * count
    column = unfold(bits.read(read_classes(class_bytes, typical)))
    if not 0 <= order < CONSTANT:
        raise BadUnitError(f"differences of order {order}")
    for _ in range(order):
        column = np.cumsum(column)
    values: list[int] = column.tolist()
    return values


def read_classes(class_bytes: bytes, typical: Any) -> Ints:
    """Read class bytes that were written against typical classes.

    Raises:
        BadUnitError: A class is none.
    """
    relative = np.frombuffer(class_bytes, np.uint8).astype(np.int64)
    word_classes: Ints = (relative + typical) & 0xFF
    if len(word_classes) and int(word_classes.max()) > CLASS_MAX:
        raise BadUnitError("a number of more than 64 bits")
    return word_classes


def read_varints(content: bytes) -> list[int]:
    """Read Avro longs, one after the other.

    Raises:
        BadUnitError: The last is cut, or one is longer than a long.
    """
    octets = np.frombuffer(content, np.uint8)
    if not len(octets):
        return []
    ends = np.nonzero(octets < _MORE)[0]
    sizes = np.diff(ends, prepend=-1)
    if not len(ends) or ends[-1] != len(octets) - 1 or int(sizes.max()) > _SHIFTS.size:
        raise BadUnitError("numbers that are cut or too long")
    starts = ends - sizes + 1
    words = np.zeros(len(ends), dtype=np.uint64)
    for at in range(int(sizes.max())):
        here = sizes > at
        low = (octets[starts[here] + at] & 0x7F).astype(np.uint64)
        words[here] |= low << _SHIFTS[at]
    values: list[int] = unfold(words).tolist()
    return values
