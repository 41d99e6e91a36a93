"""Pairs of an old and a new copy, made from a seed, for measuring blobs.

The image is meant to be like memory: a quarter of its pages zero, nearly half of them repetitive,
the rest random; one page in twenty is dirty, most of those in a few places only.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from schemas.errors import ConfigError

SNAPSHOT_KIB: Final = (128, 256, 512, 1_024, 2_048)
IMAGE_BYTES: Final = 64 << 20
_PAGE_BYTES: Final = 4_096
_EDIT_COUNT: Final = 8
_DIRTY_SHARE: Final = 0.05
_REWRITTEN_SHARE: Final = 0.05
_ZERO_SHARE, _REPETITIVE_SHARE = 0.25, 0.45
_STATES: Final = ("up", "down", "unknown")
_SHIFT: Final = bytes(range(250)) * 4


class Pair(NamedTuple):
    """An object and the copy that the peer has; `old` is empty when it has none."""

    name: str
    old: bytes
    new: bytes


def made_pairs(seed: int = 1, image_bytes: int = IMAGE_BYTES) -> Iterator[Pair]:
    """Yield all pairs of the measurement, one in memory at a time."""
    for size_kib in SNAPSHOT_KIB:
        yield _snapshot(size_kib, random.Random(f"snapshot {size_kib} {seed}"))
    yield from _images(image_bytes, seed)
    yield Pair("random", b"", np.random.default_rng(seed).bytes(image_bytes))


def files_pair(old: str, new: str) -> Pair:
    """Read a pair from two files.

    Raises:
        ConfigError: One cannot be read.
    """
    contents = []
    for field, path in (("old", old), ("new", new)):
        try:
            contents.append(Path(path).read_bytes())
        except OSError as error:
            remedy = f"give a file that can be read ({error.strerror or error})"
            raise ConfigError(field, path, remedy) from error
    return Pair(Path(new).name, *contents)


def _snapshot(size_kib: int, dice: random.Random) -> Pair:
    """Make a list of devices as JSON lines, and edit a few of them."""
    lines: list[str] = []
    size_bytes = 0
    while size_bytes < size_kib * 1_024:
        lines.append(json.dumps(_device(len(lines), dice)))
        size_bytes += len(lines[-1]) + 1
    old = "\n".join(lines)
    for _ in range(_EDIT_COUNT):
        at = dice.randrange(len(lines))
        edited = json.loads(lines[at]) | {"links": dice.randrange(99), "state": "down"}
        lines[at] = json.dumps(edited)
    return Pair(f"snapshot {size_kib:,} KiB", old.encode(), "\n".join(lines).encode())


def _device(number: int, dice: random.Random) -> dict[str, Any]:
    return {
        "id": f"{dice.getrandbits(64):016x}",
        "name": f"node-{number}",
        "lat": dice.random() * 90,
        "lon": dice.random() * 180,
        "links": dice.randrange(9),
        "state": dice.choice(_STATES),
    }


def _images(size_bytes: int, seed: int) -> Iterator[Pair]:
    dice = np.random.default_rng(seed)
    page_count = size_bytes // _PAGE_BYTES
    pages = np.zeros((page_count, _PAGE_BYTES), np.uint8)
    kinds = dice.random(page_count)
    for at in np.flatnonzero(kinds >= _ZERO_SHARE):
        if kinds[at] < _ZERO_SHARE + _REPETITIVE_SHARE:
            pages[at] = np.tile(dice.integers(0, 256, 64, np.uint8), _PAGE_BYTES // 64)
            _scribble(pages[at], 700, dice)
        else:
            pages[at] = dice.integers(0, 256, _PAGE_BYTES, np.uint8)
    old = pages.tobytes()
    for at in dice.choice(page_count, int(page_count * _DIRTY_SHARE), replace=False):
        if dice.random() < _REWRITTEN_SHARE:
            pages[at] = dice.integers(0, 256, _PAGE_BYTES, np.uint8)
        else:
            _scribble(pages[at], int(dice.integers(8, 128)), dice)
    new = pages.tobytes()
    mib = size_bytes >> 20
    yield Pair(f"image {mib} MiB", old, new)
    middle = len(new) // 3
    yield Pair(f"image {mib} MiB, shifted", old, new[:middle] + _SHIFT + new[middle:])


def _scribble(page: "np.ndarray[Any, np.dtype[np.uint8]]", count: int, dice: Any) -> None:
    """Overwrite so many bytes of a page, anywhere."""
    page[dice.integers(0, _PAGE_BYTES, count)] = dice.integers(0, 256, count, np.uint8)
