"""The sections of one unit, written and read in order.

::

    through the window   sizes of what follows, then
                         plain numbers   of the records; kinds of the columns; definitions
                         row classes     of the columns that every change has
                         cell classes    of the numbers in changed fields
                         names           texts that are defined here: ids, paths, shapes
                         texts           values of changed fields
    beside it            bits of the rows, bits of the cells, bytes of hex digits

What is noise goes beside the window: it would not shrink there, and would push out what does.
"""

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import numpy as np

from schemas.errors import BadUnitError
from transport.hde.typed.integers import (
    CONSTANT,
    BitReader,
    Ints,
    Kind,
    int_array,
    pack_bits,
    pack_columns,
    read_classes,
    read_varints,
    unfold,
    unpack_columns,
    varints,
)
from transport.hde.typed.predictor import Predictor

_SIZES: Final = struct.Struct("!5I")
# The columns that every change has, in order.
ROW_COLUMNS: Final = ("frame", "entity", "id", "stamp ms", "stamp count", "base", "signature")
_CELL_NUMBERS: Final = 5
_PLAIN: Final = b"\0"
_COUNTED: Final = b"\1"

Item = TypeVar("Item")


def no_cells() -> Ints:
    """Return a table of no cells."""
    return np.zeros((_CELL_NUMBERS, 0), dtype=np.int64)


def all_cells(numbers: Ints, cells: Sequence[int]) -> Ints:
    """Return one table of the numbers of patches and of other cells."""
    others = int_array(cells).reshape(-1, _CELL_NUMBERS).T
    return np.concatenate([numbers, others], axis=1) if numbers.size else others


class Definitions(NamedTuple):
    """What is told of things that travel for the first time."""

    numbers: list[int]
    names: list[bytes]


def _definitions() -> Definitions:
    return Definitions([], [])


@dataclass(slots=True)
class SheetWriter:
    """Collects the sections of one unit.

    Attributes:
        records: Of the records.
        entities: Of new entities.
        frames: Of new frames.
        shapes: Of new signatures and shapes.
        texts: Values of changed fields.
        loose: Bytes that no window would shrink.
        numbers: Numbers of patches, as `NumberTable.cells` gives them.
        cells: Other numbers, five each: context, value, own value, line, clock.
    """

    records: Definitions = field(default_factory=_definitions)
    entities: Definitions = field(default_factory=_definitions)
    frames: Definitions = field(default_factory=_definitions)
    shapes: Definitions = field(default_factory=_definitions)
    texts: list[bytes] = field(default_factory=list)
    loose: list[bytes] = field(default_factory=list)
    numbers: Ints = field(default_factory=no_cells)
    cells: list[int] = field(default_factory=list)

    def finish(self, columns: Sequence[Sequence[int]], predictor: Predictor) -> tuple[bytes, bytes]:
        """Return what goes through the window, and what goes beside it.

        Args:
            columns: Those of `ROW_COLUMNS`.
            predictor: What the cells are written against.
        """
        kinds, row_classes, words, word_classes = pack_columns(columns)
        cell_classes = b""
        table = all_cells(self.numbers, self.cells)
        if table.size:
            typical, cell_words, own_classes = predictor.residuals(table)
            cell_classes = ((own_classes - typical) & 0xFF).astype("u1").tobytes()
            words = np.concatenate([words, cell_words])
            word_classes = np.concatenate([word_classes, own_classes])
        parts = (self.records, self.entities, self.frames, self.shapes)
        records, *others = (part.numbers for part in parts)
        numbers = [*records, *itertools.chain(*kinds), *itertools.chain(*others)]
        sections = (
            b"".join(varints(numbers)),
            row_classes,
            cell_classes,
            _join([name for part in parts for name in part.names]),
            _join(self.texts),
        )
        return (
            _SIZES.pack(*map(len, sections)) + b"".join(sections),
            b"".join((pack_bits(words, word_classes), *self.loose)),
        )


