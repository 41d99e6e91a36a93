"""Readers may ask any node: what another node of the region holds is fetched from there.

A node fetches for its reader (no redirect: readers need to reach one node only), once: a request
that was forwarded is answered or refused, never forwarded again. What is on its way between two
nodes is `PartitionNotHeld`, 503, for a moment.
"""

import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web

from schemas.errors import NodeError, PartitionNotHeldError
from streams.agents.moves import Moves
from streams.sharing import Owner

FORWARDED: Final = "Dwcp-Forwarded"
PARTITIONS: Final = "partitions"
CONNECT_S: Final = 3.0
SILENCE_S: Final = 30.0  # watches say something every 15 s
LINE_BYTES_MAX: Final = 16 << 20  # a document stands on one line


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What forwarding has to know.

    Attributes:
        node: Our name.
        owners: Who owns each partition now.
        moves: Moves of our own partitions.
        token: Bearer token that lets us read at our neighbours.
        context: How to encrypt towards https addresses.
    """

    node: str = ""
    owners: Callable[[], Mapping[int, Owner]] = dict
    moves: Moves = field(default_factory=Moves)
    token: str | None = None
    context: ssl.SSLContext | None = None


class Forwarder:
    """Fetches from the region's other nodes.

    Args:
        neighbours: Who they are.
    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self.moves = neighbours.moves
        self._session: aiohttp.ClientSession | None = None

    def plan(self, request: web.Request, partitions: Iterable[int]) -> dict[str, list[int]]:
        """Return which partitions to fetch from which address.

        Raises:
            PartitionNotHeldError: Nobody is known to hold one of them, or we were asked by a node.
        """
        urls: dict[str, list[int]] = {}
        owners = self._neighbours.owners()
        for partition in sorted(partitions):
            owner = owners.get(partition)
            is_other = owner is not None and owner.url and owner.node != self._neighbours.node
            if owner is None or not is_other or FORWARDED in request.headers:
                raise PartitionNotHeldError(
                    f"partition {partition} is between two nodes, or being restored: try again"
                )
            urls.setdefault(owner.url, []).append(partition)
        return urls

    async def fetch(self, request: web.Request, partition: int) -> web.Response:
        """Answer a request as the owner of a partition does.

        Raises:
            PartitionNotHeldError: As `plan`, or the owner cannot be reached.
        """
        (url,) = self.plan(request, [partition])
        try:
            async with self._get(f"{url}{request.rel_url}") as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PartitionNotHeldError(f"partition {partition}: {url}: {error}") from error
        kind = answer.content_type
        return web.Response(status=answer.status, body=body, content_type=kind)

    async def lines(
        self, url: str, request: web.Request, partitions: Iterable[int]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the lines that another node gives for some of its partitions.

        Raises:
            NodeError: It cannot be reached, refuses, or ends its lines with an error.
        """
        params = {**request.query, PARTITIONS: ",".join(map(str, partitions))}
        try:
            async with self._get(f"{url}{request.path}", params) as answer:
                if not answer.ok:
                    raise NodeError(f"{url}: {await answer.text()}")
                async for line in answer.content:
                    if line.startswith(b'{"error":') or not line.endswith(b"\n"):
                        raise NodeError(f"{url}: {line.decode(errors='replace').strip()}")
                    yield line
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NodeError(f"{url}: {error}") from error

    async def close(self) -> None:
        """Release all connections."""
        if self._session is not None:
            await self._session.close()

    def _get(
        self, url: str, params: Mapping[str, str] | None = None
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S)
            self._session = aiohttp.ClientSession(timeout=timeout, read_bufsize=LINE_BYTES_MAX)
        token, context = self._neighbours.token, self._neighbours.context
        headers = {FORWARDED: self._neighbours.node or "unnamed"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._session.get(
            url,
            params=params,
            headers=headers,
            ssl=context if context is not None else True,
            allow_redirects=False,
        )
