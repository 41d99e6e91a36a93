"""One watch: changed entities of this node and of others, as JSON lines, coalesced."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from aiohttp import web

from schemas.errors import NodeError
from streams.state.entity import Entity
from streams.web.documents import change_json
from streams.web.forwarding import Forwarder

WATCH_PENDING_MAX: Final = 10_000  # entities, not changes: what is not read yet is coalesced
KEEP_ALIVE_S: Final = 15.0


class Watching:
    """What one client has not read yet.

    Args:
        request: Its request.
        here: Partitions to watch at this node.
        partition_of: Tells an entity's partition.
    """

    def __init__(
        self, request: web.Request, here: AbstractSet[int], partition_of: Callable[[str], int]
    ) -> None:
        self._request = request
        self._here = here
        self._partition_of = partition_of
        self._prefix = request.query.get("prefix", "")
        self._pending: dict[str, Entity | bytes] = {}
        self._arrived = asyncio.Event()
        self._end = ("", "")

    def note(self, entities: list[Entity]) -> None:
        """Take entities that changed at this node."""
        chosen = [e for e in entities if e.entity_id.startswith(self._prefix)]
        is_part = "partitions" in self._request.query
        self._pending.update(
            (e.entity_id, e)
            for e in chosen
            if not is_part or self._partition_of(e.entity_id) in self._here
        )
        self._arrived.set()

    async def run(
        self, forwarder: Forwarder, elsewhere: Mapping[str, list[int]]
    ) -> web.StreamResponse:
        """Write lines until the client is too slow, partitions move, or another node ends."""
        response = await begin_lines(self._request)
        moved = asyncio.ensure_future(forwarder.moves.next().wait())
        moved.add_done_callback(lambda it: None if it.cancelled() else self._on_moved())
        tasks = [
            asyncio.ensure_future(self._follow(forwarder, url, partitions))
            for url, partitions in elsewhere.items()
        ]
        try:
            await self._write_all(response)
        finally:
            for task in (moved, *tasks):
                task.cancel()
            await asyncio.gather(moved, *tasks, return_exceptions=True)
        return response

    async def _write_all(self, response: web.StreamResponse) -> None:
        while len(self._pending) <= WATCH_PENDING_MAX and not self._end[0]:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), KEEP_ALIVE_S)
            self._arrived.clear()
            # An empty line when nothing came, so that a client that left is noticed.
            lines = [_line(one) for one in self._pending.values()] or [b"\n"]
            self._pending.clear()
            await response.write(b"".join(lines))
        text = f"more than {WATCH_PENDING_MAX:,} entities wait for you: dump and watch again"
        reason, message = self._end if self._end[0] else ("TooSlow", text)
        await response.write(error_line(reason, message))

    async def _follow(self, forwarder: Forwarder, url: str, partitions: list[int]) -> None:
        try:
            async for line in forwarder.lines(url, self._request, partitions):
                if line.strip():
                    self._pending[json.loads(line)["entity"]] = line
                    self._arrived.set()
            self._finish("NodeStopped", f"{url} ended: dump and watch again")
        except NodeError as error:
            self._finish(error.reason, f"{error}: dump and watch again")

    def _on_moved(self) -> None:
        self._finish("PartitionsMoved", "partitions moved: dump and watch again")

    def _finish(self, reason: str, message: str) -> None:
        self._end = (reason, message)
        self._arrived.set()


async def begin_lines(request: web.Request) -> web.StreamResponse:
    """Begin an answer of JSON lines."""
    response = web.StreamResponse()
    response.content_type = "application/x-ndjson"
    await response.prepare(request)
    return response


def error_line(reason: str, message: str) -> bytes:
    """Return an error as the last line of an answer, or as the whole of it."""
    return json.dumps({"error": {"reason": reason, "message": message}}).encode() + b"\n"


def _line(one: Entity | bytes) -> bytes:
    return one if isinstance(one, bytes) else f"{change_json(one)}\n".encode()
