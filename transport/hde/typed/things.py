"""The things that both ends of a typed flow remember; `memory` says how long."""

from collections.abc import Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.errors import BadUnitError
from transport.hde.typed.codes import FIXED2, LONG
from transport.hde.typed.deltas import DeltaShape
from transport.hde.typed.numbers import Numbers
from transport.hde.typed.scalars import Plan

_VARIANTS_MAX: Final = 64

Item = TypeVar("Item")


class Ring(Generic[Item]):
    """Numbers things in order of arrival; the oldest number is used again.

    Args:
        size: How many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[Hashable, Item]] = []
        self._numbers: dict[Hashable, int] = {}
        self._next = 0

    def number(self, key: Hashable) -> int | None:
        """Return the number of what has this key, if it is kept."""
        return self._numbers.get(key)

    def item(self, number: int) -> Item:
        """Return what has this number.

        Raises:
            BadUnitError: Nothing has.
        """
        if not 0 <= number < len(self._kept):
            raise BadUnitError(f"{number} names nothing that this flow carried")
        return self._kept[number][1]

    def add(self, key: Hashable, item: Item) -> Item | None:
        """Keep an item; returns what had to be forgotten for it."""
        number, old = self._next, None
        if number < len(self._kept):
            old_key, old = self._kept[number]
            if self._numbers.get(old_key) == number:
                del self._numbers[old_key]
            self._kept[number] = (key, item)
        else:
            self._kept.append((key, item))
        self._numbers[key] = number
        self._next = (number + 1) % self._size
        return old


class Shape:
    """A document without its leaves: the texts between them.

    Attributes:
        serial: Its number, counted from 0.
        pieces: Those texts.
        contexts: Context of each leaf.
        first: Leaves of the first document of this shape; others are kept as differences to it.
        last: Leaves of the last document of this shape.
        plan: How records of this shape are written, once one was.
    """

    __slots__ = ("contexts", "first", "last", "maps", "pieces", "plan", "serial", "template")

    def __init__(self, serial: int, pieces: tuple[bytes, ...], contexts: Sequence[int]) -> None:
        self.serial = serial
        self.pieces = pieces
        self.contexts = contexts
        self.first: list[bytes] | None = None
        self.last: list[bytes] | None = None
        self.maps: dict[int, list[int]] = {}  # by serial of the older shape
        self.plan: Plan | None = None
        self.template: list[bytes] = [b""] * (2 * len(pieces) - 1)
        self.template[0::2] = pieces


class Entity:
    """What a flow knows of one entity.

    Attributes:
        number: Its number on the wire.
        name: Its id.
        stamp: Hybrid timestamp of its last change.
        shape: Shape of its last document, if it is known.
        places: Which of its leaves differ from the first document of its shape; 16 bits each.
        leaves: Those leaves, joined.
        texts: Last text of every field that was patched, by context.
        slots: Places of its patched numbers in the memory's `NumberTable`, by context.
        steps: By how much a number inside a text moved last, by context.
        charge: Bytes that it is charged with.
    """

    __slots__ = (
        "charge",
        "leaves",
        "name",
        "number",
        "places",
        "shape",
        "slots",
        "stamp",
        "steps",
        "texts",
    )

    def __init__(self, number: int, name: bytes) -> None:
        self.number = number
        self.name = name
        self.stamp = 0
        self.shape: Shape | None = None
        self.places = b""
        self.leaves = b""
        self.texts: dict[int, bytes] = {}
        # Two dictionaries of plain numbers: the garbage collector leaves those alone.
        self.slots: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self.charge = 0


class PatchShape:
    """The fields of a patch.

    Args:
        serial: Its number; never comes again.
        fields: Which.
        contexts: Of each field.

    Attributes:
        long_count: How many longs it has; so the other counts.
        text_contexts: Contexts of its texts.
        plain: How its numbers are written as a rule.
    """

    __slots__ = (
        "_number_contexts",
        "_variants",
        "double_count",
        "fields",
        "flag_count",
        "long_count",
        "plain",
        "serial",
        "text_contexts",
    )

    def __init__(self, serial: int, fields: DeltaShape, contexts: Sequence[int]) -> None:
        self.serial = serial
        self.fields = fields
        longs, doubles, texts, flags = fields.groups
        self.long_count, self.double_count = len(longs), len(doubles)
        self.flag_count = len(flags)
        self.text_contexts = [contexts[at] for at in texts]
        self._number_contexts = [contexts[at] for at in (*longs, *doubles)]
        self._variants: dict[tuple[int, ...], Numbers] = {}
        self.plain = self.numbers((LONG,) * len(longs) + (FIXED2,) * len(doubles))

    def numbers(self, codes: tuple[int, ...]) -> Numbers:
        """Return how numbers in these codes are written."""
        found = self._variants.get(codes)
        if found is None:
            if len(self._variants) == _VARIANTS_MAX:
                self._variants.clear()
            found = self._variants[codes] = Numbers(self._number_contexts, codes)
        return found


class Signature(NamedTuple):
    """Which cells of a shape changed, and how each is written.

    Attributes:
        shape: The shape.
        places: Which leaves of a document changed; of a patch all cells are meant.
        codes: How each is written: of a patch its numbers, then its texts, then the rest.
        contexts: Of those cells that have a number, but the numbers of patches.
        numbers: Of a patch.
    """

    shape: Shape | PatchShape
    places: tuple[int, ...]
    codes: tuple[int, ...]
    contexts: tuple[int, ...]
    numbers: Numbers | None


class Frame(NamedTuple):
    """What of a change is alike in most of them."""

    entity_type: bytes
    key_space: bytes
    operation: int
    origin_region: bytes
    id_before: bytes
    id_mode: int
    trace_mode: int
    has_base: bool
    has_stamp: bool
    content: int
