"""Data streams on the sending side: one thread each, which pulls frames and sends them.

The scheduler is shared under one lock. Threads only take frames, hash and send; everything else
happens on the event loop.
"""

import asyncio
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from transport.aio.options import Granted, SocketOptions, keep_trying, tune
from transport.aio.pacing import Pacer
from transport.amst.limits import CONTROL_STREAM
from transport.amst.piece import Buffer, Piece
from transport.amst.reassembly import FlowReport
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic

JOINED_BYTES_MAX: Final = 16_384  # of a payload that goes out in one piece with its header
RECORD_BYTES: Final = 16_384  # of TLS, at most: a header alone would cost one of its own
POLL_S: Final = 0.1
JOIN_S: Final = 5.0


@dataclass(eq=False)
class SendStream:
    """One data stream.

    Attributes:
        number: Its number in the session.
        connection: Its socket, for TCP_INFO; closed by `SendStreams` alone.
        path: Address that it goes to.
        granted: Which socket options it got.
        sent_bytes: Bytes handed to the kernel, headers included.
        error: Why it ended.
    """

    number: int
    connection: socket.socket
    path: str
    granted: Granted
    sent_bytes: int = 0
    is_retiring: bool = False
    is_over: bool = False
    error: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)


class SendStreams:
    """All data streams of one session, and the scheduler that they pull from.

    Args:
        scheduler: What they pull from.
        options: What their sockets ask for.
        on_end: Told on the loop when a stream has ended, whether it died or retired.

    Attributes:
        scheduler: Counters and queues; read under no lock, changed by methods here only.
        streams: Those that are open, by number.
        pacer: How fast they may send, and what was decided on it.
    """

    def __init__(
        self,
        scheduler: SendScheduler,
        options: SocketOptions,
        on_end: Callable[[SendStream], None],
    ) -> None:
        self.scheduler = scheduler
        self.streams: dict[int, SendStream] = {}
        self.pacer = Pacer()
        self._ended_bytes = 0
        self._options = options
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._is_closed = False
        self._starved_ns = 0
        self._ended: list[SendStream] = []
        self._poll = self._loop.call_later(POLL_S, self._on_poll)

    def add(self, number: int, connection: socket.socket, path: str) -> SendStream:
        """Let a connection that is attached take frames; it is set blocking."""
        assert not self._is_closed, "the session is over"
        granted = tune(connection, self._options)
        connection.setblocking(True)  # noqa: FBT003 - the socket module's signature
        stream = SendStream(number, connection, path, granted)
        self.streams[number] = stream
        with self._changed:
            self.scheduler.open_stream(number, time.monotonic_ns())
        stream.thread = threading.Thread(
            target=self._run, args=(stream,), name=f"dwcp-send-{number}", daemon=True
        )
        self.pacer.apply(self.streams.values())
        stream.thread.start()
        return stream

    def submit(self, flow: int, traffic: Traffic, unit: Buffer) -> None:
        """Queue one unit."""
        with self._changed:
            self.scheduler.submit(flow, traffic, unit)
            self._changed.notify_all()

    @property
    def sent_bytes(self) -> int:
        """Bytes that all streams so far handed to the kernel, headers included."""
        return self._ended_bytes + sum(stream.sent_bytes for stream in self.streams.values())

    def open_object(self, flow: int, size_bytes: int, pieces: list[Piece]) -> None:
        """Queue chunks of an object."""
        with self._changed:
            self.scheduler.open_object(flow, size_bytes, pieces)
            self._changed.notify_all()

    def close_flow(self, flow: int) -> None:
        """Forget a flow."""
        with self._changed:
            self.scheduler.close_flow(flow)

    def is_flow_done(self, flow: int) -> bool:
        """Tell whether all of a flow is reported."""
        with self._changed:
            return self.scheduler.is_flow_done(flow)

    def on_reports(self, reports: tuple[FlowReport, ...]) -> None:
        """Take the peer's word for what it received.

        Raises:
            UnexpectedMessageError: It names what was never there.
        """
        now_ns = time.monotonic_ns()
        with self._changed:
            for report in reports:
                self.scheduler.on_report(report.flow, report.before, report.ranges, now_ns)
            self._changed.notify_all()

    def urgent_to_send(self) -> bytes:
        """Return frames for the control connection: small ones of the strict classes."""
        frames: list[Buffer] = []
        with self._changed:
            while (piece := self.scheduler.take_urgent(time.monotonic_ns())) is not None:
                frames += (piece.header(), piece.payload)
        return b"".join(frames)

    def retire(self, number: int) -> None:
        """Give a stream nothing more, and close it when all that it took is reported."""
        self.streams[number].is_retiring = True
        with self._changed:
            self.scheduler.retire_stream(number)
            self._changed.notify_all()

    def drop(self, number: int, error: str) -> None:
        """Close a stream at once; what it held goes to others."""
        stream = self.streams.get(number)
        if stream is not None:
            stream.error = stream.error or error
            _shut(stream.connection)

    def set_pacing(self, bytes_per_s: float | None) -> bool:
        """Limit all streams together; False where the system cannot."""
        self.pacer.bytes_per_s = bytes_per_s
        return self.pacer.apply(self.streams.values())

    def set_shares(self, shares: Mapping[Traffic, int]) -> None:
        """Change the weights of the classes."""
        with self._changed:
            self.scheduler.shares.set(shares)

    async def close(self) -> None:
        """Close all streams at once and wait for their threads."""
        self._is_closed = True
        self._poll.cancel()
        with self._changed:
            self._changed.notify_all()
        streams = [*self.streams.values()]
        for stream in streams:
            _shut(stream.connection)
        try:
            await asyncio.to_thread(_join, [stream.thread for stream in (*streams, *self._ended)])
        finally:
            for stream in streams:
                stream.connection.close()
            self.streams.clear()

    def _run(self, stream: SendStream) -> None:
        is_plain = not isinstance(stream.connection, ssl.SSLSocket)
        try:
            while (piece := self._next(stream)) is not None:
                header = piece.header(is_hashed=is_plain)
                stream.sent_bytes += send_frame(stream.connection, header, piece.payload)
        except (OSError, ValueError) as error:  # ValueError: closed under our hands
            stream.error = stream.error or str(error)
        self._loop.call_soon_threadsafe(self._end, stream)

    def take_starved_ns(self) -> int:
        """Return how long streams waited for something to send since the last call, summed up."""
        with self._changed:
            starved_ns, self._starved_ns = self._starved_ns, 0
        return starved_ns

    def _next(self, stream: SendStream) -> Piece | None:
        with self._changed:
            while not self._is_closed and not stream.is_over:
                piece = self.scheduler.take(stream.number, time.monotonic_ns())
                if piece is not None or self.scheduler.may_close(stream.number):
                    return piece
                since_ns = time.monotonic_ns()
                self._changed.wait()  # `_on_poll` wakes it soon, so that long waits count, too
                self._starved_ns += time.monotonic_ns() - since_ns
            return None

    def _end(self, stream: SendStream) -> None:
        if self._is_closed:
            return
        stream.connection.close()
        del self.streams[stream.number]
        self._ended_bytes += stream.sent_bytes
        with self._changed:
            self.scheduler.lose_stream(stream.number)
            self._changed.notify_all()
        self._ended = [one for one in self._ended if one.thread and one.thread.is_alive()]
        self._ended.append(stream)
        self.pacer.apply(self.streams.values())
        self._on_end(stream)

    def _on_closed(self, stream: SendStream) -> None:
        self.drop(stream.number, "the peer closed the data stream")
        with self._changed:  # a thread that waits for frames does not see that its socket is shut
            stream.is_over = True
            self._changed.notify_all()

    def _on_poll(self) -> None:
        with self._changed:
            stalled = self.scheduler.poll(time.monotonic_ns())
            self._changed.notify_all()
        for number in stalled:
            if number != CONTROL_STREAM:
                self.drop(number, "the data stream did not move")
        self.pacer.watch(self.streams.values(), time.monotonic_ns())
        for stream in self.streams.values():
            keep_trying(stream.connection)
            if not stream.is_over and _is_closed_by_peer(stream.connection):
                self._on_closed(stream)
        self._poll = self._loop.call_later(POLL_S, self._on_poll)


