"""Puts frames of many data streams together again: the receiving half of AMST.

Units leave in order per flow, whatever order their frames came in; chunks of objects go to their
place. What a flow may buffer is bounded by what was granted; a frame met again is counted and
dropped. `report` says what is here, for the sender to forget.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.errors import CreditExceededError, UnexpectedMessageError
from transport.amst.decoder import Payload
from transport.amst.limits import FRAMES_AHEAD_MAX
from transport.amst.objects import IncomingObject
from transport.amst.ranges import Range, RangeSet
from transport.frame import FLAG_LAST, UNIT_FRAME_BYTES_MAX, FrameType, Header

RANGES_MAX: Final = 64  # in one report; the others follow


class FlowLimits(NamedTuple):
    """What one flow of units may need: bytes ahead of their turn, and the largest unit."""

    window_bytes: int
    unit_bytes_max: int


class WholeUnit(NamedTuple):
    """A unit whose frames are all here, in its turn."""

    flow: int
    payload: Payload


class FlowReport(NamedTuple):
    """What of a flow is here: all before `before`, and `ranges` behind it."""

    flow: int
    before: int
    ranges: tuple[Range, ...]


class _UnitFlow:
    def __init__(self, flow: int, limits: FlowLimits) -> None:
        self._flow = flow
        self._limits = limits
        self.next = 0
        self._ahead: dict[int, tuple[int, Payload]] = {}
        self._ahead_bytes = 0
        self._parts: list[Payload] = []
        self._parts_bytes = 0

    def land(self, header: Header, payload: Payload) -> list[WholeUnit] | None:
        """Take a frame and return the units it completes; None when it was here before."""
        sequence = header.sequence
        if sequence < self.next or sequence in self._ahead:
            return None
        if sequence - self.next >= FRAMES_AHEAD_MAX:
            raise CreditExceededError(
                f"flow {self._flow}: frame {sequence} while {self.next} is awaited, "
                f"{FRAMES_AHEAD_MAX:,} may be under way"
            )
        self._ahead[sequence] = (header.flags, payload)
        self._ahead_bytes += len(payload)
        if sequence == self.next:
            return self._deliver()
        if self._ahead_bytes > self._limits.window_bytes + UNIT_FRAME_BYTES_MAX:
            raise CreditExceededError(
                f"flow {self._flow}: {self._ahead_bytes:,} bytes wait for frame {self.next}, "
                f"{self._limits.window_bytes:,} may"
            )
        return []

    def report(self) -> FlowReport:
        ranges = RangeSet((sequence, sequence + 1) for sequence in sorted(self._ahead))
        return FlowReport(self._flow, self.next, tuple(ranges)[:RANGES_MAX])

    def _deliver(self) -> list[WholeUnit]:
        units: list[WholeUnit] = []
        while (found := self._ahead.pop(self.next, None)) is not None:
            flags, payload = found
            self.next += 1
            self._ahead_bytes -= len(payload)
            self._parts.append(payload)
            self._parts_bytes += len(payload)
            if self._parts_bytes > self._limits.unit_bytes_max:
                raise CreditExceededError(
                    f"flow {self._flow}: a unit of more than {self._parts_bytes:,} encoded bytes"
                )
            if flags & FLAG_LAST:
                # A unit of one frame is not copied: most are.
                whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                units.append(WholeUnit(self._flow, whole))
                self._parts.clear()
                self._parts_bytes = 0
        return units


class Reassembler:
    """The receiving half of all flows of one session.

    Args:
        flows: Limits of the flows of units, by flow id; others are refused.

    Attributes:
        duplicates: Frames that were here before.
    """

    def __init__(self, flows: Mapping[int, FlowLimits]) -> None:
        self._flows = {flow: _UnitFlow(flow, limits) for flow, limits in flows.items()}
        self._objects: dict[int, IncomingObject] = {}
        self._past_objects: set[int] = set()
        self._dirty: set[int] = set()
        self.duplicates = 0

    def open_object(self, flow: int, incoming: IncomingObject) -> None:
        """Take chunks of an object under a flow id.

        Raises:
            UnexpectedMessageError: The id is taken.
        """
        if flow in self._flows or flow in self._objects or flow in self._past_objects:
            raise UnexpectedMessageError(f"flow {flow} was offered before")
        self._objects[flow] = incoming

    def close_object(self, flow: int) -> None:
        """Drop later chunks of an object; they may still be under way."""
        if self._objects.pop(flow, None) is not None:
            self._past_objects.add(flow)

    def object(self, flow: int) -> IncomingObject | None:
        """Return the object that comes under a flow id."""
        return self._objects.get(flow)

    def place(self, stream: int, header: Header) -> memoryview | None:
        """Return where a large payload goes while it is read, or None for a buffer of its own."""
        incoming = self._objects.get(header.flow)
        if header.type is not FrameType.CHUNK or incoming is None:
            return None
        return incoming.place((self, stream), header.sequence, header.length)

    def lose_stream(self, stream: int) -> None:
        """Forget what a stream that ended was about to write."""
        for incoming in self._objects.values():
            incoming.give_up((self, stream))

    def land(self, stream: int, header: Header, payload: Payload) -> list[WholeUnit]:
        """Take a checked frame and return the units that are whole and in their turn now.

        Raises:
            UnexpectedMessageError: A frame of a flow that is not there.
            CreditExceededError: More than was granted.
        """
        if header.type is FrameType.UNIT and header.flow in self._flows:
            units = self._flows[header.flow].land(header, payload)
            self._dirty.add(header.flow)
        elif header.type is FrameType.CHUNK and header.flow in self._objects:
            incoming = self._objects[header.flow]
            units = [] if incoming.land((self, stream), header, payload) else None
            self._dirty.add(header.flow)
        elif header.type is FrameType.CHUNK and header.flow in self._past_objects:
            units = None
        else:
            raise UnexpectedMessageError(f"{header.type.name} of flow {header.flow} as data")
        if units is None:
            self.duplicates += 1
            return []
        return units

    def report(self) -> list[FlowReport]:
        """Return what changed since the last report."""
        flows = [flow for flow in sorted(self._dirty) if flow not in self._past_objects]
        self._dirty.clear()
        return [
            self._flows[flow].report() if flow in self._flows else self._report_object(flow)
            for flow in flows
        ]

    def _report_object(self, flow: int) -> FlowReport:
        ranges = list(self._objects[flow].held)
        before = ranges[0][1] if ranges and ranges[0][0] == 0 else 0
        return FlowReport(flow, before, tuple(r for r in ranges if r[0] >= before)[-RANGES_MAX:])
