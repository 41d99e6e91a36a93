"""Columns of integers to bytes and back, without a Python step per value.

A signed number is folded (zigzag) and split: its *class*, the count of its bits, is a byte for
zstd's entropy coder; the bits below the highest one are noise to it and are packed beside.
"""

import itertools
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
_NO_WORDS: Final = np.zeros(0, dtype=np.uint64)
_NO_CLASSES: Final = np.zeros(0, dtype=np.int64)
_BITS: Final = np.arange(63, -1, -1, dtype=np.int64)
_BIG: Final = np.dtype(">u8")
# Bytes of an Avro varint by the class of the folded number.
_VARINT_STEPS: Final = np.array([1 << bit for bit in range(7, 64, 7)], dtype=np.uint64)
_MORE: Final = 0x80  # set in all bytes of a varint but the last
_SHIFTS: Final = np.arange(0, 63, 7, dtype=np.uint64)
_SHIFT_MAX: Final = 63
_VARINT_BYTES_MAX: Final = 10
_WORD_MASK: Final = (1 << 64) - 1
_LONG_END: Final = 1 << 63
_FEW: Final = 32  # numbers, or their bytes: below that numpy costs more than it saves


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
    # Without the bit below the highest one, rounding to a double cannot reach the next power of 2.
    rounded = (words & ~(words >> np.uint64(1))).astype(np.float64)
    return np.frexp(rounded)[1].astype(np.int64)


def pack_bits(words: Words, word_classes: Ints) -> bytes:
    """Pack what lies below the highest bit of each number."""
    matrix = np.unpackbits(words.astype(_BIG).view(np.uint8).reshape(-1, 8), axis=1)
    return np.packbits(matrix[(word_classes - 1)[:, None] > _BITS]).tobytes()


