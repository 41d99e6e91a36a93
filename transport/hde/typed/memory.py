"""What both ends of a typed flow remember, in bounded memory.

Nothing here is told to the peer: both ends do the same things in the same order, so both number,
forget and charge alike.
"""

from array import array
from itertools import compress, count
from operator import ne
from typing import Final

from transport.hde.typed.codes import HAS_NUMBER, MOVES_CONTEXT, number_context
from transport.hde.typed.deltas import BRANCH_COUNT, DeltaShape
from transport.hde.typed.numbers import Numbers, NumberTable
from transport.hde.typed.predictor import Predictor
from transport.hde.typed.things import Entity, Frame, PatchShape, Ring, Shape, Signature

ENTITY_BYTES: Final = 600  # an estimate; `benchmarks.hde_memory` compares
TEXT_BYTES: Final = 150  # of a field's text without its bytes
NUMBER_BYTES: Final = 75  # of a patched number, or of the step of one inside a text
TEXT_BYTES_MAX: Final = 256  # longer texts are not kept as what others refer to
NAME_BYTES_MAX: Final = 1_024
PARTITIONS_MAX: Final = 4_096
LEAVES_MAX: Final = 4_096  # of one document
CONTEXTS_MAX: Final = 1 << 14  # of leaves, and of fields
SIGNATURE_CELLS_MAX: Final = 1 << 19
_TEXT_KIND: Final = -1
_KINDS: Final = (_TEXT_KIND, -2, -3, _TEXT_KIND, _TEXT_KIND, _TEXT_KIND)  # by branch
_RING_SIZE: Final = 4_096
_PIECE_BYTES: Final = 160
RECORD_MARK: Final = b"\2"  # before the pieces of a stranger's Avro record; no JSON text begins so
_SHAPES_PART: Final = 8  # of the budget, one in so many bytes may be shapes

# Knuth's MMIX generator; its high bits are good enough for lots.
_LOT_FACTOR: Final = 6_364_136_223_846_793_005
_LOT_STEP: Final = 1_442_695_040_888_963_407
_LOT_MASK: Final = (1 << 64) - 1


