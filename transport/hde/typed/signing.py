"""Which fields changed and how each is written: signatures, as the reading end learns them."""

from typing import Final

from schemas.errors import BadUnitError
from transport.hde.typed import codes
from transport.hde.typed.deltas import delta_shape
from transport.hde.typed.documents import PIECE_END, leaf_count
from transport.hde.typed.memory import LEAVES_MAX, NAME_BYTES_MAX, Memory
from transport.hde.typed.numbers import Numbers
from transport.hde.typed.sheet import SheetReader
from transport.hde.typed.things import PatchShape, Shape, Signature

_LONG_CODES: Final = (codes.LONG, codes.LOOSE)
_DOUBLE_CODES: Final = (*codes.FIXED_UNITS, codes.LOOSE)


class SignatureReader:
    """Reads the signatures of one unit.

    Args:
        sheet: Where from.
        memory: What is remembered.
        raw_bytes: How large the unit may be.

    Raises:
        BadUnitError: They cannot be; so from all methods.
    """

    def __init__(self, sheet: SheetReader, memory: Memory, raw_bytes: int) -> None:
        self._sheet = sheet
        self._memory = memory
        self._raw_bytes = raw_bytes

    def read(self, number: int) -> Signature:
        """Return the signature of this number, or the new one that comes next."""
        if number != codes.NEW:
            return self._memory.signatures.item(number)
        sheet = self._sheet
        is_patch, shape_number = sheet.numbers(2)
        if is_patch:
            patch = self._patch_shape(shape_number)
            found = self._codes(len(patch.fields.kinds))
            return self._memory.sign(patch, (), found, _numbers(patch, found))
        if not self._memory.takes_shapes:
            raise BadUnitError("more shapes of documents than are allowed")
        shape = self._shape(shape_number)
        count, places, at = sheet.count(leaf_count(shape)), [], 0
        for step in sheet.numbers(count):
            at += step
            if step < 0 or not 0 <= at < leaf_count(shape):
                raise BadUnitError(f"leaf {at} of {leaf_count(shape)}")
            places.append(at)
        return self._memory.sign(shape, tuple(places), self._codes(count), None)

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
        kinds = tuple(self._sheet.numbers(self._sheet.count(self._raw_bytes)))
        paths = tuple(self._sheet.name() for _ in kinds)
        if any(len(path) > NAME_BYTES_MAX for path in paths):
            raise BadUnitError("a path that is too long")
        return self._memory.add_patch(delta_shape(paths, kinds))


def _numbers(shape: PatchShape, found: tuple[int, ...]) -> Numbers:
    """Return how the numbers of a patch are written; checks the codes of all but texts."""
    doubles = shape.long_count + shape.double_count
    flags = doubles + len(shape.text_contexts)
    groups = (
        (found[: shape.long_count], _LONG_CODES),
        (found[shape.long_count : doubles], _DOUBLE_CODES),
        (found[flags:], codes.FLAGS.keys()),
    )
    if not all(code in known for own, known in groups for code in own):
        raise BadUnitError("a field in a code of another type")
    return shape.numbers(found[:doubles])
