"""Patches that look alike, read by one regular expression each.

Reading Avro field by field costs more than all else. But the changes of a flow repeat a few
layouts: the same fields of the same type in the same region. A *template* is learnt from one such
change; it matches the bytes of the next ones whole and gives what varies. What it gives is checked
(lengths, shortest form of numbers), so that bytes which match are exactly those that we would
write; anything else is read the long way.
"""

import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from transport.hde.typed.avro import longs, prefixed
from transport.hde.typed.deltas import BRANCH_COUNT, DeltaShape
from transport.hde.typed.events import (
    BOOLEAN,
    DOUBLE,
    LONG,
    NULL,
    Changes,
    Value,
)
from transport.hde.typed.integers import read_varints

TEMPLATES_MAX: Final = 16
DELTAS_MAX: Final = 32
_DOUBLE: Final = struct.Struct("<d")
_NUMBER: Final = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_NO_SHORT_LENGTH: Final = 0x81  # bits that the length of a text up to 63 bytes has not
_TEXT: Final = rb"([\x00-\x7e].{0,63}?)"
_NUMBER_MAX: Final = 1 << 61
_VALUES: Final = {
    NULL: rb"()",
    LONG: _NUMBER,
    DOUBLE: rb"(.{8})",
    BOOLEAN: rb"([\x00\x01])",
}


class _Row(NamedTuple):
    change_id: bytes
    entity_id: bytes
    groups: Sequence[bytes]


class Template:
    """One layout of patches.

    Args:
        changes: Changes.
        row: One that is a patch with a hybrid timestamp and no trace.

    Attributes:
        match: Of the pattern behind both ids; each group is one thing that varies.
    """

    def __init__(self, changes: Changes, row: int) -> None:
        self.entity_type = changes.entity_type[row]
        self.key_space = changes.key_space[row]
        self.operation = changes.operation[row]
        self.origin_region = changes.origin_region[row]
        self.shape: DeltaShape = changes.shapes[row]
        self.has_base = changes.base_version[row] is not None
        middle = (*prefixed([self.entity_type, self.key_space]), *longs([self.operation]), b"\0")
        parts = [re.escape(b"".join(middle))]
        consts = self.shape.template[0::2]
        parts.append(re.escape(consts[0]))
        for const, kind in zip(consts[1:], self.shape.kinds, strict=True):
            # Atomic: a text that went up to its end is never tried longer, so time is linear.
            value = _VALUES.get(kind % BRANCH_COUNT, _TEXT)
            parts.append(b"".join((b"(?>", value, re.escape(const), b")")))
        parts.append(rb"\x02" + _NUMBER if self.has_base else rb"\x00")
        parts.append(rb"\x02" + _NUMBER)
        parts.append(re.escape(b"".join((*prefixed([self.origin_region]), b"\0"))))
        self.match = re.compile(b"".join(parts), re.DOTALL).match

    def columns(self, rows: Sequence[_Row]) -> Changes | None:
        """Turn what the pattern gave for some changes into columns; None if not all is usual."""
        count = len(rows)
        columns = list(zip(*[row.groups for row in rows], strict=True))
        values = [
            _read_values(kind % BRANCH_COUNT, column)
            for kind, column in zip(self.shape.kinds, columns, strict=False)
        ]
        stamps = _read_numbers(columns[-1])
        bases = _read_numbers(columns[-2]) if self.has_base else [None] * count
        if stamps is None or bases is None:
            return None
        if any(column is None for column in values):
            return None
        return Changes(
            [row.change_id for row in rows],
            [row.entity_id for row in rows],
            [self.entity_type] * count,
            [self.key_space] * count,
            [self.operation] * count,
            [None] * count,
            list(bases),
            list(stamps),
            [self.origin_region] * count,
            [None] * count,
            [self.shape] * count,
            [value for row in zip(*values, strict=True) for value in row],
        )


class Templates:
    """The layouts seen lately, the last one first."""

    def __init__(self) -> None:
        self._templates: list[Template] = []

    def learn(self, changes: Changes, row: int) -> None:
        """Learn the layout of one row, if it is one to be learnt."""
        shape = changes.shapes[row]
        is_patch = 0 < len(shape.kinds) <= DELTAS_MAX and changes.document[row] is None
        if not is_patch or changes.trace_id[row] or changes.hybrid_timestamp[row] is None:
            return
        self._templates.insert(0, Template(changes, row))
        del self._templates[TEMPLATES_MAX:]

    def read(self, content: bytes, start: int, count: int) -> Changes | None:
        """Read changes that stand one after the other; None if some fit no template."""
        found: list[tuple[Template, _Row]] = []
        end = len(content)
        for _ in range(count):
            change_start = start + 1 + content[start] // 2 if start < end else end
            middle = change_start + 1 + content[change_start] // 2 if change_start < end else end
            if middle >= end or (content[start] | content[change_start]) & _NO_SHORT_LENGTH:
                return None
            template, match = self._match(content, middle)
            if template is None or match is None:
                return None
            ids = content[start + 1 : change_start], content[change_start + 1 : middle]
            found.append((template, _Row(*ids, match.groups())))
            start = match.end()
        if content[start:] != b"\0":
            return None
        return _columns(found)

    def _match(
        self, content: bytes, start: int
    ) -> tuple[Template, re.Match[bytes]] | tuple[None, None]:
        templates = self._templates
        for at, template in enumerate(templates):
            match = template.match(content, start)
            if match is not None:
                if at:
                    templates.insert(0, templates.pop(at))
                return template, match
        return None, None


def _columns(found: Sequence[tuple[Template, _Row]]) -> Changes | None:
    """Join the columns of all templates in the order of the changes."""
    groups: dict[Template, list[_Row]] = {}
    for template, row in found:
        groups.setdefault(template, []).append(row)
    if len(groups) == 1:
        ((template, rows),) = groups.items()
        return template.columns(rows)
    parts = {template: template.columns(rows) for template, rows in groups.items()}
    if any(part is None for part in parts.values()):
        return None
    rows_of = {template: part.rows() for template, part in parts.items() if part is not None}
    result = Changes()
    for template, _ in found:
        result.extend(next(rows_of[template]))
    return result


def _read_values(branch: int, column: Sequence[bytes]) -> Sequence[Value] | None:
    if branch == LONG:
        return _read_numbers(column)
    if branch == DOUBLE:
        return [_DOUBLE.unpack(one)[0] for one in column]
    if branch == BOOLEAN:
        return [one == b"\1" for one in column]
    return [None] * len(column) if branch == NULL else _read_texts(column)


def _read_texts(column: Sequence[bytes]) -> list[bytes] | None:
    """Return texts without their lengths; None if one is not as long as it says."""
    if any(text[0] != 2 * len(text) - 2 for text in column):
        return None
    return [text[1:] for text in column]


def _read_numbers(column: Sequence[bytes]) -> list[int] | None:
    """Return numbers; None if one is not written as shortly as can be, or is beyond use."""
    if any(one[-1] == 0 and len(one) > 1 for one in column):
        return None
    numbers = read_varints(b"".join(column))
    return numbers if min(numbers) > -_NUMBER_MAX and max(numbers) < _NUMBER_MAX else None
