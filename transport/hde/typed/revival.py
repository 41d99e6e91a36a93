"""The reading end of what changed: documents and patches out of what both ends remember."""

from collections.abc import Iterator, Sequence
from typing import Final

from schemas.errors import BadUnitError
from transport.hde.typed import codes, events
from transport.hde.typed.contents import DOUBLE, LONG
from transport.hde.typed.deltas import BRANCH_COUNT, NO_DELTAS, DeltaShape, delta_shape
from transport.hde.typed.documents import PIECE_END, base_leaves, join, leaf_count
from transport.hde.typed.events import Changes, Value
from transport.hde.typed.integers import int_array
from transport.hde.typed.literals import clock_of, read_hex, read_number, write_hex, write_number
from transport.hde.typed.memory import (
    LEAVES_MAX,
    NAME_BYTES_MAX,
    NUMBER_BYTES,
    TEXT_BYTES_MAX,
    Memory,
)
from transport.hde.typed.predictor import CLOCK, LINE, OWN
from transport.hde.typed.sheet import SheetReader
from transport.hde.typed.things import Entity, PatchShape, Shape, Signature

_WORD_BYTES: Final = 8
_UUID_BYTES: Final = 16


class ContentReader:
    """Reads documents and patches of one unit.

    Args:
        sheet: Where from; all its columns have been read.
        memory: What is remembered.
        numbers: Number of each content's signature, in order.
        raw_bytes: How large they may be, all together.

    Raises:
        BadUnitError: They cannot be; so from all methods.
    """

    def __init__(
        self, sheet: SheetReader, memory: Memory, numbers: Sequence[int], raw_bytes: int
    ) -> None:
        self._sheet = sheet
        self._memory = memory
        self._left_bytes = raw_bytes
        self._clock_ms = 0
        self._keeps_steps = True
        signatures = [self._signature(number) for number in numbers]
        if sum(len(one.codes) for one in signatures) > raw_bytes:
            raise BadUnitError("more fields than a unit of this size can have")
        self._signatures = iter(signatures)
        contexts = int_array([n for one in signatures for n in one.contexts])
        predictor = memory.predictor
        self._guesses: Iterator[tuple[int, int]] = zip(
            predictor.modes(contexts), sheet.cells(contexts, predictor).tolist(), strict=True
        )
        self._recent: dict[int, int] = {}
        self._cells: list[int] = []

    def read(self, changes: Changes, content: int, entity: Entity, clock_ms: int) -> None:
        """Read the content of one change."""
        self._clock_ms = clock_ms
        document, fields = None, NO_DELTAS
        if content == codes.DOCUMENT:
            document = self._document(entity)
        elif content == codes.PLAIN_DOCUMENT:
            document = self._sheet.text()
        elif content == codes.PATCH:
            fields = self._patch(changes.values, entity)
        elif content != codes.NO_CONTENT:
            raise BadUnitError(f"a change with content {content}")
        changes.document.append(document)
        changes.shapes.append(fields)
        if document is not None:
            self._spend(len(document))

    def finish(self) -> None:
        """Learn from this unit what the writing end learnt."""
        if self._cells:
            self._memory.predictor.residuals(self._cells)

    def _spend(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise BadUnitError("a unit that grows beyond what it says")

    def _signature(self, number: int) -> Signature:
        if number != codes.NEW:
            return self._memory.signatures.item(number)
        sheet = self._sheet
        is_patch, shape_number = sheet.numbers(2)
        if is_patch:
            patch = self._patch_shape(shape_number)
            found = self._codes(len(patch.fields.kinds))
            return self._memory.sign(patch, (), found)
        if not self._memory.takes_shapes:
            raise BadUnitError("more shapes of documents than are allowed")
        shape = self._shape(shape_number)
        count, places, at = sheet.count(leaf_count(shape)), [], 0
        for step in sheet.numbers(count):
            at += step
            if step < 0 or not 0 <= at < leaf_count(shape):
                raise BadUnitError(f"leaf {at} of {leaf_count(shape)}")
            places.append(at)
        return self._memory.sign(shape, tuple(places), self._codes(count))

    def _codes(self, count: int) -> tuple[int, ...]:
        found = tuple(self._sheet.numbers(count))
        if not all(0 <= code < codes.CODE_COUNT for code in found):
            raise BadUnitError("a field in an unknown code")
        return found

    def _shape(self, number: int) -> Shape:
        shapes = self._memory.shape_list
        if number != codes.NEW:
            if not 0 <= number < len(shapes):
                raise BadUnitError(f"{number} names no shape of this flow")
            return shapes[number]
        pieces = tuple(self._sheet.name().split(PIECE_END))
        if len(pieces) > LEAVES_MAX + 1 or pieces in self._memory.shapes:
            raise BadUnitError("a shape that is too long, or comes as new and is known")
        return self._memory.add_shape(pieces)

    def _patch_shape(self, number: int) -> PatchShape:
        if number != codes.NEW:
            return self._memory.patches.item(number)
        kinds = tuple(self._sheet.numbers(self._sheet.count(self._left_bytes)))
        paths = tuple(self._sheet.name() for _ in kinds)
        if any(len(path) > NAME_BYTES_MAX for path in paths):
            raise BadUnitError("a path that is too long")
        return self._memory.add_patch(delta_shape(paths, kinds))

    # Contents

    def _document(self, entity: Entity) -> bytes:
        signature = next(self._signatures)
        shape = signature.shape
        if not isinstance(shape, Shape):
            raise BadUnitError("a document in the shape of a patch")
        base = base_leaves(self._memory, entity, shape)
        leaves = base.copy()
        step_count = len(entity.steps)
        self._keeps_steps = entity.shape is not None
        last: bytes | None = None
        for at, code in zip(signature.places, signature.codes, strict=True):
            if code == codes.REPEAT and last is not None:
                leaf = last
            elif code == codes.MOVED:
                source = at + self._cell(codes.MOVES_CONTEXT, 0, 0, 0)
                if not 0 <= source < len(base):
                    raise BadUnitError(f"a leaf that moved from {source} of {len(base)}")
                leaf = base[source]
            else:
                leaf = self._text(entity, shape.contexts[at], code, leaves[at])
            if b"\0" in leaf:
                raise BadUnitError("a leaf with a zero")
            leaves[at] = last = leaf
        self._memory.keep_document(entity, shape, leaves)
        self._memory.charge(entity, NUMBER_BYTES * (len(entity.steps) - step_count))
        return join(shape, leaves)

    def _patch(self, values: list[Value], entity: Entity) -> DeltaShape:
        signature = next(self._signatures)
        shape = signature.shape
        if not isinstance(shape, PatchShape):
            raise BadUnitError("a patch in the shape of a document")
        number_count = len(entity.numbers) + len(entity.steps)
        self._keeps_steps = True
        last: Value = None
        fields = shape.fields
        for context, kind, code in zip(shape.contexts, fields.kinds, signature.codes, strict=True):
            branch = kind % BRANCH_COUNT
            value: Value
            if branch == events.LONG:
                value = self._long(entity, context, code)
            elif branch in (events.STRING, events.JSON):
                value = last = self._patch_text(entity, context, code, last)
                self._spend(len(value))
            else:
                value = self._rare(entity, context, code, branch)
            values.append(value)
        grown = len(entity.numbers) + len(entity.steps) - number_count
        self._memory.charge(entity, NUMBER_BYTES * grown)
        return fields

    def _patch_text(self, entity: Entity, context: int, code: int, last: Value) -> bytes:
        base = entity.texts.get(context)
        if code == codes.SAME:
            if base is None:
                raise BadUnitError("a field stays as it was and was never set")
            return base
        if code == codes.REPEAT:
            if not isinstance(last, bytes):
                raise BadUnitError("a field repeats the first one")
            text = last
        else:
            text = self._text(entity, context, code, base or b"")
        self._memory.keep_text(entity, context, text)
        return text

    def _text(self, entity: Entity, context: int, code: int, base: bytes) -> bytes:
        if code == codes.NUMBER:
            old = read_number(base)
            if old is None:
                raise BadUnitError("a number against a text without one")
            affix, own = old
            value = self._number(entity, context, own, clock_of(affix, self._clock_ms))
            return write_number(affix, value)
        if code == codes.KNOWN:
            return self._memory.texts.item(self._cell(context + 1, 0, 0, 0))
        if code == codes.HEX:
            digits = read_hex(base)
            if digits is None:
                raise BadUnitError("hex digits against a text without any")
            return write_hex(digits[0], self._sheet.loose(digits[0].size_bytes or _UUID_BYTES))
        if code != codes.TEXT:
            raise BadUnitError(f"a text in code {code}")
        text = self._sheet.text()
        if len(text) <= TEXT_BYTES_MAX:
            self._memory.texts.add(text, text)
        return text

    def _cell(self, context: int, own: int, line: int, clock: int) -> int:
        """Return the next number."""
        mode, residual = next(self._guesses)
        if mode == OWN:
            guess = own
        elif mode == LINE:
            guess = line
        elif mode == CLOCK:
            guess = clock
        else:
            recent = self._recent.get(context)
            guess = self._memory.predictor.last[context] if recent is None else recent
        value = guess + residual
        if not -codes.VALUE_MAX < value < codes.VALUE_MAX:
            raise BadUnitError("a number that no change has")
        self._recent[context] = value
        self._cells += (context, value, own, line, clock)
        return value

    def _number(self, entity: Entity, context: int, own: int, clock: int) -> int:
        line = own + entity.steps.get(context, 0)
        value = self._cell(context, own, line, clock)
        if self._keeps_steps and not clock:
            entity.steps[context] = value - own
        return value

    def _long(self, entity: Entity, context: int, code: int) -> int:
        if code != codes.LONG:
            if code != codes.LOOSE:
                raise BadUnitError(f"a long in code {code}")
            return int(LONG.unpack(self._sheet.loose(_WORD_BYTES))[0])
        own = entity.numbers.get(context, 0)
        value = self._cell(context, own, own + entity.steps.get(context, 0), 0)
        entity.numbers[context] = value
        entity.steps[context] = value - own
        return value

    def _rare(self, entity: Entity, context: int, code: int, branch: int) -> Value:
        if branch == events.NULL and code == codes.NULL:
            return None
        if branch == events.BOOLEAN and code in (codes.TRUE, codes.FALSE):
            return code == codes.TRUE
        if branch == events.DOUBLE and code == codes.LOOSE:
            return float(DOUBLE.unpack(self._sheet.loose(_WORD_BYTES))[0])
        if branch != events.DOUBLE or code not in codes.FIXED_UNITS:
            raise BadUnitError(f"a value of branch {branch} in code {code}")
        context = codes.number_context(code, context)
        number = self._number(entity, context, entity.numbers.get(context, 0), 0)
        entity.numbers[context] = number
        return number / codes.FIXED_UNITS[code]