class BitReader:
    """Reads what `pack_bits` packed, in as many steps as the reader likes."""

    def __init__(self, content: bytes) -> None:
        self._content = np.frombuffer(content, np.uint8)
        self._place = 0

    def read(self, word_classes: Ints) -> Words:
        """Read the numbers of these classes.

        Raises:
            BadUnitError: There are not so many bits.
        """
        widths = np.maximum(word_classes - 1, 0)
        start, end = self._place, self._place + int(widths.sum())
        if end > 8 * len(self._content):
            raise BadUnitError("the bits of a unit end too early")
        self._place = end
        bits = np.unpackbits(self._content[start // 8 : (end + 7) // 8])[start % 8 :]
        matrix = np.zeros((len(word_classes), CLASS_MAX), dtype=np.uint8)
        matrix[widths[:, None] > _BITS] = bits[: end - start]
        rows = np.nonzero(word_classes)[0]
        matrix[rows, CLASS_MAX - word_classes[rows]] = 1
        return np.packbits(matrix, axis=1).view(_BIG).reshape(-1).astype(np.uint64)

    def rest(self) -> bytes:
        """Return the bytes that follow the bits read so far."""
        return self._content[(self._place + 7) // 8 :].tobytes()


def varints(values: Sequence[int]) -> list[bytes]:
    """Return each number as an Avro long.

    Raises:
        BadUnitError: A number has more than 64 bits.
    """
    if len(values) < _FEW:
        return [_varint(value) for value in values]
    words = fold(int_array(values))
    sizes = np.searchsorted(_VARINT_STEPS, words, side="right") + 1
    groups = (words[:, None] >> _SHIFTS[None, :]) & np.uint64(0x7F)
    top = (words >> np.uint64(63))[:, None]
    matrix = np.concatenate([groups, top], axis=1).astype(np.uint8)
    columns = np.arange(10)[None, :]
    matrix[columns < (sizes - 1)[:, None]] |= _MORE
    flat = matrix[columns < sizes[:, None]].tobytes()
    ends: list[int] = np.cumsum(sizes).tolist()
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _varint(value: int) -> bytes:
    if not -_LONG_END <= value < _LONG_END:
        raise BadUnitError("a number of more than 64 bits")
    word = (value << 1) ^ (value >> 63)
    octets = bytearray()
    while word >= _MORE:
        octets.append(word & 0x7F | _MORE)
        word >>= 7
    octets.append(word)
    return bytes(octets)


Kind = tuple[int, int]


def pack_columns(columns: Sequence[Sequence[int]]) -> tuple[list[Kind], bytes, Words, Ints]:
    """Choose how to write each column: as one number, as it is, or by first or second differences.

    Returns:
        Of each column the order of differences and the typical class, or `CONSTANT` and the
        number; the class bytes of all; what `pack_bits` needs.
    """
    kinds: list[Kind | None] = [
        (CONSTANT, column[0]) if column and column.count(column[0]) == len(column) else None
        for column in columns
    ]
    live = [column for column, kind in zip(columns, kinds, strict=True) if kind is None and column]
    if not live:
        return [kind or (0, 0) for kind in kinds], b"", _NO_WORDS, _NO_CLASSES
    sizes = [len(column) for column in live]
    starts = np.cumsum([0, *sizes[:-1]])
    values = int_array(list(itertools.chain(*live)))
    orders = np.empty((CONSTANT, len(values)), dtype=np.int64)
    orders[0] = values
    for order in range(1, CONSTANT):
        before = orders[order - 1]
        orders[order, 1:] = before[1:] - before[:-1]
        orders[order, starts] = before[starts]
    all_words = fold(orders)
    all_classes = classes(all_words)
    best = np.add.reduceat(all_classes, starts, axis=1).argmin(axis=0)
    picked = np.repeat(best, sizes), np.arange(len(values))
    words, word_classes = all_words[picked], all_classes[picked]
    octets = word_classes.astype(np.uint8).tobytes()
    typical = [
        sorted(octets[start : start + size])[size // 2]
        for start, size in zip(starts.tolist(), sizes, strict=True)
    ]
    chosen = iter(zip(best.tolist(), typical, strict=True))
    found = [
        kind or (next(chosen) if column else (0, 0))
        for column, kind in zip(columns, kinds, strict=True)
    ]
    relative = (word_classes - np.repeat(typical, sizes)) & 0xFF
    return found, relative.astype(np.uint8).tobytes(), words, word_classes


def unpack_columns(
    kinds: Sequence[Kind], counts: Sequence[int], class_bytes: bytes, bits: BitReader
) -> list[list[int]]:
    """Undo `pack_columns`, or the next columns of it.

    Raises:
        BadUnitError: These are none.
    """
    sizes = [0 if kind[0] == CONSTANT else n for kind, n in zip(kinds, counts, strict=True)]
    typical = np.repeat(int_array([kind[1] for kind in kinds]), sizes)
    values = unfold(bits.read(read_classes(class_bytes, typical)))
    columns: list[list[int]] = []
    start = 0
    for (order, number), count, size in zip(kinds, counts, sizes, strict=True):
        column = values[start : start + size]
        start += size
        if order == CONSTANT:
            columns.append([number] * count)
            continue
        if not 0 <= order < CONSTANT:
            raise BadUnitError(f"differences of order {order}")
        for _ in range(order):
            column = np.cumsum(column)
        columns.append(column.tolist())
    return columns


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


def read_varints(content: bytes, *, is_shortest: bool = False) -> list[int]:
    """Read Avro longs, one after the other.

    Args:
        content: Their bytes.
        is_shortest: Refuse a number that is written longer than need be.

    Raises:
        BadUnitError: The last is cut, or one is longer than a long.
    """
    if len(content) < _FEW:
        return _read_few(content, is_shortest=is_shortest)
    octets = np.frombuffer(content, np.uint8)
    ends = (octets < _MORE).nonzero()[0]
    sizes = ends.copy()
    sizes[1:] -= ends[:-1]
    sizes[:1] += 1
    if not len(ends) or ends[-1] != len(octets) - 1 or int(sizes.max()) > _VARINT_BYTES_MAX:
        raise BadUnitError("numbers that are cut or too long")
    if is_shortest and bool(((sizes > 1) & (octets[ends] == 0)).any()):
        raise BadUnitError("a number that is written longer than need be")
    starts = ends - sizes + 1
    places = np.arange(len(octets)) - starts.repeat(sizes)
    parts = (octets & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    values: list[int] = unfold(np.bitwise_or.reduceat(parts, starts)).tolist()
    return values


def _read_few(content: bytes, *, is_shortest: bool) -> list[int]:
    values: list[int] = []
    word = shift = 0
    for octet in content:
        word |= (octet & 0x7F) << shift
        if octet >= _MORE:
            shift += 7
            continue
        if shift > _SHIFT_MAX:
            raise BadUnitError("numbers that are cut or too long")
        if is_shortest and shift and not octet:
            raise BadUnitError("a number that is written longer than need be")
        word &= _WORD_MASK
        values.append((word >> 1) ^ -(word & 1))
        word = shift = 0
    if shift:
        raise BadUnitError("numbers that are cut or too long")
    return values
