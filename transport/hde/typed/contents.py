"""The writing end of what changed: documents and patches against what both ends remember."""

import struct
from collections.abc import Iterator, Sequence
from itertools import compress, count
from operator import ne
from typing import Final

from transport.hde.typed import codes
from transport.hde.typed.documents import PIECE_END, base_leaves, cut
from transport.hde.typed.events import Changes
from transport.hde.typed.literals import clock_of, read_hex, read_number
from transport.hde.typed.memory import TEXT_BYTES_MAX, Memory
from transport.hde.typed.numbers import Numbers
from transport.hde.typed.patches import Patch
from transport.hde.typed.records import Parts
from transport.hde.typed.sheet import SheetWriter
from transport.hde.typed.things import Entity, PatchShape, Shape

LONG: Final = struct.Struct(">q")
DOUBLE: Final = struct.Struct(">d")
_FLAGS: Final = {value: code for code, value in codes.FLAGS.items()}


class ContentWriter:
    """Writes documents and patches of one unit.

    Args:
        sheet: Where to.
        memory: What is remembered.
        patches: The patches, their numbers written.

    Attributes:
        signatures: Number of each content's signature, in order.
    """

    def __init__(self, sheet: SheetWriter, memory: Memory, patches: Iterator[Patch]) -> None:
        self.signatures: list[int] = []
        self._sheet = sheet
        self._memory = memory
        self._patches = patches
        self._places = (0, 0, 0, 0)  # in the columns of values
        self._clock_ms = 0
        self._keeps_steps = True  # those against another entity's document tell nothing

    def document(
        self, entity: Entity, text: bytes, clock_ms: int, record: Parts | None = None
    ) -> int:
        """Write a whole document, or a record that was cut.

        Returns:
            Which content a frame has to name.
        """
        self._clock_ms = clock_ms
        memory = self._memory
        parts = record or cut(text)
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
        memory.charge_steps(entity, step_count)
        number = codes.NEW if is_new else shape.serial
        self._sign(shape, number, tuple(places), tuple(found), None)
        return codes.DOCUMENT if record is None else codes.RECORD_LEAVES

    def patch(self, entity: Entity, changes: Changes, clock_ms: int) -> int:
        """Write what the next patch has but numbers; returns which content a frame has to name."""
        self._clock_ms = clock_ms
        shape, number, numbers = next(self._patches)
        found = numbers.codes
        long_at, double_at, text_at, flag_at = self._places
        long_end, double_end = long_at + shape.long_count, double_at + shape.double_count
        text_end, flag_end = text_at + len(shape.text_contexts), flag_at + shape.flag_count
        self._places = long_end, double_end, text_end, flag_end
        if numbers.is_loose:
            packed = [LONG.pack(value) for value in changes.longs[long_at:long_end]]
            packed += [DOUBLE.pack(value) for value in changes.doubles[double_at:double_end]]
            is_loose = [code == codes.LOOSE for code in found]
            self._sheet.loose += compress(packed, is_loose)
        if text_end > text_at:
            texts = changes.texts[text_at:text_end]
            found += self._patch_texts(entity, shape.text_contexts, texts)
        if flag_end > flag_at:
            found += tuple([_FLAGS[flag] for flag in changes.flags[flag_at:flag_end]])
        self._sign(shape, number, (), found, numbers)
        return codes.PATCH

    def _patch_texts(
        self, entity: Entity, contexts: Sequence[int], texts: Sequence[bytes]
    ) -> tuple[int, ...]:
        self._keeps_steps = True
        step_count = len(entity.steps)
        found, last = [], None
        for context, text in zip(contexts, texts, strict=True):
            base = entity.texts.get(context)
            if text == base:
                found.append(codes.SAME)
            else:
                is_repeat = text == last
                code = codes.REPEAT if is_repeat else self._text(entity, context, text, base or b"")
                self._memory.keep_text(entity, context, text)
                found.append(code)
            last = text
        self._memory.charge_steps(entity, step_count)
        return tuple(found)

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
        shape_number: int,
        places: tuple[int, ...],
        found: tuple[int, ...],
        numbers: Numbers | None,
    ) -> None:
        is_patch = numbers is not None
        number = self._memory.signatures.number((is_patch, shape.serial, places, found))
        if number is not None:
            self.signatures.append(number)
            return
        self.signatures.append(codes.NEW)
        plain = self._sheet.shapes.numbers
        plain += (is_patch, shape_number)
        if shape_number == codes.NEW:
            self._define(shape)
        if not is_patch:
            plain.append(len(places))
            plain += [at - before for at, before in zip(places, (0, *places), strict=False)]
        plain += found
        self._memory.sign(shape, places, found, numbers)

    def _define(self, shape: Shape | PatchShape) -> None:
        if isinstance(shape, Shape):
            self._sheet.shapes.names.append(PIECE_END.join(shape.pieces))
            return
        kinds = shape.fields.kinds
        self._sheet.shapes.numbers.extend((len(kinds), *kinds))
        self._sheet.shapes.names.extend(shape.fields.paths)

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
