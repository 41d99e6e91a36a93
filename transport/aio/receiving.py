"""Data streams on the receiving side: one thread each, which reads frames to their place."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from schemas.errors import CreditExceededError, DwcpError, ProtocolError, UnexpectedMessageError
from transport.aio.options import wake_at
from transport.amst.decoder import Payload, StreamDecoder
from transport.amst.objects import IncomingObject
from transport.amst.reassembly import FlowReport, Reassembler, WholeUnit
from transport.frame import Header

REPORT_S: Final = 0.02  # from the first frame after a pause to its report
REPORT_AGAIN_S: Final = 0.05  # between reports while frames keep coming, unless
REPORT_BYTES: Final = 16 << 20  # came sooner: a fast sender must not wait for a slow clock
SELDOM_WOKEN_BYTES: Final = 1 << 20  # what is read as a whole from here on is
WAKE_BYTES: Final = 256 << 10  # woken each so many, and at the end for every packet
_JOIN_S: Final = 5.0
_WAITALL: Final = getattr(socket, "MSG_WAITALL", 0)


@dataclass(eq=False)
class ReceiveStream:
    """One data stream: its number, its socket, and why it ended."""

    number: int
    connection: socket.socket
    received_bytes: int = 0
    error: DwcpError | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class ReceiveStreams:
    """All data streams of one session, and the reassembler that they feed.

    Args:
        reassembler: What they feed.
        on_units: Told on the loop of units, whole and in order.
        on_reports: Told on the loop what was received since the last time.
        on_end: Told on the loop that a stream ended; its error, if any, is a breach of the
            protocol. A stream that was cut or damaged is only replaced; one that sent what is not
            allowed has to end the session.
    """

    def __init__(
        self,
        reassembler: Reassembler,
        on_units: Callable[[list[WholeUnit]], None],
        on_reports: Callable[[list[FlowReport]], None],
        on_end: Callable[[ReceiveStream], None],
    ) -> None:
        self.streams: dict[int, ReceiveStream] = {}
        self._reassembler = reassembler
        self._on_units = on_units
        self._on_reports = on_reports
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._units: list[WholeUnit] = []
        self._is_called = False
        self._has_news = False
        self._landed_bytes = 0  # since the last report
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def duplicates(self) -> int:
        """Frames that came again."""
        return self._reassembler.duplicates

    def add(self, number: int, connection: socket.socket) -> None:
        """Read frames from a connection that is attached; it is set blocking.

        Raises:
            UnexpectedMessageError: The number was used before, or the session is over.
        """
        if self._is_closed or number in self.streams:
            connection.close()
            raise UnexpectedMessageError(f"data stream {number} is not expected")
        connection.setblocking(True)  # noqa: FBT003 - the socket module's signature
        stream = ReceiveStream(number, connection)
        self.streams[number] = stream
        stream.thread = threading.Thread(
            target=self._run, args=(stream,), name=f"dwcp-receive-{number}", daemon=True
        )
        stream.thread.start()

    def land(self, header: Header, payload: Payload) -> None:
        """Take a frame that came on the control connection."""
        self._land(0, [(header, payload)])

    def open_object(self, flow: int, incoming: IncomingObject) -> None:
        """Take chunks of an object."""
        with self._lock:
            self._reassembler.open_object(flow, incoming)

    def close_object(self, flow: int) -> None:
        """Drop later chunks of an object."""
        with self._lock:
            self._reassembler.close_object(flow)

    async def close(self) -> None:
        """Close all streams at once and wait for their threads."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        streams = [*self.streams.values()]
        for stream in streams:
            _shut(stream.connection)
        try:
            await asyncio.to_thread(_join, streams)
        finally:
            for stream in streams:
                stream.connection.close()
            self.streams.clear()

    def _run(self, stream: ReceiveStream) -> None:
        try:
            self._read_all(stream)
        except (OSError, ValueError):
            pass  # the connection broke: the sender replaces it
        except DwcpError as error:
            stream.error = error
        with self._lock:
            self._reassembler.lose_stream(stream.number)
        self._loop.call_soon_threadsafe(self._end, stream)

    def _read_all(self, stream: ReceiveStream) -> None:
        connection = stream.connection
        is_plain = not isinstance(connection, ssl.SSLSocket)
        decoder = StreamDecoder(partial(self._place, stream.number), is_hashed=is_plain)
        fill = _fill if is_plain else _fill_encrypted
        while True:
            size = fill(connection, decoder.buffer(), decoder.is_exact)
            if not size:
                return
            stream.received_bytes += size
            # No name for the frames: the next buffer is made while they would still be held.
            self._land(stream.number, decoder.advance(size))

    def _place(self, number: int, header: Header) -> memoryview | None:
        with self._lock:
            return self._reassembler.place(number, header)

    def _land(self, number: int, frames: list[tuple[Header, Payload]]) -> None:
        if not frames:
            return
        with self._lock:
            for header, payload in frames:
                self._units += self._reassembler.land(number, header, payload)
                self._landed_bytes += header.length
            # A thread wakes the loop for units, for the first of many chunks, and for a report.
            is_much = self._landed_bytes >= REPORT_BYTES
            is_wanted = bool(self._units) or not self._has_news or is_much
            self._has_news = True
            if self._is_called or not is_wanted:
                return
            self._is_called = True
        self._loop.call_soon_threadsafe(self._on_landed)

    def _on_landed(self) -> None:
        with self._lock:
            self._is_called = False
            units, self._units = self._units, []
            is_much = self._landed_bytes >= REPORT_BYTES
        if self._is_closed:
            return
        if units:
            self._on_units(units)
        if is_much:
            self._report()
        elif self._timer is None:
            self._timer = self._loop.call_later(REPORT_S, self._report)

    def _report(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._landed_bytes = 0
            reports = self._reassembler.report()
            self._has_news = bool(reports)
        # While frames keep coming the timer goes on, so that threads need not wake the loop.
        self._timer = self._loop.call_later(REPORT_AGAIN_S, self._report) if reports else None
        if reports:
            self._on_reports(reports)

    def _end(self, stream: ReceiveStream) -> None:
        if self._is_closed:
            return
        stream.connection.close()
        del self.streams[stream.number]
        self._on_end(stream)


def is_breach(error: DwcpError) -> bool:
    """Tell whether a data stream's error has to end its session: the peer does not mean well."""
    return isinstance(error, CreditExceededError | UnexpectedMessageError) or not isinstance(
        error, ProtocolError
    )


def _fill(connection: socket.socket, room: memoryview, is_exact: bool) -> int:  # noqa: FBT001
    """Read until a buffer is full, or only once; return how much, 0 at the end."""
    if not is_exact:
        return connection.recv_into(room)
    size = 0
    if len(room) >= SELDOM_WOKEN_BYTES and wake_at(connection, WAKE_BYTES):
        # Behind the last bytes there may be none for long, so none are waited for with them.
        before_last = len(room) - WAKE_BYTES
        size = connection.recv_into(room, before_last, _WAITALL)
        wake_at(connection, 1)
        if size < before_last:
            return size
    return size + connection.recv_into(room[size:], 0, _WAITALL)


def _fill_encrypted(connection: socket.socket, room: memoryview, is_exact: bool) -> int:  # noqa: FBT001
    """Do the same with TLS, which gives out one record of 16 KiB at a time."""
    assert isinstance(connection, ssl.SSLSocket), "a plain socket waits for all by itself"
    # What `recv_into` calls, without its questions: this is done for every 16 KiB.
    read: Callable[[int, memoryview], int] = connection.read  # type: ignore[assignment]
    wanted = len(room)
    size = read(wanted, room)
    while is_exact and size < wanted and (more := read(wanted - size, room[size:])):
        size += more
    return size


def _shut(connection: socket.socket) -> None:
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it is not connected any more


def _join(streams: list[ReceiveStream]) -> None:
    for stream in streams:
        if stream.thread is not None:
            stream.thread.join(_JOIN_S)