class SheetReader:
    """Reads the sections of one unit.

    Args:
        content: What came through the window.
        beside: What came beside it.

    Raises:
        BadUnitError: The sections do not add up.
    """

    def __init__(self, content: bytes, beside: bytes) -> None:
        if len(content) < _SIZES.size:
            raise BadUnitError("a sheet without its sizes")
        sizes = _SIZES.unpack_from(content)
        if _SIZES.size + sum(sizes) != len(content):
            raise BadUnitError("the sections of a sheet do not add up")
        parts, start = [], _SIZES.size
        for size in sizes:
            parts.append(content[start : start + size])
            start += size
        self._plain = iter(read_varints(parts[0]))
        self._row_classes, self._cell_classes = parts[1], parts[2]
        self._names, self._texts = iter(_split(parts[3])), iter(_split(parts[4]))
        self._place = 0
        self._bits = BitReader(beside)
        self._loose = b""
        self._loose_place = 0

    def number(self) -> int:
        """Return the next plain number.

        Raises:
            BadUnitError: There is none; so for all that follows.
        """
        return _next(self._plain)

    def count(self, most: int) -> int:
        """Return the next plain number, which counts something."""
        number = self.number()
        if not 0 <= number <= most:
            raise BadUnitError(f"a count of {number:,}, {most:,} are allowed")
        return number

    def numbers(self, count: int) -> list[int]:
        """Return the next plain numbers."""
        return [self.number() for _ in range(count)]

    def name(self) -> bytes:
        """Return the next name."""
        return _next(self._names)

    def text(self) -> bytes:
        """Return the next text."""
        return _next(self._texts)

    def kinds(self, count: int) -> list[Kind]:
        """Return the kinds of so many columns."""
        return [(self.number(), self.number()) for _ in range(count)]

    def columns(self, kinds: Sequence[Kind], counts: Sequence[int]) -> list[list[int]]:
        """Return the next columns."""
        start = self._place
        for kind, count in zip(kinds, counts, strict=True):
            self._place += 0 if kind[0] == CONSTANT else count
        if self._place > len(self._row_classes):
            raise BadUnitError("the columns of a sheet end too early")
        return unpack_columns(kinds, counts, self._row_classes[start : self._place], self._bits)

    def cells(self, contexts: Ints, predictor: Predictor) -> Ints:
        """Return the residuals of all cells; afterwards hex digits can be read."""
        if len(contexts) != len(self._cell_classes):
            raise BadUnitError(
                f"{len(self._cell_classes):,} numbers for {len(contexts):,} changed fields"
            )
        residuals = unfold(
            self._bits.read(read_classes(self._cell_classes, predictor.typical(contexts)))
        )
        self._loose = self._bits.rest()
        return residuals

    def loose(self, size_bytes: int) -> bytes:
        """Return the next bytes of hex digits."""
        start, self._loose_place = self._loose_place, self._loose_place + size_bytes
        if self._loose_place > len(self._loose):
            raise BadUnitError("the hex digits of a unit end too early")
        return self._loose[start : self._loose_place]


def _next(items: Iterator[Item]) -> Item:
    for item in items:
        return item
    raise BadUnitError("a section of a unit ends too early")


def _join(texts: Sequence[bytes]) -> bytes:
    """Join texts; a zero ends each, unless one has a zero itself."""
    if not texts:
        return b""
    joined = b"\0".join(texts)
    if joined.count(b"\0") == len(texts) - 1:
        return _PLAIN + joined
    sizes = b"".join(varints([len(text) for text in texts]))
    return b"".join((_COUNTED, len(sizes).to_bytes(4, "big"), sizes, *texts))


def _split(content: bytes) -> list[bytes]:
    if content[:1] != _COUNTED:
        return content[1:].split(b"\0") if content else []
    start = 5 + int.from_bytes(content[1:5], "big")
    texts = []
    for size in read_varints(content[5:start]):
        if size < 0 or start + size > len(content):
            raise BadUnitError("texts that end too early")
        texts.append(content[start : start + size])
        start += size
    return texts
