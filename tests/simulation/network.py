"""The network between regions: delay, chunks, stalls, cuts and resets, but no byte out of order.

A connection is two pipes. Each keeps its bytes in order, as TCP does; different connections
overtake each other. What a cut or a stall holds back arrives after it, as TCP would send it again.
"""

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulation.timeline import MS, Action, Timeline


class Mark(enum.Enum):
    """What travels beside bytes."""

    OPEN = enum.auto()
    OPENED = enum.auto()
    CLOSED = enum.auto()


Piece = bytes | Mark


@dataclass(slots=True)
class Path:
    """The way from one region to another.

    Attributes:
        delay_ms_min: Least one-way delay.
        delay_ms_mean: Mean of what comes on top, exponential.
        jitter_ms: More on top, uniform.
        is_cut: Nothing arrives.
        split_share: How often what is written at once arrives in several chunks.
    """

    delay_ms_min: float = 5.0
    delay_ms_mean: float = 2.0
    jitter_ms: float = 1.0
    is_cut: bool = False
    split_share: float = 0.4


def _nothing(*_: object) -> None:
    """Stand in for a callback that nobody has set."""


class Wire:
    """One end of a connection; its owner sets the callbacks.

    Attributes:
        on_open: The other end accepted.
        on_data: Bytes came.
        on_close: The other end is gone; called once, and never after our own `close`.
    """

    def __init__(self) -> None:
        self.on_open: Action = _nothing
        self.on_data: Callable[[bytes], None] = _nothing
        self.on_close: Action = _nothing
        self.is_closed = False
        self.out: Pipe

    def write(self, data: bytes) -> None:
        """Send bytes; a closed end swallows them."""
        if data and not self.is_closed:
            self.out.send(data)

    def close(self) -> None:
        """End in order: what was written before still arrives."""
        if not self.is_closed:
            self.is_closed = True
            self.out.send(Mark.CLOSED)

    def reset(self) -> None:
        """End at once: of what is under way only some arrives, perhaps half a frame."""
        if not self.is_closed:
            self.out.lose_tail()
            self.close()

    def _arrive(self, piece: Piece) -> None:
        if self.is_closed:
            return
        if isinstance(piece, bytes):
            self.on_data(piece)
        elif piece is Mark.OPENED:
            self.on_open()
        elif piece is Mark.CLOSED:
            self.is_closed = True
            self.on_close()


class Pipe:
    """One direction of one connection."""

    def __init__(
        self, timeline: Timeline, dice: Random, path: Path, arrive: Callable[[Piece], None]
    ) -> None:
        self._timeline = timeline
        self._dice = dice
        self.path = path
        self._arrive = arrive
        self._pieces: deque[tuple[int, Piece]] = deque()
        self._last_ns = 0
        self._stalled_until_ns = 0
        self._is_planned = False

    def send(self, piece: Piece) -> None:
        """Put bytes or a mark on the way."""
        for part in self._split(piece):
            path = self.path
            delay_ms = path.delay_ms_min + self._dice.random() * path.jitter_ms
            delay_ms += self._dice.expovariate(1 / path.delay_ms_mean)
            self._last_ns = max(self._last_ns, self._timeline.now_ns + int(delay_ms * MS))
            self._pieces.append((self._last_ns, part))
        self._plan()

    def stall(self, duration_ms: float) -> None:
        """Let nothing arrive for a while."""
        self._stalled_until_ns = self._timeline.now_ns + int(duration_ms * MS)

    def resume(self) -> None:
        """Go on after a cut."""
        self._plan()

    def lose_tail(self) -> None:
        """Lose a random part of what is under way, from its end, perhaps half a chunk."""
        kept = self._dice.randint(0, len(self._pieces))
        while len(self._pieces) > kept:
            self._pieces.pop()
        if self._pieces and isinstance(piece := self._pieces[-1][1], bytes):
            size = self._dice.randint(1, len(piece))
            self._pieces[-1] = (self._pieces[-1][0], piece[:size])

    def _split(self, piece: Piece) -> list[Piece]:
        if not isinstance(piece, bytes) or self._dice.random() >= self.path.split_share:
            return [piece]
        size = len(piece)
        cuts = sorted(self._dice.randrange(size + 1) for _ in range(self._dice.randint(1, 3)))
        edges = zip([0, *cuts], [*cuts, size], strict=True)
        return [piece[start:end] for start, end in edges if start < end]

    def _plan(self) -> None:
        if self._pieces and not self._is_planned:
            self._is_planned = True
            self._timeline.at(max(self._pieces[0][0], self._stalled_until_ns), self._due)

    def _due(self) -> None:
        self._is_planned = False
        now_ns = self._timeline.now_ns
        if self.path.is_cut:
            return  # `resume` plans it again
        if now_ns >= self._stalled_until_ns:
            self._deliver(now_ns)
        self._plan()

    def _deliver(self, now_ns: int) -> None:
        """Hand over what is due; bytes written apart may arrive together."""
        joined: list[bytes] = []
        while self._pieces and self._pieces[0][0] <= now_ns:
            _, piece = self._pieces.popleft()
            if isinstance(piece, bytes):
                joined.append(piece)
                continue
            if joined:
                self._arrive(b"".join(joined))
                joined = []
            self._arrive(piece)
        if joined:
            self._arrive(b"".join(joined))


class Network:
    """All paths and connections.

    Args:
        timeline: The clock.
        dice: Randomness of the network alone.
        regions: Their names.
    """

    def __init__(self, timeline: Timeline, dice: Random, regions: list[str]) -> None:
        self._timeline = timeline
        self._dice = dice
        self.paths = {(a, b): Path() for a in regions for b in regions if a != b}
        self._accept: dict[str, Callable[[Wire], None]] = {}
        self.connections: list[tuple[Wire, Wire]] = []

    def listen(self, region: str, accept: Callable[[Wire], None]) -> None:
        """Accept connections to a region."""
        self._accept[region] = accept

    def hang_up(self, region: str) -> None:
        """Refuse connections to a region."""
        self._accept.pop(region, None)

    def dial(self, source: str, target: str) -> Wire:
        """Begin a connection; `on_open` or `on_close` of the wire tells what came of it."""
        near, far = Wire(), Wire()

        def knock(piece: Piece) -> None:
            if piece is not Mark.OPEN:
                far._arrive(piece)
                return
            accept = self._accept.get(target)
            if accept is None:
                far.close()
                return
            far.out.send(Mark.OPENED)
            accept(far)

        near.out = Pipe(self._timeline, self._dice, self.paths[source, target], knock)
        far.out = Pipe(self._timeline, self._dice, self.paths[target, source], near._arrive)
        near.out.send(Mark.OPEN)
        self.connections = [
            pair for pair in self.connections if not (pair[0].is_closed and pair[1].is_closed)
        ]
        self.connections.append((near, far))
        return near

    def cut(self, source: str, target: str) -> None:
        """Let nothing arrive from `source` at `target`."""
        self.paths[source, target].is_cut = True

    def heal(self, source: str, target: str) -> None:
        """Let everything arrive again, and what was held back."""
        path = self.paths[source, target]
        path.is_cut = False
        for pair in self.connections:
            for wire in pair:
                if wire.out.path is path:
                    wire.out.resume()

    def break_connection(self, pair: tuple[Wire, Wire]) -> None:
        """Reset a connection, perhaps inside a frame: both ends learn of it by themselves."""
        for wire in pair:
            wire.out.lose_tail()
            wire.out.send(Mark.CLOSED)
