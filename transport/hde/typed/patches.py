"""The numbers in patches of a unit: all at once, before anything else of the patches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transport.hde.typed import codes
from transport.hde.typed.events import Changes
from transport.hde.typed.groups import Groups
from transport.hde.typed.integers import int_array
from transport.hde.typed.memory import Memory
from transport.hde.typed.numbers import Numbers, fixed_codes
from transport.hde.typed.sheet import SheetWriter
from transport.hde.typed.things import Entity, PatchShape


class Patch(NamedTuple):
    """A patch whose numbers are written.

    Attributes:
        shape: Its fields.
        number: Number of the shape on the wire, `codes.NEW` for a new one.
        numbers: How its numbers are written.
    """

    shape: PatchShape
    number: int
    numbers: Numbers


def write_numbers(
    sheet: SheetWriter, memory: Memory, changes: Changes, entities: Sequence[Entity]
) -> Iterator[Patch]:
    """Write the numbers of all patches.

    Args:
        sheet: Where to.
        memory: What is remembered.
        changes: Of a unit.
        entities: Of each change its entity.

    Returns:
        The patches in order.
    """
    doubles, wholes = fixed_codes(changes.doubles)
    is_plain = doubles.count(codes.FIXED2) == len(doubles) and _are_usual(changes.longs)
    contexts: list[int] = []
    slots: list[int] = []
    values: list[int] = []
    patches = []
    long_at = double_at = 0
    for fields, entity in zip(changes.shapes, entities, strict=True):
        if not fields.kinds:
            continue
        number = memory.patches.number(fields)
        shape = memory.add_patch(fields) if number is None else memory.patches.item(number)
        long_end, double_end = long_at + shape.long_count, double_at + shape.double_count
        longs, own_codes = changes.longs[long_at:long_end], doubles[double_at:double_end]
        own = longs + wholes[double_at:double_end] if own_codes else longs
        numbers = shape.plain
        if not is_plain:
            numbers = shape.numbers((*map(_long_code, longs), *own_codes))
            cells = zip(own, numbers.codes, strict=True)
            own = [value for value, code in cells if code != codes.LOOSE]
        contexts += numbers.contexts
        slots += memory.slots(entity, numbers)
        values += own
        patches.append(Patch(shape, codes.NEW if number is None else number, numbers))
        long_at, double_at = long_end, double_end
    if values:
        columns = (int_array(contexts), Groups(int_array(slots)), int_array(values))
        sheet.numbers = memory.numbers.cells(*columns)
    return iter(patches)


def _are_usual(longs: Sequence[int]) -> bool:
    return not longs or -codes.LONG_MAX < min(longs) <= max(longs) < codes.LONG_MAX


def _long_code(value: int) -> int:
    return codes.LONG if _are_usual((value,)) else codes.LOOSE
