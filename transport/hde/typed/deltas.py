"""The fields of a patch, and the bytes around their values."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from transport.hde.typed.avro import longs, prefixed

BRANCH_COUNT: Final = 6
_CACHED_DELTAS_MAX: Final = 64
_CACHED_BYTES_MAX: Final = 4_096


class DeltaShape:
    """Which fields a patch sets, and by what type.

    Args:
        paths: Their paths.
        kinds: Of each its operation * 6 + the branch of its value.

    Attributes:
        template: Avro bytes before, between and after the values, with room for those.
    """

    __slots__ = ("_hash", "kinds", "paths", "template")

    def __init__(self, paths: tuple[bytes, ...], kinds: tuple[int, ...]) -> None:
        self.paths = paths
        self.kinds = kinds
        self._hash = hash((paths, kinds))
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
        """Return the Avro array of these deltas."""
        parts = self.template.copy()
        parts[1::2] = values
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
