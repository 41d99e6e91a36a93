"""Avro records of any schema as a shape and its leaves, like documents.

By its schema a record is cut into *leaves*, its scalars as texts (`scalars`), and the *pieces*
before them. A piece holds, in hex, the bytes between two leaves (counts of arrays and maps,
branches of unions), then the path of the leaf and its kind. So pieces and leaves make the record
again without any schema: `/id l`, `02 /tags[] t`, `00 /price d0`.

The keys of maps are leaves. Null beside one scalar type is a leaf too, any other union part of the
shape. A record that would not be made again byte for byte, or is larger or deeper than is
sensible, is not cut.
"""

import json
from binascii import unhexlify
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastavro.schema import parse_schema, to_parsing_canonical_form

from schemas.errors import BadUnitError
from schemas.registry import HEADER_BYTES, MAGIC
from transport.hde.typed.documents import DOCUMENT_BYTES_MAX
from transport.hde.typed.leaves import Cut, NotCutError, Reader
from transport.hde.typed.memory import LEAVES_MAX, RECORD_MARK
from transport.hde.typed.reading import compile_schema
from transport.hde.typed.scalars import Plan, Write, writer

Parts = tuple[tuple[bytes, ...], list[bytes]]
FindSchema = Callable[[bytes], Any]

_SCHEMAS_MAX: Final = 256
_PLAN_PIECES_MAX: Final = 1 << 16


class RecordCutter:
    """Cuts records whose schemas can be had.

    Args:
        find: Returns a schema, as fastavro takes it, by its CRC-64-AVRO fingerprint (8 bytes, as in
            the header of single object encoding); None if it is not known.
    """

    def __init__(self, find: FindSchema) -> None:
        self._find = find
        self._readers: dict[bytes, Reader | None] = {}
        self._plans: dict[tuple[bytes, ...], Plan] = {}
        self._plan_pieces = 0

    def cut(self, value: bytes) -> Parts | None:
        """Return pieces and leaves of a value in single object encoding, without its header.

        Returns:
            None if its schema is not known or it would not be made again byte for byte.
        """
        if not value.startswith(MAGIC) or not HEADER_BYTES <= len(value) <= DOCUMENT_BYTES_MAX:
            return None
        read = self._reader(value[len(MAGIC) : HEADER_BYTES])
        if read is None:
            return None
        body = value[HEADER_BYTES:]
        cut = Cut(body)
        try:
            if read(cut, 0, 0) != len(body):
                return None
            pieces = cut.end()
            is_same = write_record(self._plan(pieces), cut.leaves) == body
        except (NotCutError, BadUnitError, IndexError):
            return None
        return (pieces, cut.leaves) if is_same else None

    def _reader(self, fingerprint: bytes) -> Reader | None:
        if fingerprint in self._readers:
            return self._readers[fingerprint]
        schema = self._find(fingerprint)
        if schema is None:
            return None
        if len(self._readers) >= _SCHEMAS_MAX:
            self._readers.clear()
        form = json.loads(to_parsing_canonical_form(parse_schema(schema)))
        found = self._readers[fingerprint] = compile_schema(form)
        return found

    def _plan(self, pieces: tuple[bytes, ...]) -> Plan:
        plan = self._plans.get(pieces)
        if plan is None:
            self._plan_pieces += len(pieces)
            if self._plan_pieces > _PLAN_PIECES_MAX:
                self._plans.clear()
                self._plan_pieces = len(pieces)
            plan = self._plans[pieces] = make_plan(pieces)
        return plan


def make_plan(pieces: Sequence[bytes]) -> Plan:
    """Return how to write records of this shape.

    Raises:
        BadUnitError: It is no shape of records.
    """
    if not pieces[0].startswith(RECORD_MARK) or len(pieces) > LEAVES_MAX + 1:
        raise BadUnitError("a record in the shape of a document")
    template: list[bytes] = [b""] * (2 * len(pieces) - 1)
    writers: list[Write] = []
    try:
        for at, piece in enumerate(pieces):
            between, _, rest = piece[0 if at else len(RECORD_MARK) :].partition(b" ")
            template[2 * at] = unhexlify(between)
            if at < len(pieces) - 1:
                writers.append(writer(rest.rpartition(b" ")[2]))
    except ValueError as error:
        raise BadUnitError(f"a shape of records that is none: {error}") from error
    return template, writers


def write_record(plan: Plan, leaves: Sequence[bytes]) -> bytes:
    """Return the record that these leaves make.

    Raises:
        BadUnitError: They are none of this shape.
    """
    template, writers = plan
    parts = template.copy()
    try:
        parts[1::2] = [write(leaf) for write, leaf in zip(writers, leaves, strict=True)]
    except (ValueError, OverflowError) as error:
        raise BadUnitError(f"a leaf that is none: {error}") from error
    return b"".join(parts)
