"""Avro's two building blocks, for many values at once and for one."""

from collections.abc import Sequence
from typing import Final

from transport.hde.typed.integers import varints

_LENGTHS: Final = varints(range(4_096))
_SMALL_END: Final = 4_096
_SMALL: Final = varints(range(-64, _SMALL_END))


def longs(values: Sequence[int]) -> list[bytes]:
    """Return each number as an Avro long."""
    try:
        if min(values, default=0) >= -64:  # noqa: PLR2004 - what the table begins with
            return [_SMALL[value + 64] for value in values]
    except IndexError:
        pass
    return varints(values)


def prefixed(texts: Sequence[bytes]) -> list[bytes]:
    """Return each text as Avro bytes."""
    try:
        return [_LENGTHS[len(text)] + text for text in texts]
    except IndexError:
        lengths = varints([len(text) for text in texts])
        return [length + text for length, text in zip(lengths, texts, strict=True)]


def one_long(value: int) -> bytes:
    """Return a number as an Avro long."""
    if -64 <= value < _SMALL_END:  # noqa: PLR2004 - what the table begins with
        return _SMALL[value + 64]
    return varints((value,))[0]


def one_prefixed(text: bytes) -> bytes:
    """Return a text as Avro bytes."""
    return one_long(len(text)) + text
