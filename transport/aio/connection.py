"""Sessions on TCP connections: read, feed, write, wait for the next timer."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

from schemas.errors import LinkClosedError, PeerSilentError
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.session.control import ControlConnection
from transport.session.events import Event

_NS: Final = 1_000_000_000


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def dial(
    address: str, timeout_s: float, tls: LinkTls | None = None, region: str = ""
) -> Wire:
    """Connect to `host:port`, and shake hands where the link is encrypted.

    Args:
        address: Where to.
        timeout_s: For all of it.
        tls: How to encrypt; None: plain.
        region: Whose certificate has to be there.

    Raises:
        LinkClosedError: Nobody answers there.
        PeerSilentError: It took too long.
        TlsError: They are not who we want, or we are not for them.
    """
    try:
        async with asyncio.timeout(timeout_s):
            wire = Wire(await _connect(*split_address(address)))
            try:
                if tls is not None:
                    connection = await wire.shake_hands(tls.client_context(), is_server=False)
                    wire.peer = tls.dialled(connection, region)
            except BaseException:
                wire.close()
                raise
            return wire
    except TimeoutError as error:
        raise PeerSilentError(f"{address} did not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise LinkClosedError(f"{address}: {error}") from error


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of a name that answers."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, target in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
        try:
            await loop.sock_connect(connection, target)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def flush_control(session: ControlConnection, wire: Wire) -> None:
    """Write what the session has queued; control messages are small, so nobody waits."""
    data = session.control_to_send()
    if data and not wire.is_closing:
        wire.write(data)


async def pump_control(
    session: ControlConnection,
    wire: Wire,
    receive: Callable[[bytes, int, int], list[Event]],
    handle: Callable[[Event], Awaitable[None]],
) -> None:
    """Run the control connection until it fails; never returns.

    Raises:
        LinkError: The connection ended or the peer is silent.
        ProtocolError: The peer broke the protocol.
    """
    while True:
        flush_control(session, wire)
        wait_ns = session.next_timer_ns() - time.monotonic_ns()
        try:
            async with asyncio.timeout(max(0, wait_ns) / _NS):
                data = await wire.read()
        except TimeoutError:
            events = session.handle_timer(time.monotonic_ns())
        else:
            events = receive(data, time.monotonic_ns(), time.time_ns() // 1_000_000)
        for event in events:
            await handle(event)
