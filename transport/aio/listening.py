"""Listening sockets whose connections are handed over bare, as they come."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

BACKLOG: Final = 512
NO_DESCRIPTORS_S: Final = 0.5  # as asyncio does: what is short now may not be then


class Listening:
    """Accepts connections on one address.

    Args:
        on_connection: Gets each, non-blocking, with the address it comes from.
        on_error: Told when one could not be accepted.
    """

    def __init__(
        self,
        on_connection: Callable[[socket.socket, str], None],
        on_error: Callable[[OSError], None],
    ) -> None:
        self._on_connection = on_connection
        self._on_error = on_error
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str, port: int) -> None:
        """Listen on all addresses of a name; `OSError` when that is not possible."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listeners: list[socket.socket] = []
        try:
            for family, _, _, _, target in dict.fromkeys(found):
                listeners.append(_listen(family, target))
        except OSError:
            for listener in listeners:
                listener.close()
            raise
        self._tasks = [asyncio.ensure_future(self._accept_all(one)) for one in listeners]

    async def stop(self) -> None:
        """Accept nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, address = await loop.sock_accept(listener)
                except OSError as error:  # no descriptors left, or the caller is gone already
                    self._on_error(error)
                    await asyncio.sleep(NO_DESCRIPTORS_S)
                else:
                    self._on_connection(connection, str(address[0]))


def _listen(family: int, target: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        listener.bind(target)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
