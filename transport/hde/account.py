"""What a flow's units were, counted from their headers: the same on both ends. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from transport.hde.choice import Why
from transport.hde.unit import FLAG_ANEW, Level, read_unit_header

LEVEL_NAMES = {
    Level.RAW: "raw",
    Level.DICTIONARY: "H1",
    Level.PREFIX: "H2",
    Level.TYPED: "H3 in H4",
    Level.WINDOW: "H4",
    Level.PAGES: "HB",
    Level.SAME: "H0",
}


class Encoded(NamedTuple):
    """A unit, the CPU that it took, why it got its level, and zstd's level (0 if raw)."""

    unit: bytes
    cpu_ns: int
    why: Why
    zstd_level: int


@dataclass(slots=True)
class LevelAccount:
    """Units of one level, and the CPU that they took on this end."""

    units: int = 0
    raw_bytes: int = 0
    encoded_bytes: int = 0
    cpu_ns: int = 0


@dataclass(slots=True)
class FlowAccount:
    """Units of one flow, over all its sessions.

    Attributes:
        key_units: Units that refer to nothing before them: one a session and one a reset.
        dictionary_hits: Units that a dictionary helped.
        baseline_refreshes: Units that name a base.
        nacks: Epochs that were refused.
        forgotten: Entities that had to be forgotten because memory was full.
        window_restarts: Units before which the window was emptied, for another zstd level.
        levels: By level.
        choices: How often units got their level for which reason; empty on the receiving end.
        zstd_levels: Units by zstd's level, raw ones left out; empty on the receiving end.
    """

    key_units: int = 0
    dictionary_hits: int = 0
    baseline_refreshes: int = 0
    nacks: int = 0
    forgotten: int = 0
    window_restarts: int = 0
    levels: dict[Level, LevelAccount] = field(default_factory=dict)
    choices: Counter[Why] = field(default_factory=Counter)
    zstd_levels: Counter[int] = field(default_factory=Counter)

    def note(self, unit: bytes, cpu_ns: int = 0, forgotten: int = 0) -> None:
        """Count a good unit, and its CPU; `forgotten` is how many entities its flow forgot."""
        self.forgotten = max(self.forgotten, forgotten)
        header = read_unit_header(unit)
        one = self.levels.setdefault(Level(header.codec), LevelAccount())
        one.units += 1
        one.raw_bytes += header.raw_bytes
        one.encoded_bytes += len(unit)
        one.cpu_ns += cpu_ns
        self.key_units += header.is_key
        self.dictionary_hits += header.dictionary != 0
        self.baseline_refreshes += header.base != 0
        self.window_restarts += header.flags & FLAG_ANEW != 0

    @property
    def delta_units(self) -> int:
        """Units that refer to something that both ends hold."""
        units = sum(one.units for level, one in self.levels.items() if level is not Level.RAW)
        return units - self.key_units

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        levels = {
            LEVEL_NAMES[level]: {
                "units": one.units,
                "raw_bytes": one.raw_bytes,
                "encoded_bytes": one.encoded_bytes,
                "cpu_s": round(one.cpu_ns / 1e9, 6),
            }
            for level, one in sorted(self.levels.items())
        }
        return {
            "key_units": self.key_units,
            "delta_units": max(0, self.delta_units),
            "dictionary_hits": self.dictionary_hits,
            "baseline_refreshes": self.baseline_refreshes,
            "nacks": self.nacks,
            "forgotten": self.forgotten,
            "window_restarts": self.window_restarts,
            "levels": levels,
            "choices": {why.value: self.choices[why] for why in Why if self.choices[why]},
            "zstd_levels": {
                str(level): self.zstd_levels[level] for level in sorted(self.zstd_levels)
            },
        }
