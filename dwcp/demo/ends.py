"""The two connections of a proxied one; `dwcp.demo.shaper` joins them by lanes."""

import asyncio
import contextlib
import socket
import struct
from typing import Protocol, cast

from dwcp.demo.lane import Lane, Piece

_READ_AHEAD_BYTES = 1 << 18  # by the kernel: what it takes on top of our queue is not shaped


class Hub(Protocol):
    """What an end tells its link, and asks it."""

    def opened(self, end: "End") -> None:
        """Take in an end whose connection was made."""

    def closed(self, end: "End") -> None:
        """Forget an end whose connection is gone."""

    def is_waiting(self, end: "End") -> bool:
        """Say whether an end was accepted while cut, so that nobody knows of it."""


class End(asyncio.Protocol):
    """One of the two connections of a proxied one: reads into its lane, writes for its peer.

    Args:
        link: Told of beginning and end.
        lane: Where what is read goes.
        peer: The end at the other side, if it is there already.
    """

    transport: asyncio.Transport

    def __init__(self, link: Hub, lane: Lane, peer: "End | None") -> None:
        self.link = link
        self.lane = lane
        self.peer = peer
        self.backlog: list[Piece] = []  # arrived before the target was there
        self.backlog_bytes = 0
        self.is_reading = True
        self.is_writable = True
        self.is_gone = False
        self.has_ended = False  # the peer's end of stream was written here
        self.is_settled = False  # the peer knows, or need not know, that it is over
        self.has_vanished = False  # the peer will never know

    @property
    def is_forgotten(self) -> bool:
        """See `dwcp.demo.lane.Source`."""
        return self.is_gone and self.peer is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._set_option(socket.SO_RCVBUF, _READ_AHEAD_BYTES)
        self.lane.sources.add(self)
        self.link.opened(self)
        if self.peer:
            self.peer.meet(self)
        self.update_reading()

    def meet(self, peer: "End") -> None:
        """Learn that the target is there, and give it what has arrived for it."""
        self.peer = peer
        if self.is_gone:
            peer.abort()
            return
        backlog, self.backlog, self.backlog_bytes = self.backlog, [], 0
        for piece in backlog:
            self.deliver(piece)
        self.update_reading()

    def data_received(self, data: bytes) -> None:
        """Put what was read into the lane."""
        self.lane.put(self, data)

    def eof_received(self) -> bool:
        """Put the end of the stream into the lane; say whether to keep the other half open."""
        if self.link.is_waiting(self) or (self.peer and self.peer.has_vanished):
            return False
        self.lane.put(self, b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Put the abort into the lane, unless it is no news."""
        self.is_gone = True
        self.lane.sources.discard(self)
        self.link.closed(self)
        if self.peer and not self.is_settled:
            self.lane.put(self, None)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the far side does not read."""
        self.is_writable = False
        if self.peer:
            self.peer.update_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`: it does again."""
        self.is_writable = True
        if self.peer:
            self.peer.update_reading()

    def update_reading(self) -> None:
        """Read while there is room in the lane and the far side takes what arrives.

        While cut, a connection that nobody knows of is read too: so its client's giving up is
        seen.
        """
        if self.peer:
            far_side_takes = self.peer.is_writable
        else:
            is_patient = self.backlog_bytes <= _READ_AHEAD_BYTES
            far_side_takes = is_patient and self.link.is_waiting(self)
        is_reading = far_side_takes and not self.lane.is_full
        if is_reading != self.is_reading:
            self.is_reading = is_reading
            (self.transport.resume_reading if is_reading else self.transport.pause_reading)()

    def deliver(self, piece: Piece) -> None:
        """Hand over what was read here and has arrived at the far side."""
        if self.peer is None:
            self.backlog.append(piece)
            self.backlog_bytes += len(piece or b"")
            self.update_reading()
        elif piece is None:
            self.peer.abort()
        elif not piece:
            self.peer.end()
        elif not self.peer.transport.is_closing():
            self.peer.transport.write(piece)

    def end(self) -> None:
        """Write the peer's end of stream; when both ends were written, close both sides."""
        self.has_ended = True
        if not self.transport.is_closing():
            # A peer that has just reset the connection: `connection_lost` is on its way.
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        if self.peer and self.peer.has_ended:
            for one in (self, self.peer):
                one.is_settled = True
                one.transport.close()

    def abort(self) -> None:
        """Break off here, with a reset for whoever is connected and no word down the lane."""
        self.is_settled = True
        if not self.is_gone:
            self._set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def vanish(self) -> None:
        """Be gone without a word: the peer goes on talking to nobody."""
        self.has_vanished = True
        self.abort()

    def _set_option(self, option: int, value: int | bytes) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, option, value)
