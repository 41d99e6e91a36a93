"""A TCP proxy that makes a wide-area link out of a loopback one, without root.

::

    client ──► _End ─► forward lane ─► _End ──► target
           ◄── _End ◄─ backward lane ◄─ _End ◄──

A lane is one direction of the link, shared by all connections in the order in which their bytes
came. A piece of n bytes occupies the lane for n / rate seconds and arrives `delay_ms` later, so
each lane needs one queue and one timer. A full lane stops reading, and TCP tells the senders.

What it does not do: lose, reorder or duplicate packets (TCP would hide that), or delay the TCP
handshake (the proxy's kernel answers it at once; the target is dialled at once too).
"""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator

QUEUE_BYTES_MAX = 1 << 20
_PIECE_BYTES_MAX = 1 << 16
_PIECE_BYTES_MIN = 1448  # one Ethernet frame's worth
_PIECE_S = 0.002  # shorter than this no piece occupies a slow lane, so arrivals stay smooth
_READ_AHEAD_BYTES = 1 << 18  # of the kernel: what it takes on top of our queue is not shaped
_UNSHAPED_BYTES_PER_S = 250e6  # for the queue of a lane without rate: what we manage anyway

_Parcel = tuple[
    float, "_End", bytes | memoryview | None
]  # due; empty = end of stream; None = abort


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
            _Lane(delay_ms / 1000, rate_bytes_per_s, queue_bytes_max) for _ in range(2)
        )
        self._is_cut = False
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
        """Bytes on the link or waiting for it, both directions."""
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
        healed, and never of those that were closed before.
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
        for client in waiting:
            self._start_dial(client)
        for end in self._ends:
            end.update_reading()
        self._forward.thaw()
        self._backward.thaw()

    def reset(self) -> None:
        """Abort all connections on both sides at once, wherever in the stream they are."""
        self._waiting.clear()
        self._forward.clear()
        self._backward.clear()
        for end in list(self._ends):
            end.abort()

    def opened(self, end: "_End") -> None:
        """Take in an end whose connection was made; for `_End`."""
        self._ends.add(end)
        if end.lane is self._backward:
            return
        if self._is_cut:
            self._waiting.append(end)
        else:
            self._start_dial(end)

    def closed(self, end: "_End") -> None:
        """Forget an end whose connection is gone; for `_End`."""
        self._ends.discard(end)
        if not self._ends:
            self._none_left.set()

    def is_waiting(self, end: "_End") -> bool:
        """Say whether an end was accepted while cut, and nobody knows of it yet; for `_End`."""
        return end in self._waiting

    def _start_dial(self, client: "_End") -> None:
        dial = asyncio.get_running_loop().create_task(self._dial(client))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial(self, client: "_End") -> None:
        if client.is_gone:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _End(self, self._backward, client), *self._target)
        except OSError:
            client.abort()


