"""Which frame a data stream sends next, and what becomes of it: the sending half of AMST.

Invariants:

- a frame is kept until it is reported, and sent again only when every stream that held it died, or
  as a copy on another stream when it is overdue, the next copy after twice the time;
- what is reported is never sent again;
- a flow's frames under way are bounded in bytes and in number, so the receiver's buffer is, too;
- a stream that retires takes nothing more and may be closed when it holds nothing.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import UnexpectedMessageError
from transport.amst.flow import OutgoingFlow
from transport.amst.frame_size import FrameSize
from transport.amst.limits import (
    CONTROL_STREAM,
    FRAMES_AHEAD_MAX,
    URGENT_BYTES_MAX,
    Counters,
    SchedulerLimits,
)
from transport.amst.piece import Buffer, Piece
from transport.amst.ranges import Range, RangeSet
from transport.amst.traffic import DEFAULT_SHARES, Shares, Traffic
from transport.frame import FLAG_LAST, FrameType

_SMOOTHING: Final = 8  # as RFC 6298 smooths round trips


@dataclass(slots=True)
class _Stream:
    held: dict[Piece, None] = field(default_factory=dict)  # in the order they were taken
    heard_ns: int = 0
    is_retiring: bool = False


class SendScheduler:
    """The sending half of all flows of one session.

    Args:
        limits: Sizes and times.
        shares: Weights of the classes that are not strict.

    Attributes:
        counters: Bytes by class.
        queue_bytes: Bytes that wait to be taken, by class.
        frame_size: Of units.
        delivery_ns: Smoothed time from taking a frame to its report; 0 before the first.
    """

    def __init__(
        self,
        limits: SchedulerLimits | None = None,
        shares: Mapping[Traffic, int] = DEFAULT_SHARES,
    ) -> None:
        self.limits = limits or SchedulerLimits()
        self.shares = Shares(shares)
        self.counters = Counters()
        self.queue_bytes = dict.fromkeys(Traffic, 0)
        self.delivery_ns = 0
        self.frame_size = FrameSize()
        self._queues: dict[Traffic, deque[Piece]] = {traffic: deque() for traffic in Traffic}
        self._copies: list[Piece] = []
        self._out: dict[Piece, None] = {}  # all flows' frames under way, longest ago first
        self._flows: dict[int, OutgoingFlow] = {}
        self._streams: dict[int, _Stream] = {}

    @property
    def waiting_bytes(self) -> int:
        """What waits to be taken, of all classes."""
        return sum(self.queue_bytes.values())

    @property
    def has_room(self) -> bool:
        """Tell whether something may be submitted now."""
        return self.waiting_bytes < self.limits.queue_bytes_max

    @property
    def is_drained(self) -> bool:
        """Tell whether all units are reported; objects go on in the next session."""
        return not any(f.unreported_count for f in self._flows.values() if not f.is_object)

    def open_flow(self, flow: int, window_bytes: int) -> None:
        """Begin a flow of units with at most about `window_bytes` unreported."""
        assert flow not in self._flows, f"flow {flow} is open"
        self._flows[flow] = OutgoingFlow(window_bytes)

    def submit(self, flow: int, traffic: Traffic, unit: Buffer) -> None:
        """Queue one unit; flows keep their order, classes do not wait for each other."""
        state = self._flows[flow]
        most = self.frame_size.payload_bytes
        for start in range(0, max(1, len(unit)), most):
            end = start + most
            flags = FLAG_LAST if end >= len(unit) else 0
            sequence = state.next_sequence
            state.next_sequence += 1
            payload = unit if flags and not start else memoryview(unit)[start:end]
            header = (FrameType.UNIT, flags, flow, sequence)
            self._enqueue(Piece(header, traffic, payload, sequence + 1))
            state.unreported_count += 1
        self.counters.submitted[traffic] += len(unit)

    def open_object(self, flow: int, size_bytes: int, pieces: Iterable[Piece]) -> None:
        """Queue the chunks that a peer lacks of an object; in any order they arrive."""
        assert flow not in self._flows, f"flow {flow} is open"
        state = self._flows[flow] = OutgoingFlow(
            size_bytes, is_object=True, next_sequence=size_bytes
        )
        for piece in pieces:
            state.unreported_count += 1
            self.counters.submitted[piece.traffic] += len(piece)
            self._enqueue(piece)

    def close_flow(self, flow: int) -> None:
        """Forget a flow: what waits is not sent, what is under way is not asked about again."""
        self._flows.pop(flow, None)
        waiting = [piece for queue in self._queues.values() for piece in queue]
        for piece in (*waiting, *list(self._out)):
            if piece.flow == flow and not piece.is_reported:
                self._settle(piece)

    def is_flow_done(self, flow: int) -> bool:
        """Tell whether all that was submitted to a flow is reported."""
        return not self._flows[flow].unreported_count

    def open_stream(self, stream: int, now_ns: int) -> None:
        """Let a data stream take frames."""
        assert stream not in self._streams, f"stream {stream} is open"
        self._streams[stream] = _Stream(heard_ns=now_ns)

    def retire_stream(self, stream: int) -> None:
        """Give a stream nothing more; `may_close` says when it is done."""
        if stream in self._streams:
            self._streams[stream].is_retiring = True

    def may_close(self, stream: int) -> bool:
        """Tell whether a stream retires and all it took is reported."""
        state = self._streams.get(stream)
        return state is not None and state.is_retiring and not state.held

    def lose_stream(self, stream: int) -> None:
        """Forget a stream that closed or died; what only it held goes to the head of the queue."""
        state = self._streams.pop(stream, None)
        held = list(state.held) if state is not None else []
        for piece in reversed(held):
            piece.holders.discard(stream)
            if not piece.holders and not piece.is_queued:
                self._out.pop(piece, None)
                piece.copies = 0
                self._enqueue(piece, at_head=True)

    def take(self, stream: int, now_ns: int) -> Piece | None:
        """Return the next frame for a data stream that is free, or None when there is none."""
        state = self._streams.get(stream)
        if state is None or state.is_retiring:
            return None
        if (piece := self._take_copy(stream)) is None:
            waiting = [traffic for traffic, queue in self._queues.items() if queue]
            for traffic in self.shares.order(waiting):
                if (piece := self._pop(traffic)) is not None:
                    break
            else:
                return None
        return self._hand_over(piece, stream, now_ns)

    def take_urgent(self, now_ns: int) -> Piece | None:
        """Return a small frame of a strict class for the control connection, or None."""
        if CONTROL_STREAM not in self._streams:
            self.open_stream(CONTROL_STREAM, now_ns)
        for traffic in (Traffic.CONTROL, Traffic.LOG):
            queue = self._queues[traffic]
            is_small = bool(queue) and len(queue[0]) <= URGENT_BYTES_MAX
            if is_small and (piece := self._pop(traffic)) is not None:
                return self._hand_over(piece, CONTROL_STREAM, now_ns)
        return None

    def on_report(self, flow: int, before: int, ranges: Iterable[Range], now_ns: int) -> None:
        """Take the peer's word for what it received: all before `before`, and `ranges`.

        Raises:
            UnexpectedMessageError: It names what was never there.
        """
        ranges = list(ranges)
        if (state := self._flows.get(flow)) is None:
            return  # of a flow that was closed meanwhile
        for start, end in [(0, before), *ranges]:
            if not 0 <= start <= end <= state.next_sequence:
                raise UnexpectedMessageError(
                    f"flow {flow}: received [{start}, {end}), it has {state.next_sequence}"
                )
        held = RangeSet([(0, before), *ranges])
        for piece in [p for p in state.out.values() if held.covers(p.sequence, p.end)]:
            if not state.is_object:
                state.early[piece.sequence] = len(piece)
                state.early_bytes += len(piece)
            self._on_reported(piece, now_ns)
        state.move_base(before)

    def poll(self, now_ns: int) -> list[int]:
        """Queue copies of overdue frames; return streams to give up. Call it now and then."""
        self.frame_size.observe(sum(self.counters.reported.values()), now_ns)
        if len(self._streams) > 1:
            overdue_ns = max(self.limits.overdue_ms * 1_000_000, 3 * self.delivery_ns)
            is_tail = not any(self.queue_bytes.values())
            for piece in self._out:
                if now_ns - piece.sent_ns < overdue_ns:
                    break
                is_due = now_ns - piece.sent_ns >= overdue_ns << piece.copies
                if is_due and (is_tail or piece.traffic is not Traffic.BULK):
                    piece.copies += 1
                    self._copies.append(piece)
        stall_ns = self.limits.stall_ms * 1_000_000
        return [
            stream
            for stream, state in self._streams.items()
            if state.held
            and now_ns - max(state.heard_ns, next(iter(state.held)).sent_ns) > stall_ns
        ]

    def _enqueue(self, piece: Piece, *, at_head: bool = False) -> None:
        piece.is_queued = True
        queue = self._queues[piece.traffic]
        (queue.appendleft if at_head else queue.append)(piece)
        self.queue_bytes[piece.traffic] += len(piece)

    def _take_copy(self, stream: int) -> Piece | None:
        self._copies = [
            piece
            for piece in self._copies
            if not piece.is_reported and len(piece.holders) <= piece.copies
        ]
        for at, piece in enumerate(self._copies):
            if stream not in piece.holders and not piece.is_queued:
                return self._copies.pop(at)
        return None

    def _pop(self, traffic: Traffic) -> Piece | None:
        queue = self._queues[traffic]
        while queue and queue[0].is_reported:
            queue.popleft()
        if not queue:
            return None
        piece = queue[0]
        flow = self._flows[piece.flow]
        if piece.takes == 0 and not flow.is_object:
            is_over = flow.kept_bytes + len(piece) > flow.window_bytes
            is_ahead = piece.sequence - flow.base >= FRAMES_AHEAD_MAX
            if is_ahead or (is_over and flow.unreported_bytes):
                return None  # a report lets it go on
        queue.popleft()
        piece.is_queued = False
        self.queue_bytes[traffic] -= len(piece)
        return piece

    def _hand_over(self, piece: Piece, stream: int, now_ns: int) -> Piece:
        size = len(piece)
        flow = self._flows[piece.flow]
        if piece.sequence not in flow.out:
            flow.out[piece.sequence] = piece
            flow.unreported_bytes += size
        else:
            self.counters.again[piece.traffic] += size
        self._out.pop(piece, None)
        self._out[piece] = None
        piece.takes += 1
        piece.sent_ns = now_ns
        piece.holders.add(stream)
        self._streams[stream].held[piece] = None
        self.shares.charge(piece.traffic, size)
        self.counters.sent[piece.traffic] += size
        return piece

    def _on_reported(self, piece: Piece, now_ns: int) -> None:
        for stream in piece.holders:
            self._streams[stream].heard_ns = now_ns
        if piece.takes == 1:
            error_ns = now_ns - piece.sent_ns - self.delivery_ns
            self.delivery_ns += error_ns // (_SMOOTHING if self.delivery_ns else 1)
        self.counters.reported[piece.traffic] += len(piece)
        self._settle(piece)

    def _settle(self, piece: Piece) -> None:
        """Let go of a frame: it is reported, or nobody wants it any more."""
        piece.is_reported = True
        if piece.is_queued:
            self.queue_bytes[piece.traffic] -= len(piece)
        self._out.pop(piece, None)
        flow = self._flows.get(piece.flow)
        if flow is not None:
            flow.unreported_count -= 1
            if flow.out.pop(piece.sequence, None) is not None:
                flow.unreported_bytes -= len(piece)
        for stream in piece.holders:
            self._streams[stream].held.pop(piece, None)
        piece.holders.clear()
