"""One TCP connection on the event loop, encrypted or not."""

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from schemas.access_errors import NotTlsError, UnexpectedTlsError
from schemas.errors import LinkClosedError, LinkError, PeerNotReadingError
from transport.aio.options import keep_trying
from transport.aio.tls import tls_error
from transport.session.events import CertifiedPeer

READ_BYTES: Final = 262_144
SEND_BYTES: Final = 262_144
UNSENT_BYTES_MAX: Final = 64 << 20  # a whole unit and its frames; control messages are small
FINISH_S: Final = 1.0
# Records of TLS begin so (alert and handshake); no frame of ours does.
_TLS_BEGINNINGS: Final = (b"\x15\x03", b"\x16\x03")
_TLS_HANDSHAKE: Final = b"\x16"
_TLS_ALERT: Final = bytes([0x15, 3, 3, 0, 2, 2, 70])  # fatal, protocol_version (RFC 8446, 6.2)


class Wire:
    """One TCP connection on the running loop, encrypted or not.

    A bare non-blocking socket instead of asyncio's streams: OpenSSL then tells the peer why it is
    refused, and a thread may take the socket over (`detach`). An `SSLSocket` is for one thread at
    a time.

    Args:
        connection: Connected; is set non-blocking.

    Attributes:
        peer: Whom the peer's certificate names, once the handshake is done.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.peer: CertifiedPeer | None = None
        self._socket = connection
        self._socket.setblocking(False)  # noqa: FBT003 - the socket module's signature
        with contextlib.suppress(OSError):  # a peer that is gone already: the next call says so
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_trying(connection)
        self._unsent = bytearray()
        self._error: LinkError | None = None
        self._sent = asyncio.Event()
        self._sent.set()
        self._is_writing = False
        self._has_read = False
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return isinstance(self._socket, ssl.SSLSocket)

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._error is not None

    def keep_trying(self) -> None:
        """Let the kernel repeat lost bytes soon, also after a cut; call it now and then."""
        if self._error is None:
            keep_trying(self._socket)

    async def shake_hands(self, context: ssl.SSLContext, *, is_server: bool) -> ssl.SSLSocket:
        """Speak TLS from now on; the caller bounds the time.

        Raises:
            TlsError: One of its kinds.
            LinkClosedError: The connection ended.
        """
        assert not self.is_encrypted, "TLS within TLS"
        if is_server:
            await self._require_tls()
        try:
            self._socket = encrypted = context.wrap_socket(
                self._socket, server_side=is_server, do_handshake_on_connect=False
            )
            while True:
                try:
                    encrypted.do_handshake()
                except ssl.SSLWantReadError:
                    await self._wait_until(is_readable=True)
                except ssl.SSLWantWriteError:
                    await self._wait_until(is_readable=False)
                else:
                    return encrypted
        except OSError as error:
            raise _broken(error) from error

    async def _require_tls(self) -> None:
        """Look at the first byte: OpenSSL would end a plain peer without a word."""
        while True:
            try:
                first = self._socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                await self._wait_until(is_readable=True)
            except OSError as error:
                raise _broken(error) from error
            else:
                break
        if first and first != _TLS_HANDSHAKE:
            self.write(_TLS_ALERT)
            raise NotTlsError("this link is encrypted, the peer's is not: compare link.plain")

    async def read(self) -> bytes:
        """Return what is there, at least one byte.

        Raises:
            LinkClosedError: The connection ended.
            TlsError: The peer refused our certificate, or speaks TLS and we do not.
        """
        if self._error is not None:
            raise self._error
        while True:
            try:
                data = self._socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait_until(is_readable=True)
            except OSError as error:
                raise _broken(error) from error
            else:
                return self._checked(data)

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes, and the rest as soon as it can.

        Raises:
            LinkError: The connection ended, or too much waits already.
        """
        if self._error is not None:
            raise self._error
        self._unsent += data
        if len(self._unsent) > UNSENT_BYTES_MAX:
            self.close(PeerNotReadingError(f"{len(self._unsent):,} bytes wait for the peer"))
        else:
            self._send()

    async def drain(self) -> None:
        """Wait until the kernel has all of it.

        Raises:
            LinkError: The connection ended.
        """
        await self._sent.wait()
        if self._error is not None:
            raise self._error

    def close(self, error: LinkError | None = None) -> None:
        """Close at once; what is unsent is lost, and who waits gets the error."""
        if self._error is None:
            self._error = error or LinkClosedError("the connection is closed")
            self._stop_watching()
            self._socket.close()

    async def finish(self) -> None:
        """Send what is queued, let the peer read it, and close; within `FINISH_S`."""
        try:
            with contextlib.suppress(LinkError, OSError, TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    await self.drain()
                    # A close with unread bytes would reset the connection, and the peer might
                    # never read our last word: so the peer's end is waited for.
                    self._socket.shutdown(socket.SHUT_WR)
                    while True:
                        await self.read()
        finally:
            self.close()

    def detach(self) -> socket.socket:
        """Hand the socket over; all that was written must have been sent."""
        assert not self._unsent, "bytes wait for the peer"
        self._stop_watching()
        self._error = LinkClosedError("the connection was handed over")
        return self._socket

    def _checked(self, data: bytes) -> bytes:
        if not data:
            raise LinkClosedError("the peer closed the connection")
        if not self._has_read and not self.is_encrypted and data[:2] in _TLS_BEGINNINGS:
            raise UnexpectedTlsError(
                "the other side speaks TLS: give this one link.tls, or both link.plain"
            )
        self._has_read = True
        return data

    def _send(self) -> None:
        """Send until the kernel is full; then the loop calls again."""
        while self._unsent and self._error is None:
            try:
                with memoryview(self._unsent) as view:
                    sent = self._socket.send(view[:SEND_BYTES])
            except (BlockingIOError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self.close(_broken(error))
                return
            del self._unsent[:sent]
        self._watch_writable(is_wanted=bool(self._unsent))

    def _watch_writable(self, *, is_wanted: bool) -> None:
        if is_wanted == self._is_writing:
            return
        self._is_writing = is_wanted
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        if is_wanted:
            self._sent.clear()
            loop.add_writer(descriptor, self._send)
        else:
            loop.remove_writer(descriptor)
            self._sent.set()

    async def _wait_until(self, *, is_readable: bool) -> None:
        """Wait for the socket; raises what `close` was called with. One waits at a time."""
        assert self._waiting is None, "two wait for the same connection"
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        self._waiting = waiting = loop.create_future()
        add, remove = (
            (loop.add_reader, loop.remove_reader)
            if is_readable
            else (loop.add_writer, loop.remove_writer)
        )
        add(descriptor, _set, waiting)
        try:
            await waiting
        finally:
            self._waiting = None
            if self._error is None:  # else the descriptor may be another connection's by now
                remove(descriptor)
        if self._error is not None:
            raise self._error

    def _stop_watching(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        if descriptor >= 0:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
        self._is_writing = False
        self._sent.set()
        if self._waiting is not None:
            _set(self._waiting)


def _set(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _broken(error: OSError) -> LinkError:
    if isinstance(error, ssl.SSLError):
        return tls_error(error)
    return LinkClosedError(f"the connection broke: {error}")