def send_frame(connection: socket.socket, header: bytes, payload: Buffer) -> int:
    """Send header and payload, blocking, and return how many bytes they are."""
    size = len(header) + len(payload)
    if len(payload) <= JOINED_BYTES_MAX:
        connection.sendall(b"".join((header, payload)))
    elif isinstance(connection, ssl.SSLSocket):  # it has no sendmsg
        joined = RECORD_BYTES - len(header)
        connection.sendall(b"".join((header, memoryview(payload)[:joined])))
        connection.sendall(memoryview(payload)[joined:])
    else:
        sent = connection.sendmsg((header, payload))
        if sent < len(header):
            connection.sendall(header[sent:])
            sent = len(header)
        if sent < size:
            connection.sendall(memoryview(payload)[sent - len(header) :])
    return size


def _is_closed_by_peer(connection: socket.socket) -> bool:
    """Ask the kernel; the loop must not watch the socket: uvloop would make it non-blocking.

    Where the kernel does not tell the end from bytes, bytes will do: the peer never writes here.
    """
    if connection.fileno() < 0:
        return False
    asked = select.poll()
    asked.register(connection, getattr(select, "POLLRDHUP", select.POLLIN))
    return bool(asked.poll(0))


def _shut(connection: socket.socket) -> None:
    """Wake whoever waits in a call on this socket."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it is not connected any more


def _join(threads: list[threading.Thread | None]) -> None:
    for thread in threads:
        if thread is not None:
            thread.join(JOIN_S)
