"""How data streams are spread over the paths to one node: one step at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Dial(NamedTuple):
    """Open one more stream on a path."""

    path: str


class Retire(NamedTuple):
    """Let one stream end in order."""

    stream: int


def next_step(
    serving: Mapping[str, Sequence[int]], down: frozenset[str], target: int
) -> Dial | Retire | None:
    """Return what brings the streams nearer to where they should be, or None.

    Every path that is up gets at least one stream, and none more than one above another; a path
    that comes back gets its share before another gives one up.

    Args:
        serving: Streams that take frames, by path; every path is named, the first first.
        down: Paths that were tried in vain a moment ago.
        target: How many streams there should be.

    Example:
        >>> next_step({"a": [1, 2], "b": []}, frozenset(), 2)
        Dial(path='b')
        >>> next_step({"a": [1, 2], "b": [3]}, frozenset(), 2)
        Retire(stream=2)
    """
    up = [path for path in serving if path not in down]
    count = sum(len(streams) for streams in serving.values())
    fullest = max(serving, key=lambda path: len(serving[path]))
    if up:
        emptiest = min(up, key=lambda path: len(serving[path]))
        gap = len(serving[fullest]) - len(serving[emptiest])
        if count < max(target, len(up)) or gap > 1 or not serving[emptiest]:
            return Dial(emptiest)
    if count > max(target, len(up), 1):
        return Retire(serving[fullest][-1])
    return None
