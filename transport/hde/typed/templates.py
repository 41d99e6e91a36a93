"""Changes that look alike, read by one regular expression each.

Reading Avro field by field costs more than all else. But the changes of a flow repeat a few
layouts: the same fields of the same type in the same region. A *template* is learnt from one such
change; it matches the bytes of the next ones whole and gives what varies. What it gives is checked
(lengths, shortest form of numbers), so that bytes which match are exactly those that we would
write; anything else is read the long way.
"""

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.errors import BadUnitError
from transport.hde.typed.avro import longs, prefixed
from transport.hde.typed.deltas import (
    BOOLEAN,
    BRANCH_COUNT,
    DOUBLE,
    LONG,
    NULL,
    DeltaShape,
    picker,
)
from transport.hde.typed.events import Changes
from transport.hde.typed.integers import read_varints

TEMPLATES_MAX: Final = 64
DELTAS_MAX: Final = 32
_NUMBER: Final = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_NO_SHORT_LENGTH: Final = 0x81  # bits that the length of a text up to 63 bytes has not
_TEXT: Final = rb"([\x00-\x7e].{0,63}?)"
_NUMBER_MAX: Final = 1 << 61
_SIZE: Final = rb"([\x80-\xff]{0,3}[\x00-\x7f])"  # up to the largest unit
_FLAGS: Final = {b"": None, b"\0": False, b"\1": True}
_VALUES: Final = {
    NULL: rb"()",
    LONG: _NUMBER,
    DOUBLE: rb"(.{8})",
    BOOLEAN: rb"([\x00\x01])",
}

Match = Callable[[bytes, int], re.Match[bytes] | None]
Found = tuple["Template", tuple[bytes, ...]]


class Template:
    """One layout of changes: a patch, a document, or neither.

    Args:
        changes: Changes.
        row: One with a hybrid timestamp and no trace.

    Attributes:
        longs: Picks the groups of the longs; so do the others, by `DeltaShape.groups`.
    """

    def __init__(self, changes: Changes, row: int) -> None:
        self.entity_type = changes.entity_type[row]
        self.key_space = changes.key_space[row]
        self.operation = changes.operation[row]
        self.origin_region = changes.origin_region[row]
        self.shape: DeltaShape = changes.shapes[row]
        self.has_base = changes.base_version[row] is not None
        middle = b"".join((*prefixed([self.entity_type, self.key_space]), *longs([self.operation])))
        consts = self.shape.template[0::2]
        parts = [re.escape(consts[0])]
        for const, kind in zip(consts[1:], self.shape.kinds, strict=True):
            # Atomic: a text that went up to its end is never tried longer, so time is linear.
            value = _VALUES.get(kind % BRANCH_COUNT, _TEXT)
            parts.append(b"".join((b"(?>", value, re.escape(const), b")")))
        parts.append(rb"\x02" + _NUMBER if self.has_base else rb"\x00")
        parts.append(rb"\x02" + _NUMBER)
        parts.append(re.escape(b"".join((*prefixed([self.origin_region]), b"\0"))))
        rest = b"".join(parts)
        self._document: Match | None = None
        if changes.document[row] is None:
            rest = re.escape(middle + b"\0") + rest
        else:
            self._document = re.compile(re.escape(middle + b"\2") + _SIZE, re.DOTALL).match
        self._rest: Match = re.compile(rest, re.DOTALL).match
        groups = self.shape.groups
        self.longs, self.doubles, self.texts, self.flags = map(picker, groups)
        self.has_flags = bool(groups[-1])

    def match(self, content: bytes, start: int) -> tuple[re.Match[bytes], bytes | None] | None:
        """Match what stands behind both ids: returns what varies, and the document."""
        document = None
        if self._document is not None:
            head = self._document(content, start)
            if head is None:
                return None
            size = _read_numbers(head.groups())
            if size is None or size[0] < 0:
                return None
            document = content[head.end() : head.end() + size[0]]
            start = head.end() + size[0]
        match = self._rest(content, start)
        return None if match is None else (match, document)


