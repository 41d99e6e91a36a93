"""A proxy with faults on order, before a broker or between regions.

`FaultyLink` is the demo's shaped link (delay, rate, cut, one-way cut, reset) and what only a test
wants of a link: half-open connections, swallowed answers, and a reset or a flipped bit at a chosen
byte. All of it happens on 127.0.0.1; nothing needs root.
"""

import array
import asyncio
import fcntl
import termios
from typing import Final, Literal

from dwcp.demo.ends import End
from dwcp.demo.lane import Lane, Piece, Source
from dwcp.demo.shaper import Direction, ShapedLink

Side = Literal["client", "target"]
OneWay = Literal["forward", "backward"]
_FLIP: Final = 0x01
_DRAIN_POLL_S: Final = 0.002


class FaultyLink(ShapedLink):
    """A shaped link with more faults; counters of bytes are those of `ShapedLink`.

    Example:
        link = FaultyLink("127.0.0.1", broker.port)
        port = await link.start()
        link.swallow("backward")        # requests are carried out, answers never come
        ...
        link.swallow_no_more()          # whoever missed bytes is reset
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        delay_ms: float = 0.0,
        rate_bytes_per_s: float | None = None,
    ) -> None:
        super().__init__(
            target_host, target_port, delay_ms=delay_ms, rate_bytes_per_s=rate_bytes_per_s
        )
        self._robbed: set[End] = set()
        self.swallowed_bytes = 0
        """TCP payload that `swallow` took away, bytes."""

    @property
    def connection_count(self) -> int:
        """Connections that client and target both have."""
        return sum(end.lane in self.lanes("backward") for end in self._ends)

    @property
    def is_armed(self) -> bool:
        """Whether swallowing goes on, or a reset or flip has still to come."""
        return any(lane.tap for lane in self.lanes())

    def half_open(self, gone: Side) -> int:
        """Let one side of all connections be gone without a word, as after a power failure.

        The other side goes on: what it sends is taken and lost, and nothing ever comes back. New
        connections work.

        Args:
            gone: The side that sees a reset and forgets; the other is not told.

        Returns:
            How many connections are half open now.
        """
        (lane,) = self.lanes("forward" if gone == "client" else "backward")
        ends = [end for end in self._ends if end.lane is lane and end.peer and not end.is_settled]
        for end in ends:
            end.vanish()
        return len(ends)

    def swallow(self, direction: Direction = "backward") -> None:
        """Take bytes off the link and deliver none of them, on old and new connections.

        With the default requests are carried out and their answers are lost.
        """
        for lane in self.lanes(direction):
            lane.tap = self._take

    def swallow_no_more(self) -> None:
        """Deliver again; connections that lost bytes are reset, for a stream has no holes."""
        for lane in self.lanes():
            if lane.tap == self._take:
                lane.tap = None
        robbed, self._robbed = self._robbed, set()
        for end in robbed:
            _reset(end)

    def reset_after(self, byte_count: int, direction: OneWay = "forward") -> None:
        """Deliver so many bytes more, then reset the connection whose byte would be next.

        The bytes of all connections of the link are counted, from now on.

        Args:
            byte_count: Bytes that still arrive, 0 or more.
            direction: Whose.
        """
        (lane,) = self.lanes(direction)
        lane.tap = _Reset(lane, byte_count)

    def flip_after(self, byte_count: int, direction: OneWay = "forward") -> None:
        """Flip the lowest bit of the byte that comes after so many more; TCP does not notice."""
        (lane,) = self.lanes(direction)
        lane.tap = _Flip(lane, byte_count)

    def _take(self, source: Source, piece: Piece) -> bool:
        assert isinstance(source, End)
        if piece is None:
            return True  # an abort: nothing to be had of this connection any more
        self.swallowed_bytes += len(piece)
        self._robbed.add(source)
        return False


class _AtByte:
    """A tap that acts on one byte."""

    def __init__(self, lane: Lane, byte_count: int) -> None:
        assert byte_count >= 0
        self._lane = lane
        self._left = byte_count

    def __call__(self, source: Source, piece: Piece) -> bool:
        size = len(piece or b"")
        if size <= self._left:
            self._left -= size
            return True
        assert isinstance(source, End)
        assert piece is not None
        self._lane.tap = None
        self.act(source, bytes(piece), self._left)
        return False

    def act(self, source: End, piece: bytes, at: int) -> None:
        raise NotImplementedError


class _Flip(_AtByte):
    def act(self, source: End, piece: bytes, at: int) -> None:
        source.deliver(piece[:at] + bytes([piece[at] ^ _FLIP]) + piece[at + 1 :])


class _Reset(_AtByte):
    """Nothing more of the connection is delivered; it is reset when the far side has the rest."""

    def act(self, source: End, piece: bytes, at: int) -> None:
        self._lane.tap = lambda other, _: other is not source
        if at:  # an empty piece would be the end of the stream
            source.deliver(piece[:at])
        self._reset_when_drained(source)

    def _reset_when_drained(self, source: End) -> None:
        if source.peer is not None and _unsent_bytes(source.peer):
            loop = asyncio.get_running_loop()
            loop.call_later(_DRAIN_POLL_S, self._reset_when_drained, source)
            return
        self._lane.tap = None
        _reset(source)


def _unsent_bytes(end: End) -> int:
    """Return what the far side's kernel has not acknowledged: a reset would throw it away."""
    connection = end.transport.get_extra_info("socket")
    if end.is_gone or connection.fileno() < 0:
        return 0
    count = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return end.transport.get_write_buffer_size() + count[0]


def _reset(end: End) -> None:
    for one in (end, end.peer):
        if one is not None:
            one.abort()
