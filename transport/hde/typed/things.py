"""The things that both ends of a typed flow remember; `memory` says how long."""

from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from schemas.errors import BadUnitError
from transport.hde.typed.deltas import DeltaShape

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
    """

    __slots__ = ("contexts", "first", "last", "maps", "pieces", "serial", "template")

    def __init__(self, serial: int, pieces: tuple[bytes, ...], contexts: Sequence[int]) -> None:
        self.serial = serial
        self.pieces = pieces
        self.contexts = contexts
        self.first: list[bytes] | None = None
        self.last: list[bytes] | None = None
        self.maps: dict[int, list[int]] = {}  # by serial of the older shape
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
        numbers: Last value of a number, by context.
        steps: By how much it moved last.
        charge: Bytes that it is charged with.
    """

    __slots__ = (
        "charge",
        "leaves",
        "name",
        "number",
        "numbers",
        "places",
        "shape",
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
        self.numbers: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self.charge = 0


class PatchShape(NamedTuple):
    """The fields of a patch: `serial` never comes again."""

    serial: int
    fields: DeltaShape
    contexts: tuple[int, ...]


class Signature(NamedTuple):
    """Which cells of a shape changed, and how each is written."""

    shape: Shape | PatchShape
    places: tuple[int, ...]
    codes: tuple[int, ...]
    contexts: tuple[int, ...]  # of those cells that have a number


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