class Templates:
    """The layouts seen lately, the last one first."""

    def __init__(self) -> None:
        self._templates: list[Template] = []

    def learn(self, changes: Changes) -> None:
        """Learn the layouts of changes, those that are to be learnt."""
        known: set[tuple[Any, ...]] = set()
        for row, shape in enumerate(changes.shapes):
            layout = (
                changes.entity_type[row],
                changes.key_space[row],
                changes.operation[row],
                changes.origin_region[row],
                changes.base_version[row] is None,
                changes.document[row] is None,
                shape,
            )
            if layout in known or len(known) == TEMPLATES_MAX or len(shape.kinds) > DELTAS_MAX:
                continue
            if changes.trace_id[row] is None and changes.hybrid_timestamp[row] is not None:
                known.add(layout)
                self._templates.insert(0, Template(changes, row))
        del self._templates[TEMPLATES_MAX:]

    def read(self, content: bytes, start: int, count: int) -> Changes | None:
        """Read changes that stand one after the other; None if some fit no template."""
        found: list[Found] = []
        changes = Changes()
        end = len(content)
        for _ in range(count):
            change_start = start + 1 + content[start] // 2 if start < end else end
            middle = change_start + 1 + content[change_start] // 2 if change_start < end else end
            if middle >= end or (content[start] | content[change_start]) & _NO_SHORT_LENGTH:
                return None
            template, match, document = self._match(content, middle)
            if template is None or match is None:
                return None
            changes.change_id.append(content[start + 1 : change_start])
            changes.entity_id.append(content[change_start + 1 : middle])
            changes.document.append(document)
            found.append((template, match.groups()))
            start = match.end()
        if content[start:] != b"\0":
            return None
        return changes if _fill(changes, found) else None

    def _match(
        self, content: bytes, start: int
    ) -> tuple[Template, re.Match[bytes], bytes | None] | tuple[None, None, None]:
        templates = self._templates
        for at, template in enumerate(templates):
            match = template.match(content, start)
            if match is not None:
                if at:
                    templates.insert(0, templates.pop(at))
                return template, *match
        return None, None, None


def _fill(changes: Changes, found: Sequence[Found]) -> bool:
    """Fill what the patterns gave into the other columns; False if not all is usual."""
    count = len(found)
    longs: list[bytes] = []
    doubles: list[bytes] = []
    texts: list[bytes] = []
    for template, groups in found:
        longs += template.longs(groups)
        doubles += template.doubles(groups)
        texts += template.texts(groups)
        if template.has_flags:
            changes.flags += [_FLAGS[one] for one in template.flags(groups)]
    stamps = [groups[-1] for _, groups in found]
    bases = [groups[-2] for template, groups in found if template.has_base]
    numbers = _read_numbers([*longs, *stamps, *bases])
    if numbers is None or any(text[0] != 2 * len(text) - 2 for text in texts):
        return False
    templates = [template for template, _ in found]
    base = iter(numbers[len(longs) + count :])
    changes.longs = numbers[: len(longs)]
    changes.doubles = list(struct.unpack(f"<{len(doubles)}d", b"".join(doubles)))
    changes.texts = [text[1:] for text in texts]
    changes.entity_type = [template.entity_type for template in templates]
    changes.key_space = [template.key_space for template in templates]
    changes.operation = [template.operation for template in templates]
    changes.origin_region = [template.origin_region for template in templates]
    changes.shapes = [template.shape for template in templates]
    changes.base_version = [next(base) if one.has_base else None for one in templates]
    changes.hybrid_timestamp = list(numbers[len(longs) : len(longs) + count])
    changes.trace_id = [None] * count
    return True


def _read_numbers(column: Sequence[bytes]) -> list[int] | None:
    """Return numbers; None if one is not written as shortly as can be, or is beyond use."""
    try:
        numbers = read_varints(b"".join(column), is_shortest=True)
    except BadUnitError:
        return None
    return numbers if min(numbers) > -_NUMBER_MAX and max(numbers) < _NUMBER_MAX else None
