"""Sessions on TCP connections: read, feed, write, wait for the next timer."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from schemas.errors import LinkClosedError, PeerSilentError
from transport.aio.options import keep_trying
from transport.aio.tls import LinkTls
from transport.aio.wire import Wire
from transport.session.control import ControlConnection
from transport.session.events import Event

ATTEMPT_S: Final = 0.5  # then another one begins
ATTEMPTS_MAX: Final = 8  # at the same time
_NS: Final = 1_000_000_000

Place = tuple[int, int, int, Any]  # family, kind, protocol, address


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
    """Connect to the first address of a name that answers.

    A lost SYN is repeated after 1, 3, 7 s by many kernels, so while nobody answers another attempt
    begins each half a second, at the next address, beside those that wait: a path that comes back
    is found soon, and one that is slow is still waited for. The caller bounds the time.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    left: list[Place] = [(*one[:3], one[4]) for one in found]
    attempts: dict[asyncio.Task[socket.socket], Place] = {}
    failure: BaseException = OSError(f"{host} has no address")
    try:
        while left:
            is_room = len(attempts) < ATTEMPTS_MAX
            if is_room:
                place = left.pop(0)
                left.append(place)
                attempts[asyncio.ensure_future(_attempt(*place))] = place
            done, _ = await asyncio.wait(
                attempts,
                timeout=ATTEMPT_S if is_room else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                place = attempts.pop(attempt)
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                failure = error
                left = [one for one in left if one != place]
        raise failure
    finally:
        await _give_up(attempts)


async def _attempt(family: int, kind: int, protocol: int, target: Any) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)  # noqa: FBT003 - the socket module's signature
        keep_trying(connection)
        await asyncio.get_running_loop().sock_connect(connection, target)
    except BaseException:
        connection.close()
        raise
    return connection


async def _give_up(attempts: Iterable["asyncio.Task[socket.socket]"]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for late in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(late, socket.socket):
            late.close()


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
            wire.keep_trying()
            try:
                events = session.handle_timer(time.monotonic_ns())
            except PeerSilentError as error:
                wire.close(error)  # nobody would read a goodbye: the next session need not wait
                raise
        else:
            events = receive(data, time.monotonic_ns(), time.time_ns() // 1_000_000)
        for event in events:
            await handle(event)