class Memory:
    """All that one end of an epoch remembers.

    Args:
        budget_bytes: What it may hold; the window beside it is not counted.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.entities: dict[bytes, Entity] = {}
        self.numbered: list[Entity | None] = []
        self.free: list[int] = []
        self.charged_bytes = 0
        self.frames: Ring[Frame] = Ring(_RING_SIZE)
        self.signatures: Ring[Signature] = Ring(_RING_SIZE)
        self.signature_cells = 0
        self.patches: Ring[PatchShape] = Ring(_RING_SIZE)
        self.patch_count = 0
        self.texts: Ring[bytes] = Ring(_RING_SIZE)
        self.names: Ring[bytes] = Ring(_RING_SIZE)
        self._leaves: dict[tuple[bytes, int], int] = {}
        self._fields: dict[tuple[bytes, int], int] = {}
        self.shapes: dict[tuple[bytes, ...], Shape] = {}
        self.shape_list: list[Shape] = []
        self.sights: Ring[int] = Ring(_RING_SIZE)
        self.shape_bytes = 0
        self.last_shape: Shape | None = None
        self.next_offsets: dict[int, int] = {}
        self.record_time_ms = 0
        self._lot = 1
        self.predictor = Predictor()
        self.numbers = NumberTable()
        # What is used when there are too many: one for leaves and MOVES, and two for fields.
        self._leaf_context((b"", 0))
        self._field_context((b"", _TEXT_KIND))
        self._field_context((b"", 0))

    @property
    def takes_shapes(self) -> bool:
        """Tell whether another shape or signature may be added."""
        return (
            self.shape_bytes <= self.budget_bytes // _SHAPES_PART
            and self.signature_cells <= SIGNATURE_CELLS_MAX
        )

    def end_unit(self) -> int:
        """Keep the budget after a unit; returns how many entities were forgotten.

        What cannot be forgotten piece by piece is forgotten as a whole when it is full.
        """
        context_count = max(len(self._leaves), len(self._fields))
        if not self.takes_shapes or context_count >= CONTEXTS_MAX:
            count = len(self.entities)
            self.clear()
            return count
        return self._trim()

    def add_entity(self, name: bytes) -> Entity:
        """Remember a new entity."""
        number = self.free.pop() if self.free else len(self.numbered)
        entity = Entity(number, name)
        entity.charge = ENTITY_BYTES + len(name)
        self.charged_bytes += entity.charge
        self.entities[name] = entity
        if number == len(self.numbered):
            self.numbered.append(entity)
        else:
            self.numbered[number] = entity
        return entity

    # Leaves and fields are numbered apart: both ends meet those of one kind in the same order.

    def _leaf_context(self, key: tuple[bytes, int]) -> int:
        """Return the number of a leaf; some codes use the next one."""
        number = self._leaves.get(key)
        if number is None:
            if len(self._leaves) >= CONTEXTS_MAX:
                return MOVES_CONTEXT  # until the end of the unit, when all is forgotten
            number = self._leaves[key] = 4 * len(self._leaves)
            self.predictor.grow(number + 2)
        return number

    def _field_context(self, key: tuple[bytes, int]) -> int:
        """Return the number of a patched field; some codes use the next one."""
        number = self._fields.get(key)
        if number is None:
            if len(self._fields) >= CONTEXTS_MAX:
                # Numbers and texts stay apart: they are read one after the other.
                return self._fields[b"", _TEXT_KIND if key[1] == _TEXT_KIND else 0]
            number = self._fields[key] = 4 * len(self._fields) + 2
            self.predictor.grow(number + 2)
        return number

    def slots(self, entity: Entity, numbers: Numbers) -> tuple[int, ...]:
        """Return where the numbers of a patch are kept; makes room for new ones."""
        try:
            return numbers.pick(entity.slots)
        except KeyError:
            for context in numbers.contexts:
                if context not in entity.slots:
                    entity.slots[context] = self.numbers.add()
                    self.charge(entity, NUMBER_BYTES)
            return numbers.pick(entity.slots)

    def is_second_sight(self, shape_hash: int) -> bool:
        """Tell whether this was asked before; the writing end alone asks."""
        if self.sights.number(shape_hash) is not None:
            return True
        self.sights.add(shape_hash, shape_hash)
        return False

    def add_shape(self, pieces: tuple[bytes, ...]) -> Shape:
        """Remember a new shape of documents."""
        seen: dict[bytes, int] = {}
        contexts = []
        is_record = pieces[0].startswith(RECORD_MARK)
        for piece in pieces[:-1]:
            # A leaf of a record is known by its path alone: what is before may be a count.
            name = piece.partition(b" ")[2] if is_record else piece
            seen[name] = count = seen.get(name, -1) + 1
            contexts.append(self._leaf_context((name, count)))
        shape = self.shapes[pieces] = Shape(len(self.shape_list), pieces, contexts)
        self.shape_list.append(shape)
        piece_bytes = 2 * _PIECE_BYTES if is_record else _PIECE_BYTES
        self.shape_bytes += sum(map(len, pieces)) + piece_bytes * len(pieces)
        return shape

    def add_patch(self, fields: DeltaShape) -> PatchShape:
        """Remember a new shape of patches."""
        contexts = tuple(
            self._field_context((path, _KINDS[kind % BRANCH_COUNT]))
            for path, kind in zip(fields.paths, fields.kinds, strict=True)
        )
        shape = PatchShape(self.patch_count, fields, contexts)
        self.patch_count += 1
        self.patches.add(fields, shape)
        self.shape_bytes += sum(map(len, fields.paths)) + _PIECE_BYTES * len(fields.paths)
        return shape

    def sign(
        self,
        shape: Shape | PatchShape,
        places: tuple[int, ...],
        codes: tuple[int, ...],
        numbers: Numbers | None,
    ) -> Signature:
        """Remember how a shape's cells changed; see `Signature`."""
        if isinstance(shape, Shape):
            cells = zip(codes, [shape.contexts[at] for at in places], strict=True)
        else:
            cells = zip(
                codes[shape.long_count + shape.double_count :], shape.text_contexts, strict=False
            )
        contexts = tuple(
            number_context(code, context) for code, context in cells if code in HAS_NUMBER
        )
        signature = Signature(shape, places, codes, contexts, numbers)
        key = (numbers is not None, shape.serial, places, codes)
        old = self.signatures.add(key, signature)
        self.signature_cells += len(codes) - (len(old.codes) if old else 0)
        return signature

    def next_offset(self, partition: int) -> int:
        """Return the offset after the last range of a partition."""
        return self.next_offsets.get(partition, 0)

    def keep_offset(self, partition: int, offset: int) -> None:
        """Remember where the last range of a partition ended."""
        if partition in self.next_offsets or len(self.next_offsets) < PARTITIONS_MAX:
            self.next_offsets[partition] = offset

    def keep_document(self, entity: Entity, shape: Shape, leaves: list[bytes]) -> None:
        """Remember the last document of an entity; the list is kept and must not change."""
        if shape.first is None:
            shape.first = leaves
            self.shape_bytes += sum(map(len, leaves))
        shape.last = leaves
        self.last_shape = shape
        is_other = list(map(ne, leaves, shape.first))
        places = compress(count(), is_other)
        kept = b"\0".join(compress(leaves, is_other))
        packed = array("H", places).tobytes()
        grown_bytes = len(kept) + len(packed) - len(entity.leaves) - len(entity.places)
        self.charge(entity, grown_bytes)
        entity.shape, entity.places, entity.leaves = shape, packed, kept

    def keep_text(self, entity: Entity, context: int, text: bytes) -> None:
        """Remember the last text of a field, if it is short enough."""
        if len(text) > NAME_BYTES_MAX:
            return
        old = entity.texts.get(context)
        grown_bytes = len(text) + TEXT_BYTES if old is None else len(text) - len(old)
        if grown_bytes:
            self.charge(entity, grown_bytes)
        entity.texts[context] = text

    def charge_steps(self, entity: Entity, count_before: int) -> None:
        """Charge an entity with the steps that it has beyond so many."""
        if len(entity.steps) > count_before:
            self.charge(entity, NUMBER_BYTES * (len(entity.steps) - count_before))

    def charge(self, entity: Entity, grown_bytes: int) -> None:
        """Charge an entity with what was added to it."""
        entity.charge += grown_bytes
        self.charged_bytes += grown_bytes

    def _trim(self) -> int:
        """Forget entities by lot until the budget is kept; return how many.

        Where all entities change in turn, forgetting the oldest would forget each just before it
        is needed. The lots are drawn from the count of all draws, so both ends draw alike.
        """
        count = 0
        slots: list[int] = []
        while self.charged_bytes > self.budget_bytes and self.entities:
            self._lot = (self._lot * _LOT_FACTOR + _LOT_STEP) & _LOT_MASK
            entity = self.numbered[(self._lot >> 33) % len(self.numbered)]
            if entity is not None:
                del self.entities[entity.name]
                self.numbered[entity.number] = None
                self.free.append(entity.number)
                self.charged_bytes -= entity.charge
                slots += entity.slots.values()
                count += 1
        self.numbers.free(slots)
        return count
