"""A TCP proxy that makes a wide-area link out of a loopback one, without root.

::

    client ──► _End ─► forward lane ──► _End ──► target
           ◄── _End ◄─ backward lane ◄─ _End ◄──

A lane is one direction of the link, shared by all connections in the order in which their bytes
came. A piece of n bytes occupies the lane for n / rate seconds and arrives `delay_ms` later, so
each lane needs one queue and one timer. A full lane stops reading, and TCP tells the senders.

What it does not do: lose, reorder or duplicate packets (TCP would hide that), or delay the TCP
handshake (the proxy's kernel answers it at once; the target is dialled at once too).
"""

import asyncio
import contextlib
import socket
import struct
from typing import cast

from dwcp.demo.lane import Lane, Piece

QUEUE_BYTES_MAX = 1 << 20
_READ_AHEAD_BYTES = 1 << 18  # by the kernel: what it takes on top of our queue is not shaped


class ShapedLink:
    """A link with delay, rate and faults to one target; listens on 127.0.0.1.

    Args:
        target_host: Where to connect through to.
        target_port: Its port.
        delay_ms: One-way delay, milliseconds; a round trip takes twice that.
        rate_bytes_per_s: What each direction carries, bytes per second of TCP payload, shared by
            all connections; None for as fast as the machine goes.
        queue_bytes_max: What may wait for a lane besides what is in flight on it, bytes. A large
            queue adds delay under load, as in real routers.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        delay_ms: float,
        rate_bytes_per_s: float | None = None,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        assert delay_ms >= 0, "a link cannot deliver before it was sent to"
        assert rate_bytes_per_s is None or rate_bytes_per_s > 0, "use cut() for a link without rate"
        self._target = (target_host, target_port)
        self._forward, self._backward = (
            Lane(delay_ms / 1000, rate_bytes_per_s, queue_bytes_max) for _ in range(2)
        )
        self._is_cut = False
        self._is_stopped = False
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._waiting: list[_End] = []  # accepted while cut, not dialled yet
        self._dials: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()

    @property
    def forward_bytes(self) -> int:
        """TCP payload that arrived at the target's side, bytes."""
        return self._forward.arrived_bytes

    @property
    def backward_bytes(self) -> int:
        """TCP payload that arrived at the clients' side, bytes."""
        return self._backward.arrived_bytes

    @property
    def queued_bytes(self) -> int:
        """TCP payload on the link or waiting for it, both directions, bytes."""
        return self._forward.queued_bytes + self._backward.queued_bytes

    @property
    def is_cut(self) -> bool:
        """Whether nothing moves on the link."""
        return self._is_cut

    async def start(self) -> int:
        """Listen, and return the port."""
        assert self._server is None, "a link is started once"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _End(self, self._forward, None), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, abort all connections and wait until they are gone."""
        if self._server is None:
            return
        self._is_stopped = True
        self._server.close()
        for dial in self._dials:
            dial.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        self.reset()
        while self._ends:
            self._none_left.clear()
            await self._none_left.wait()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Let nothing move, as if all packets were dropped; connections stay open and silent.

        New connections are accepted, but the target hears nothing of them before the link is
        healed, and never of those that their clients closed before.
        """
        self._is_cut = True
        self._forward.freeze()
        self._backward.freeze()
        for end in self._ends:
            end.update_reading()

    def heal(self) -> None:
        """Let what was queued go on; it takes rate and delay again, as if sent once more."""
        if not self._is_cut:
            return
        self._is_cut = False
        waiting, self._waiting = self._waiting, []
        self._forward.thaw()
        self._backward.thaw()
        for client in waiting:
            self._start_dial(client)
        for end in self._ends:
            end.update_reading()

    def reset(self) -> None:
        """Abort all connections on both sides at once, wherever in their streams they are."""
        self._forward.clear()
        self._backward.clear()
        for end in list(self._ends):
            end.abort()

    def opened(self, end: "_End") -> None:
        """Take in an end whose connection was made, and dial for a client's; for `_End`."""
        self._ends.add(end)
        if self._is_stopped:
            end.abort()
        elif end.lane is self._forward and self._is_cut:
            self._waiting.append(end)
        elif end.lane is self._forward:
            self._start_dial(end)

    def closed(self, end: "_End") -> None:
        """Forget an end whose connection is gone; for `_End`."""
        self._ends.discard(end)
        if end in self._waiting:
            self._waiting.remove(end)
        if not self._ends:
            self._none_left.set()

    def is_waiting(self, end: "_End") -> bool:
        """Say whether an end was accepted while cut, so that nobody knows of it; for `_End`."""
        return end in self._waiting

    def _start_dial(self, client: "_End") -> None:
        dial = asyncio.get_running_loop().create_task(self._dial(client))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial(self, client: "_End") -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _End(self, self._backward, client), *self._target)
        except OSError:  # nobody listens there: the client sees what it would see without us
            client.abort()


class _End(asyncio.Protocol):
    """One of the two connections of a proxied one: reads into its lane, writes for its peer."""

    transport: asyncio.Transport

    def __init__(self, link: ShapedLink, lane: Lane, peer: "_End | None") -> None:
        self.link = link
        self.lane = lane
        self.peer = peer
        self.backlog: list[Piece] = []  # arrived before the target was there
        self.is_reading = True
        self.is_writable = True
        self.is_gone = False
        self.has_ended = False  # the peer's end of stream was written here
        self.is_settled = False  # the peer knows, or need not know, that it is over

    @property
    def is_forgotten(self) -> bool:
        return self.is_gone and self.peer is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._set_option(socket.SO_RCVBUF, _READ_AHEAD_BYTES)
        self.lane.sources.add(self)
        self.link.opened(self)
        if self.peer:
            self.peer.meet(self)
        self.update_reading()

    def meet(self, peer: "_End") -> None:
        """Learn that the target is there, and give it what has arrived for it."""
        self.peer = peer
        if self.is_gone:
            peer.abort()
            return
        backlog, self.backlog = self.backlog, []
        for piece in backlog:
            self.deliver(piece)
        self.update_reading()

    def data_received(self, data: bytes) -> None:
        self.lane.put(self, data)

    def eof_received(self) -> bool:
        if self.link.is_waiting(self):
            return False
        self.lane.put(self, b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.is_gone = True
        self.lane.sources.discard(self)
        self.link.closed(self)
        if self.peer and not self.is_settled:
            self.lane.put(self, None)

    def pause_writing(self) -> None:
        self.is_writable = False
        if self.peer:
            self.peer.update_reading()

    def resume_writing(self) -> None:
        self.is_writable = True
        if self.peer:
            self.peer.update_reading()

    def update_reading(self) -> None:
        """Read while there is room in the lane and the far side takes what arrives.

        While cut, a connection that nobody knows of is read too: so its client's giving up is
        seen.
        """
        far_side_takes = self.peer.is_writable if self.peer else self.link.is_cut
        is_reading = far_side_takes and not self.lane.is_full
        if is_reading != self.is_reading:
            self.is_reading = is_reading
            (self.transport.resume_reading if is_reading else self.transport.pause_reading)()

    def deliver(self, piece: Piece) -> None:
        """Hand over what was read here and has arrived at the far side."""
        if self.peer is None:
            self.backlog.append(piece)
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

    def _set_option(self, option: int, value: int | bytes) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, option, value)
