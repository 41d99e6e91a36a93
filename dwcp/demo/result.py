"""What the demo found out, and what it looks like while it runs; plain values only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

RegionState = Literal["up", "cut", "down"]


@dataclass(frozen=True, slots=True)
class LinkResult:
    """Bytes that one region sent to another, in three sizes."""

    origin: str
    target: str
    raw_bytes: int
    """The changes as compact JSON."""
    encoded_bytes: int
    """The same after encoding, without frames."""
    wire_bytes: int
    """TCP payload on the link, control and the way back included."""
    kafka_bytes: int = 0
    """The rival: what the origin's Kafka stores of it, zstd batches, for a mirror to carry."""

    @property
    def ratio(self) -> float:
        """Raw bytes to bytes on the wire; 0.0 when nothing was sent."""
        return self.raw_bytes / self.wire_bytes if self.wire_bytes else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the link under the stable keys of `dwcp demo --json`."""
        return {
            "from": self.origin,
            "to": self.target,
            "raw_bytes": self.raw_bytes,
            "encoded_bytes": self.encoded_bytes,
            "wire_bytes": self.wire_bytes,
            "kafka_bytes": self.kafka_bytes,
            "ratio": round(self.ratio, 2),
        }


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The outcome of one run of the demo."""

    converged: bool
    """Whether all regions hold the same, right state."""
    events: int
    """Changes that became durable."""
    entities: int
    """Entities that exist at the end."""
    lost: int
    """Changes that a region should have and does not."""
    duplicates: int
    """Changes that stand twice in a replica topic."""
    events_per_s: float
    """Changes a second, from the first write until all regions were equal."""
    visible_ms_p50: float
    """Median time from a write to its being visible in another region, milliseconds."""
    visible_ms_p99: float
    """The same at the 99th percentile, milliseconds."""
    converge_s: float
    """From the last write (or the healing) until all regions were equal, seconds."""
    broker: str
    """Product and version of the brokers."""
    links: tuple[LinkResult, ...]
    """One for each direction between two regions."""
    differences: tuple[str, ...]
    """The first few differences between regions, for people; empty when converged."""
    cut_s: float
    """How long a region was cut off, seconds; 0.0 for not at all."""
    heal_to_equal_s: float | None
    """From the healing until the cut region had caught up, seconds; None without cut."""
    seconds: float
    """From the first write until the end of the run, seconds."""
    sustained_events_per_s: float
    """Changes a second that came to stand in all regions in the middle of the run."""
    memory_mib: float
    """Most resident memory of brokers, nodes and the demo itself together, MiB."""
    input_name: str
    """Where the changes came from."""

    def to_json(self) -> dict[str, Any]:
        """Return what `dwcp demo --json` prints: keys are added freely and never renamed."""
        values = asdict(self)
        p50, p99 = values.pop("visible_ms_p50"), values.pop("visible_ms_p99")
        return values | {
            "visible_ms": {"p50": p50, "p99": p99},
            "links": [link.to_json() for link in self.links],
            "differences": list(self.differences),
        }


@dataclass(frozen=True, slots=True)
class RegionSnapshot:
    """One region at one moment."""

    name: str
    state: RegionState
    """`cut`: its links are; `down`: it does not answer."""
    applied: int
    """Changes in its state, from all regions."""
    entities: int
    """Entities that it knows."""
    lag: Mapping[str, int]
    """Origin region to the changes (or offsets) of that origin it has not applied yet."""
    changes_per_s: float
    """Changes it applied, a second, of late."""


@dataclass(frozen=True, slots=True)
class DemoSnapshot:
    """The demo at one moment, for the live view."""

    phase: str
    """What is going on, in a word or two."""
    produced: int
    """Changes written so far."""
    total: int | None
    """Changes to write; None when the input does not say."""
    elapsed_s: float
    """Since the first write, seconds."""
    regions: tuple[RegionSnapshot, ...]
    links: tuple[LinkResult, ...]
