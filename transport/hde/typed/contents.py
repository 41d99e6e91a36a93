"""The writing end of what changed: documents and patches against what both ends remember."""

import math
import struct
from collections.abc import Sequence
from itertools import compress, count
from operator import ne
from typing import Final

from transport.hde.typed import codes
from transport.hde.typed.deltas import DeltaShape
from transport.hde.typed.documents import PIECE_END, base_leaves, cut
from transport.hde.typed.events import Value
from transport.hde.typed.literals import clock_of, read_hex, read_number
from transport.hde.typed.memory import NUMBER_BYTES, TEXT_BYTES_MAX, Memory
from transport.hde.typed.sheet import SheetWriter
from transport.hde.typed.things import Entity, PatchShape, Shape

LONG: Final = struct.Struct(">q")
DOUBLE: Final = struct.Struct(">d")


class ContentWriter:
    """Writes documents and patches of one unit.

    Attributes:
        signatures: Number of each content's signature, in order.
    """

    def __init__(self, sheet: SheetWriter, memory: Memory) -> None:
        self.signatures: list[int] = []
        self._sheet = sheet
        self._memory = memory
        self._clock_ms = 0
        self._keeps_steps = True  # those against another entity's document tell nothing

    def document(self, entity: Entity, text: bytes, clock_ms: int) -> int:
        """Write a whole document; returns which content a frame has to name."""
        self._clock_ms = clock_ms
        memory = self._memory
        parts = cut(text)
        shape = None if parts is None else self._shape(parts[0])
        if parts is None or shape is None:
            self._sheet.texts.append(text)
            return codes.PLAIN_DOCUMENT
        leaves = parts[1]
        is_new = shape.first is None
        base = base_leaves(memory, entity, shape)
        step_count = len(entity.steps)
        self._keeps_steps = entity.shape is not None
        places = list(compress(count(), map(ne, leaves, base)))
        where = dict(zip(base, count())) if places else {}
        found, last = [], None
        for at in places:
            leaf = leaves[at]
            if leaf == last:
                found.append(codes.REPEAT)
            elif leaf in where and len(leaf) >= codes.MOVED_BYTES_MIN:
                self._sheet.cells += (codes.MOVES_CONTEXT, where[leaf] - at, 0, 0, 0)
                found.append(codes.MOVED)
            else:
                found.append(self._text(entity, shape.contexts[at], leaf, base[at]))
            last = leaf
        memory.keep_document(entity, shape, leaves)
        memory.charge(entity, NUMBER_BYTES * (len(entity.steps) - step_count))
        self._sign(shape, tuple(places), tuple(found), is_new=is_new)
        return codes.DOCUMENT

    def patch(
        self, entity: Entity, fields: DeltaShape, values: Sequence[Value], clock_ms: int
    ) -> int:
        """Write the deltas of one change; returns which content a frame has to name."""
        self._clock_ms = clock_ms
        memory = self._memory
        number = memory.patches.number(fields)
        shape = memory.add_patch(fields) if number is None else memory.patches.item(number)
        numbers, steps, cells = entity.numbers, entity.steps, self._sheet.cells
        number_count = len(numbers) + len(steps)
        self._keeps_steps = True
        found: list[int] = []
        last: Value = None
        # The loop that decides how many changes a second there are: long numbers stay in it.
        for context, value in zip(shape.contexts, values, strict=True):
            kind = type(value)
            if kind is int and -codes.LONG_MAX < value < codes.LONG_MAX:  # type: ignore[operator] # an int
                own = numbers.get(context, 0)
                cells += (context, value, own, own + steps.get(context, 0), 0)  # type: ignore[arg-type] # an int
                numbers[context] = value  # type: ignore[assignment] # an int
                steps[context] = value - own  # type: ignore[assignment, operator] # an int
                found.append(codes.LONG)
            elif kind is bytes:
                found.append(self._patch_text(entity, context, value, last))  # type: ignore[arg-type] # bytes
                last = value
            else:
                found.append(self._rare(entity, context, value))
        memory.charge(entity, NUMBER_BYTES * (len(numbers) + len(steps) - number_count))
        self._sign(shape, (), tuple(found), is_new=number is None)
        return codes.PATCH

    def _shape(self, pieces: tuple[bytes, ...]) -> Shape | None:
        """Return the shape of a document; None for one that is seen for the first time.

        Shapes that never come again would push out those that do.
        """
        memory = self._memory
        if not memory.takes_shapes:
            return None
        shape = memory.shapes.get(pieces)
        if shape is None and memory.is_second_sight(hash(pieces)):
            return memory.add_shape(pieces)
        return shape

    def _sign(
        self,
        shape: Shape | PatchShape,
        places: tuple[int, ...],
        found: tuple[int, ...],
        *,
        is_new: bool,
    ) -> None:
        is_patch = isinstance(shape, PatchShape)
        number = self._memory.signatures.number((is_patch, shape.serial, places, found))
        if number is not None:
            self.signatures.append(number)
            return
        self.signatures.append(codes.NEW)
        plain = self._sheet.shapes.numbers
        plain += (is_patch, codes.NEW if is_new else self._shape_number(shape))
        if is_new:
            self._define(shape)
        if not is_patch:
            plain.append(len(places))
            plain += [at - before for at, before in zip(places, (0, *places), strict=False)]
        plain += found
        self._memory.sign(shape, places, found)

    def _shape_number(self, shape: Shape | PatchShape) -> int:
        if isinstance(shape, Shape):
            return shape.serial
        number = self._memory.patches.number(shape.fields)
        assert number is not None, "the shape was found there"
        return number

    def _define(self, shape: Shape | PatchShape) -> None:
        if isinstance(shape, Shape):
            self._sheet.shapes.names.append(PIECE_END.join(shape.pieces))
            return
        kinds = shape.fields.kinds
        self._sheet.shapes.numbers.extend((len(kinds), *kinds))
        self._sheet.shapes.names.extend(shape.fields.paths)

    def _patch_text(self, entity: Entity, context: int, text: bytes, last: Value) -> int:
        base = entity.texts.get(context, b"")
        if text == base and context in entity.texts:
            return codes.SAME
        code = codes.REPEAT if text == last else self._text(entity, context, text, base)
        self._memory.keep_text(entity, context, text)
        return code

    def _text(self, entity: Entity, context: int, text: bytes, base: bytes) -> int:
        """Write a text that changed, the shortest way there is."""
        if base:
            number = read_number(text)
            if number is not None:
                old = read_number(base)
                if old is not None and old[0] == number[0]:
                    clock = clock_of(number[0], self._clock_ms)
                    self._number(entity, context, (number[1], old[1], clock))
                    return codes.NUMBER
        known = self._memory.texts.number(text)
        if known is not None:
            self._sheet.cells += (context + 1, known, 0, 0, 0)
            return codes.KNOWN
        if base:
            digits = read_hex(text)
            if digits is not None:
                old_digits = read_hex(base)
                if old_digits is not None and old_digits[0] == digits[0]:
                    self._sheet.loose.append(digits[1])
                    return codes.HEX
        self._sheet.texts.append(text)
        if len(text) <= TEXT_BYTES_MAX:
            self._memory.texts.add(text, text)
        return codes.TEXT

    def _number(self, entity: Entity, context: int, number: tuple[int, int, int]) -> None:
        """Write a number: its value, the entity's own last one, and what the clock would say."""
        value, own, clock = number
        line = own + entity.steps.get(context, 0)
        self._sheet.cells += (context, value, own, line, clock)
        if self._keeps_steps and not clock:
            entity.steps[context] = value - own

    def _rare(self, entity: Entity, context: int, value: Value) -> int:
        if value is None:
            return codes.NULL
        if isinstance(value, bool):
            return codes.TRUE if value else codes.FALSE
        if not isinstance(value, float):
            assert isinstance(value, int), "a long"
            self._sheet.loose.append(LONG.pack(value))
            return codes.LOOSE
        for code, unit in codes.FIXED_UNITS.items():
            number = _fixed(value, unit)
            if number is not None:
                context = codes.number_context(code, context)
                own = entity.numbers.get(context, 0)
                self._number(entity, context, (number, own, 0))
                entity.numbers[context] = number
                return code
        self._sheet.loose.append(DOUBLE.pack(value))
        return codes.LOOSE


def _fixed(value: float, unit: int) -> int | None:
    """Return a double as a whole number of parts of a unit, if it is exactly that."""
    if not abs(value) * unit < codes.DOUBLE_MAX:  # so for what is no number
        return None
    number = round(value * unit)
    is_same = number / unit == value and (number != 0 or math.copysign(1, value) > 0)
    return number if is_same else None
