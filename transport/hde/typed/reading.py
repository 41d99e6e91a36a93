"""Readers of Avro records, one a schema: functions that cut what they read."""

from typing import Any, Final

from transport.hde.typed.documents import PIECE_END
from transport.hde.typed.leaves import KINDS, Cut, NotCutError, Reader, read_long, scalar
from transport.hde.typed.scalars import NULL_TEXT

DEPTH_MAX: Final = 64  # of a schema; of a record twice that
TYPES_MAX: Final = 4_096  # of a schema, those that come at several places counted at each


def compile_schema(form: Any) -> Reader | None:
    """Return the reader of a schema in parsing canonical form; None for one too large or deep."""
    try:
        return _Compiler().read(form, b"", 0)
    except NotCutError:
        return None


class _Compiler:
    """Makes the readers of one schema."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()  # records that contain what is compiled now
        self._recursive: dict[str, Reader] = {}
        self._count = 0

    def read(self, form: Any, path: bytes, depth: int, option: bytes = b"") -> Reader:
        """Return the reader of a type.

        Args:
            form: The type.
            path: Where it stands in the record.
            depth: How deep that is.
            option: Number of the other branch, null, if the type is optional.
        """
        self._count += 1
        if self._count > TYPES_MAX or depth > DEPTH_MAX or PIECE_END in path:
            raise NotCutError
        if isinstance(form, str) and form in self._named:
            form = self._named[form]
        if isinstance(form, list):
            return self._union(form, path, depth)
        kind = form if isinstance(form, str) else form["type"]
        if kind in ("record", "error"):
            return self._record(form, path, depth)
        if kind in ("array", "map"):
            key = scalar("string", form, path + b"{}") if kind == "map" else None
            item_path = path + (b"[]" if key is None else b"{}=")
            items = form["items" if key is None else "values"]
            return _blocks(key, self.read(items, item_path, depth + 1))
        if isinstance(form, dict) and "name" in form:
            self._named[form["name"]] = form
        return scalar(kind, form, path, option)

    def _union(self, branches: list[Any], path: bytes, depth: int) -> Reader:
        null = branches.index("null") if "null" in branches else -1
        kind = self._kind(branches[1 - null]) if len(branches) == 2 and null >= 0 else b""  # noqa: PLR2004
        if kind:
            option = b"%d" % null
            value = self.read(branches[1 - null], path, depth + 1, option)
            name = b" %b %b%b" % (path, kind, option)
            return _optional(2 * null, name, value)
        is_alone = len(branches) - (null >= 0) == 1
        return _branches(
            [
                self.read(branch, path if is_alone else b"%b|%d" % (path, at), depth + 1)
                for at, branch in enumerate(branches)
            ]
        )

    def _kind(self, form: Any) -> bytes:
        form = self._named.get(form, form) if isinstance(form, str) else form
        return KINDS.get(form if isinstance(form, str) else form["type"], b"")

    def _record(self, form: Any, path: bytes, depth: int) -> Reader:
        name = form["name"]
        self._named[name] = form
        if name in self._open:
            return self._again(name, form)
        self._open.add(name)
        try:
            readers = [
                self.read(one["type"], b"%b/%b" % (path, one["name"].encode()), depth + 1)
                for one in form["fields"]
            ]
        finally:
            self._open.discard(name)

        def read(cut: Cut, at: int, depth: int) -> int:
            depth += 1
            for field in readers:
                at = field(cut, at, depth)
            return at

        return read

    def _again(self, name: str, form: Any) -> Reader:
        """Return the reader of a record that stands inside itself: its paths begin anew there."""

        def read(cut: Cut, at: int, depth: int) -> int:
            if depth > DEPTH_MAX:
                raise NotCutError
            found = self._recursive.get(name)
            if found is None:
                found = self._recursive[name] = self._record(form, name.encode(), 0)
            return found(cut, at, depth)

        return read


def _branches(readers: list[Reader]) -> Reader:
    def read(cut: Cut, at: int, depth: int) -> int:
        branch, end = read_long(cut.content, at)
        if branch < 0:
            raise NotCutError
        cut.between += cut.content[at:end]
        return readers[branch](cut, end, depth + 1)

    return read


def _optional(null: int, null_name: bytes, value: Reader) -> Reader:
    """Return the reader of an optional scalar; `null` is the byte of that branch."""

    def read(cut: Cut, at: int, depth: int) -> int:
        if cut.content[at] == null:
            cut.add(null_name, NULL_TEXT)
            return at + 1
        return value(cut, at + 1, depth)

    return read


def _blocks(key: Reader | None, item: Reader) -> Reader:
    """Return the reader of an array, or of a map with this reader of its keys."""

    def read(cut: Cut, at: int, depth: int) -> int:
        while True:
            count, end = read_long(cut.content, at)
            if count < 0:  # a block that tells its size, which would change with what is in it
                raise NotCutError
            cut.between += cut.content[at:end]
            at = end
            if not count:
                return at
            cut.count(count)
            for _ in range(count):
                if key is not None:
                    at = key(cut, at, depth)
                at = item(cut, at, depth + 1)

    return read
