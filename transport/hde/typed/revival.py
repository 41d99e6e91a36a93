"""The reading end of what changed: documents and patches out of what both ends remember."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from schemas.errors import BadUnitError
from transport.hde.typed import codes
from transport.hde.typed.contents import DOUBLE, LONG
from transport.hde.typed.deltas import NO_DELTAS, DeltaShape
from transport.hde.typed.documents import base_leaves, join
from transport.hde.typed.events import Changes
from transport.hde.typed.groups import Groups
from transport.hde.typed.integers import int_array
from transport.hde.typed.literals import clock_of, read_hex, read_number, write_hex, write_number
from transport.hde.typed.memory import TEXT_BYTES_MAX, Memory
from transport.hde.typed.numbers import Numbers
from transport.hde.typed.predictor import CLOCK, LINE, OWN
from transport.hde.typed.records import make_plan, write_record
from transport.hde.typed.scalars import TEXT_GROWTH_MAX
from transport.hde.typed.sheet import SheetReader, all_cells, no_cells
from transport.hde.typed.signing import SignatureReader
from transport.hde.typed.things import Entity, PatchShape, Shape

_WORD_BYTES: Final = 8
_UUID_BYTES: Final = 16


class ContentReader:
    """Reads documents and patches of one unit.

    Args:
        sheet: Where from; all its columns have been read.
        memory: What is remembered.
        signed: Of each document and patch in order: number of its signature, and its entity.
        raw_bytes: How large they may be, all together.

    Raises:
        BadUnitError: They cannot be; so from all methods.
    """

    def __init__(
        self,
        sheet: SheetReader,
        memory: Memory,
        signed: Sequence[tuple[int, Entity]],
        raw_bytes: int,
    ) -> None:
        self._sheet = sheet
        self._memory = memory
        self._left_bytes = raw_bytes
        self._clock_ms = 0
        self._keeps_steps = True
        signing = SignatureReader(sheet, memory, raw_bytes)
        signatures = [signing.read(number) for number, _ in signed]
        if sum(len(one.codes) for one in signatures) > raw_bytes:
            raise BadUnitError("more fields than a unit of this size can have")
        self._signatures = iter(signatures)
        contexts: list[int] = []
        slots: list[int] = []
        for one, (_, entity) in zip(signatures, signed, strict=True):
            if one.numbers is not None:
                contexts += one.numbers.contexts
                slots += memory.slots(entity, one.numbers)
        others = int_array([n for one in signatures for n in one.contexts])
        columns = (int_array(contexts), Groups(int_array(slots)))
        predictor = memory.predictor
        residuals = sheet.cells(np.concatenate([columns[0], others]), predictor)
        values = memory.numbers.read(*columns, residuals[: len(slots)], predictor)
        self._numbers = iter(values.tolist())
        self._number_cells = memory.numbers.cells(*columns, values) if len(values) else no_cells()
        self._guesses: Iterator[tuple[int, int]] = zip(
            predictor.modes(others).tolist(), residuals[len(slots) :].tolist(), strict=True
        )
        self._recent: dict[int, int] = {}
        self._cells: list[int] = []

    def read(self, changes: Changes, content: int, entity: Entity, clock_ms: int) -> None:
        """Read the content of one change."""
        self._clock_ms = clock_ms
        document, fields = None, NO_DELTAS
        if content == codes.DOCUMENT:
            shape, leaves = self._leaves(entity, self._left_bytes)
            document = join(shape, leaves)
        elif content == codes.RECORD_LEAVES:
            shape, leaves = self._leaves(entity, TEXT_GROWTH_MAX * self._left_bytes)
            if shape.plan is None:
                shape.plan = make_plan(shape.pieces)
            document = write_record(shape.plan, leaves)
        elif content == codes.PLAIN_DOCUMENT:
            document = self._sheet.text()
        elif content == codes.PATCH:
            fields = self._patch(changes, entity)
        elif content != codes.NO_CONTENT:
            raise BadUnitError(f"a change with content {content}")
        changes.document.append(document)
        changes.shapes.append(fields)
        if document is not None:
            self._spend(len(document))

    def finish(self) -> None:
        """Learn from this unit what the writing end learnt."""
        table = all_cells(self._number_cells, self._cells)
        if table.size:
            self._memory.predictor.residuals(table)

    def _spend(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise BadUnitError("a unit that grows beyond what it says")

    # Contents

    def _leaves(self, entity: Entity, most_bytes: int) -> tuple[Shape, list[bytes]]:
        """Return the shape and leaves of the next document or record."""
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
        # Before they are joined: a unit can repeat a long text for a byte each time.
        if sum(map(len, leaves)) > most_bytes:
            raise BadUnitError("a unit that grows beyond what it says")
        self._memory.keep_document(entity, shape, leaves)
        self._memory.charge_steps(entity, step_count)
        return shape, leaves

    def _patch(self, changes: Changes, entity: Entity) -> DeltaShape:
        signature = next(self._signatures)
        shape, numbers = signature.shape, signature.numbers
        if not isinstance(shape, PatchShape) or numbers is None:
            raise BadUnitError("a patch in the shape of a document")
        longs = shape.long_count
        if numbers.is_loose:
            self._loose(changes, shape, numbers)
        else:
            changes.longs += islice(self._numbers, longs)
            for code in numbers.codes[longs:]:
                changes.doubles.append(next(self._numbers) / codes.FIXED_UNITS[code])
        rest = signature.codes[len(numbers.codes) :]
        if shape.text_contexts:
            self._patch_texts(changes, entity, shape.text_contexts, rest)
        if shape.flag_count:
            changes.flags += [codes.FLAGS[code] for code in rest[len(shape.text_contexts) :]]
        return shape.fields

    def _loose(self, changes: Changes, shape: PatchShape, numbers: Numbers) -> None:
        """Read the numbers of a patch of which some stand as they are."""
        for at, code in enumerate(numbers.codes):
            is_long = at < shape.long_count
            if code != codes.LOOSE:
                number = next(self._numbers)
                if is_long:
                    changes.longs.append(number)
                else:
                    changes.doubles.append(number / codes.FIXED_UNITS[code])
            elif is_long:
                changes.longs.append(LONG.unpack(self._sheet.loose(_WORD_BYTES))[0])
            else:
                changes.doubles.append(DOUBLE.unpack(self._sheet.loose(_WORD_BYTES))[0])

    def _patch_texts(
        self, changes: Changes, entity: Entity, contexts: Sequence[int], found: Sequence[int]
    ) -> None:
        self._keeps_steps = True
        step_count = len(entity.steps)
        last: bytes | None = None
        for context, code in zip(contexts, found, strict=False):
            base = entity.texts.get(context)
            if code == codes.SAME:
                if base is None:
                    raise BadUnitError("a field stays as it was and was never set")
                text = base
            elif code == codes.REPEAT:
                if last is None:
                    raise BadUnitError("a field repeats the first one")
                text = last
            else:
                text = self._text(entity, context, code, base or b"")
            if code != codes.SAME:
                self._memory.keep_text(entity, context, text)
            self._spend(len(text))
            changes.texts.append(text)
            last = text
        self._memory.charge_steps(entity, step_count)

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
