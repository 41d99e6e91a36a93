"""The fields of a patch, and the bytes around their values."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from transport.hde.typed.avro import longs, prefixed

BRANCH_COUNT: Final = 6
NULL, LONG, DOUBLE, STRING, BOOLEAN, JSON = range(BRANCH_COUNT)
_GROUPS: Final = ((LONG,), (DOUBLE,), (STRING, JSON), (NULL, BOOLEAN))
_CACHED_DELTAS_MAX: Final = 64
_CACHED_BYTES_MAX: Final = 4_096


Pick = Callable[[Any], tuple[Any, ...]]


def picker(keys: Sequence[int]) -> Pick:
    """Return what picks these items of a tuple or dictionary, always as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    if not keys:
        return lambda _: ()
    (key,) = keys
    return lambda items: (items[key],)


class DeltaShape:
    """Which fields a patch sets, and by what type.

    Args:
        paths: Their paths.
        kinds: Of each its operation * 6 + the branch of its value.

    Attributes:
        groups: Which fields hold longs, doubles, texts, and what has no more than two values.
        template: Avro bytes before, between and after the values, with room for those.
    """

    __slots__ = ("_hash", "_places", "groups", "kinds", "paths", "template")

    def __init__(self, paths: tuple[bytes, ...], kinds: tuple[int, ...]) -> None:
        self.paths = paths
        self.kinds = kinds
        self._hash = hash((paths, kinds))
        branches = [kind % BRANCH_COUNT for kind in kinds]
        self.groups = [
            [at for at, branch in enumerate(branches) if branch in group] for group in _GROUPS
        ]
        self._places = [2 * at + 1 for group in self.groups for at in group]
        self.template = [b"\0"]
        if kinds:
            starts = [
                path + b"".join(longs(divmod(kind, BRANCH_COUNT)))
                for path, kind in zip(prefixed(paths), kinds, strict=True)
            ]
            starts[0] = longs([len(kinds)])[0] + starts[0]
            self.template = [b""] * (2 * len(kinds) + 1)
            self.template[0:-1:2] = starts
            self.template[-1] = b"\0"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, DeltaShape)
            and self.paths == other.paths
            and self.kinds == other.kinds
        )

    def write(self, values: Sequence[bytes]) -> bytes:
        """Return the Avro array of these deltas; values in the order of `groups`."""
        parts = self.template.copy()
        for place, value in zip(self._places, values, strict=True):
            parts[place] = value
        return b"".join(parts)


def delta_shape(paths: tuple[bytes, ...], kinds: tuple[int, ...]) -> DeltaShape:
    """Return a shape; those that are not too large are made once."""
    if len(kinds) > _CACHED_DELTAS_MAX or sum(map(len, paths)) > _CACHED_BYTES_MAX:
        return DeltaShape(paths, kinds)
    return _cached_shape(paths, kinds)


@lru_cache(maxsize=1_024)
def _cached_shape(paths: tuple[bytes, ...], kinds: tuple[int, ...]) -> DeltaShape:
    return DeltaShape(paths, kinds)


NO_DELTAS: Final = delta_shape((), ())