class _Lane:
    """One direction: a queue of pieces, each with the time at which it arrives."""

    def __init__(
        self, delay_s: float, rate_bytes_per_s: float | None, queue_bytes_max: int
    ) -> None:
        rate = rate_bytes_per_s or _UNSHAPED_BYTES_PER_S
        self._delay_s = delay_s
        self._s_per_byte = 1 / rate_bytes_per_s if rate_bytes_per_s else 0.0
        self._piece_bytes = int(min(_PIECE_BYTES_MAX, max(_PIECE_BYTES_MIN, rate * _PIECE_S)))
        self._queued_bytes_max = queue_bytes_max + int(rate * delay_s)
        self._queue: deque[_Parcel] = deque()
        self._free_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_frozen = False
        self.sources: set[_End] = set()
        self.queued_bytes = 0
        self.arrived_bytes = 0
        self.is_full = False

    def put(self, source: "_End", data: bytes | None) -> None:
        """Send bytes, the end of the stream (empty) or an abort (None) down the lane."""
        now_s = time.monotonic()
        for piece in self._pieces(data):
            self._append(source, piece, now_s)
        self.queued_bytes += len(data or b"")
        if self.queued_bytes > self._queued_bytes_max and not self.is_full:
            self._set_full(is_full=True)
        self._arm()

    def freeze(self) -> None:
        """Let nothing arrive."""
        self._is_frozen = True
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def thaw(self) -> None:
        """Send what is queued once more, from now."""
        self._is_frozen = False
        now_s = self._free_at_s = time.monotonic()
        parcels, self._queue = self._queue, deque()
        for _, source, piece in parcels:
            self._append(source, piece, now_s)
        self._arm()

    def clear(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
        self.queued_bytes = 0
        self._free_at_s = 0.0
        self._set_full(is_full=False)

    def _pieces(self, data: bytes | None) -> Iterator[bytes | memoryview | None]:
        if data is None or len(data) <= self._piece_bytes:
            yield data
            return
        view = memoryview(data)
        for start in range(0, len(view), self._piece_bytes):
            yield view[start : start + self._piece_bytes]

    def _append(self, source: "_End", piece: bytes | memoryview | None, now_s: float) -> None:
        self._free_at_s = max(now_s, self._free_at_s) + len(piece or b"") * self._s_per_byte
        self._queue.append((self._free_at_s + self._delay_s, source, piece))

    def _arm(self) -> None:
        if self._queue and self._timer is None and not self._is_frozen:
            wait_s = self._queue[0][0] - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        while self._queue and self._queue[0][0] <= now_s:
            _, source, piece = self._queue.popleft()
            self.queued_bytes -= len(piece or b"")
            self.arrived_bytes += len(piece or b"")
            source.deliver(piece)
        if self.is_full and self.queued_bytes <= self._queued_bytes_max // 2:
            self._set_full(is_full=False)
        self._arm()

    def _set_full(self, *, is_full: bool) -> None:
        self.is_full = is_full
        for source in self.sources:
            source.update_reading()


class _End(asyncio.Protocol):
    """One of the two connections of a proxied one: reads into its lane, writes for its peer."""

    def __init__(self, link: ShapedLink, lane: _Lane, peer: "_End | None") -> None:
        self.lane = lane
        self.is_gone = False
        self._link = link
        self._peer = peer
        self._backlog: list[bytes | memoryview | None] = []  # arrived before the target was there
        self._is_writable = True
        self._is_reading = True
        self._has_ended = False  # the peer's end of stream was written here
        self._is_settled = False  # both sides know that it is over
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _set_option(transport, socket.SO_RCVBUF, _READ_AHEAD_BYTES)
        self.lane.sources.add(self)
        self._link.opened(self)
        if self._peer:
            self._peer.meet(self)
        self.update_reading()

    def meet(self, peer: "_End") -> None:
        """Learn that the target is there, and give it what has arrived for it."""
        self._peer = peer
        if self.is_gone:
            peer.abort()
        backlog, self._backlog = self._backlog, []
        for piece in backlog:
            self.deliver(piece)
        self.update_reading()

    def data_received(self, data: bytes) -> None:
        self.lane.put(self, data)

    def eof_received(self) -> bool:
        if self._link.is_waiting(self):
            return False
        self.lane.put(self, b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.is_gone = True
        self.lane.sources.discard(self)
        self._link.closed(self)
        if self._peer and not self._is_settled:
            self.lane.put(self, None)

    def pause_writing(self) -> None:
        self._is_writable = False
        if self._peer:
            self._peer.update_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._peer:
            self._peer.update_reading()

    def update_reading(self) -> None:
        """Read while there is room in the lane and the far side takes what arrives."""
        far_side_takes = self._peer._is_writable if self._peer else self._link.is_cut
        is_reading = far_side_takes and not self.lane.is_full
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            (self._transport.resume_reading if is_reading else self._transport.pause_reading)()

    def deliver(self, piece: bytes | memoryview | None) -> None:
        """Hand over what was read here and has arrived at the far side."""
        if self._peer is None:
            if not self.is_gone:
                self._backlog.append(piece)
        elif piece is None:
            self._peer.abort()
        elif piece:
            self._peer._transport.write(piece)
        else:
            self._peer.end()

    def end(self) -> None:
        """Write the peer's end of stream; after both ends the connection is over."""
        self._has_ended = True
        if not self.is_gone:
            self._transport.write_eof()
        if self._peer and self._peer._has_ended:
            for one in (self, self._peer):
                one._is_settled = True
                one._transport.close()

    def abort(self) -> None:
        """Break the connection off here, without a word down the lane."""
        self._is_settled = True
        if not self.is_gone:
            _set_option(self._transport, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN
            self._transport.abort()


def _set_option(transport: asyncio.Transport, option: int, value: int | bytes) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, option, value)
