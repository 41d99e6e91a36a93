"""What bulk objects hold in a simulation: bytes that their label decides."""

from random import Random


def content_of(label: str, size_bytes: int) -> bytes:
    """Return an object's bytes."""
    return Random(label).randbytes(size_bytes)
