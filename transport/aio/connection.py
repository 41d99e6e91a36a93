"""Sessions on TCP connections: read, feed, write, wait for the next timer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from schemas.errors import LinkClosedError, PeerSilentError
from transport.session.control import ControlConnection
from transport.session.events import Event

READ_BYTES: Final = 262_144
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wire:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close at once; what is queued may be lost."""
        self.writer.transport.abort()


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def dial(address: str, timeout_s: float) -> Wire:
    """Connect to `host:port`.

    Raises:
        LinkClosedError: Nobody answers there.
        PeerSilentError: It took too long.
    """
    host, port = split_address(address)
    try:
        async with asyncio.timeout(timeout_s):
            return Wire(*await asyncio.open_connection(host, port, limit=READ_BYTES))
    except TimeoutError as error:
        raise PeerSilentError(f"{address} did not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise LinkClosedError(f"{address}: {error}") from error


async def read_some(wire: Wire) -> bytes:
    """Read what is there.

    Raises:
        LinkClosedError: The connection ended.
    """
    try:
        data = await wire.reader.read(READ_BYTES)
    except OSError as error:
        raise LinkClosedError(f"the connection broke: {error}") from error
    if not data:
        raise LinkClosedError("the peer closed the connection")
    return data


async def write_all(wire: Wire, data: bytes) -> None:
    """Write and wait until the kernel has room again.

    Raises:
        LinkClosedError: The connection ended.
    """
    if wire.writer.is_closing():
        raise LinkClosedError("the connection is closed")
    try:
        wire.writer.write(data)
        await wire.writer.drain()
    except OSError as error:
        raise LinkClosedError(f"the connection broke: {error}") from error


def flush_control(session: ControlConnection, wire: Wire) -> None:
    """Write what the session has queued; control messages are small, so nobody waits."""
    data = session.control_to_send()
    if data and not wire.writer.is_closing():
        wire.writer.write(data)


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
                data = await read_some(wire)
        except TimeoutError:
            events = session.handle_timer(time.monotonic_ns())
        else:
            events = receive(data, time.monotonic_ns(), time.time_ns() // 1_000_000)
        for event in events:
            await handle(event)
