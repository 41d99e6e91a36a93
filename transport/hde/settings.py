"""Limits of a flow."""

from dataclasses import dataclass
from typing import Final

from transport.hde.window import LEVEL, WINDOW_LOG

MEMORY_BYTES: Final = 95 << 20  # about the 100 MB that a connection may take, by design


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Limits of a flow; those of the decoding end have to be no smaller.

    Attributes:
        level: zstd level; 0 sends raw.
        window_log: Window size as a power of two.
        is_typed: Use the typed level where it pays.
        memory_bytes: What the typed level may remember, on each end.
        rate_bytes_s: More than that a link is not taken to carry, 0 for no bound; see `choice`.
    """

    level: int = LEVEL
    window_log: int = WINDOW_LOG
    is_typed: bool = True
    memory_bytes: int = MEMORY_BYTES
    rate_bytes_s: float = 0.0
