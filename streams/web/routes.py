"""HTTP routes of a node, added to Faust's own web server.

============================  ==========================================================
route                         answer
============================  ==========================================================
GET  /state/{entity}          the entity and its version, 404 when there is none
GET  /state?prefix=&type=     all entities, one JSON object a line
POST /state                   one change or {"changes": [...]}, answered when durable
GET  /watch?prefix=           changes as they are folded, one JSON object a line
GET  /status                  what the node knows of itself and its links
GET  /links                   the last minutes of its links, and why they have so many streams
GET  /metrics                 the status for Prometheus
============================  ==========================================================

A change is {"entity", "type", "document"} (document null deletes) or {"entity", "type", "patch":
{"/path": value}, "remove": ["/path"]}. Errors are {"error": {"reason", "message"}}.

Any node of a region answers for all of them (`streams.web.forwarding`).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from connectors.producer import StateProducer
from schemas.changes import check_entity_id, check_path, check_text, dump_document, set_field
from schemas.errors import (
    DwcpError,
    InvalidChangeError,
    LogError,
    NodeError,
    PartitionNotHeldError,
)
from schemas.ids import Dot
from streams.agents.replica import Replica
from streams.web.access import json_error
from streams.web.body import read_json
from streams.web.documents import entity_detail, entity_json
from streams.web.forwarding import PARTITIONS, Forwarder, Neighbours
from streams.web.watching import Watching, begin_lines, error_line

CHANGES_PER_POST_MAX: Final = 1_000
WATCHERS_MAX: Final = 64
_LINES_PER_CHUNK: Final = 200


class Routes:
    """The handlers and what they show.

    Args:
        replica: The entity store.
        producer: Where posted changes go.
        status: Returns the node's status as JSON values.
        links: Returns what its links did, likewise.
        registry: The node's metrics.
        neighbours: The region's other nodes.
    """

    def __init__(
        self,
        replica: Replica,
        producer: StateProducer,
        status: Callable[[], dict[str, Any]],
        links: Callable[[], dict[str, Any]],
        registry: CollectorRegistry,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._forwarder = Forwarder(neighbours or Neighbours())
        self._replica = replica
        self._producer = producer
        self._status = status
        self._links = links
        self._registry = registry

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.middlewares.append(errors_as_json)
        app.router.add_get("/state/{entity:.+}", self.get_entity)
        app.router.add_get("/state", self.get_state)
        app.router.add_post("/state", self.post_state)
        app.router.add_get("/watch", self.watch)
        app.router.add_get("/status", self.get_status)
        app.router.add_get("/links", self.get_links)
        app.router.add_get("/metrics", self.get_metrics)

    async def close(self) -> None:
        """Release the connections to other nodes."""
        await self._forwarder.close()

    async def get_entity(self, request: web.Request) -> web.Response:
        """Answer with one entity."""
        entity_id = request.match_info["entity"]
        partition = self._replica.store.partition_of(entity_id)
        if partition not in self._replica.store.partitions:
            return await self._forwarder.fetch(request, partition)
        entity = self._replica.store.get(entity_id)
        if entity is None or not entity.is_visible:
            return json_error(404, "NotFound", f"there is no entity {entity_id!r} in this region")
        return web.json_response(entity_detail(entity))

    async def get_state(self, request: web.Request) -> web.StreamResponse:
        """Answer with all entities, without stopping the fold for long."""
        prefix, kind = request.query.get("prefix", ""), request.query.get("type")
        here, elsewhere = self._split(request)
        chosen = [
            entity
            for entity in self._replica.store.entities(here)
            if entity.entity_id.startswith(prefix) and kind in (None, entity.entity_type)
        ]
        response = await begin_lines(request)
        for start in range(0, len(chosen), _LINES_PER_CHUNK):
            lines = [entity_json(entity) for entity in chosen[start : start + _LINES_PER_CHUNK]]
            text = "".join(f"{line}\n" for line in lines if line is not None)
            await response.write(text.encode())
        try:
            for url, partitions in elsewhere.items():
                async for line in self._forwarder.lines(url, request, partitions):
                    await response.write(line)
        except NodeError as error:  # the answer has begun: only a line can say it
            await response.write(error_line(error.reason, str(error)))
        await response.write_eof()
        return response

    async def post_state(self, request: web.Request) -> web.Response:
        """Produce changes and answer with their places when they are durable."""
        body = await read_json(request)
        changes = body.get("changes", [body]) if isinstance(body, dict) else None
        if not isinstance(changes, list) or not 0 < len(changes) <= CHANGES_PER_POST_MAX:
            raise InvalidChangeError(
                "body", body, f'send one change, or {{"changes": [1 to {CHANGES_PER_POST_MAX}]}}'
            )
        checked = [_check_posted(change) for change in changes]
        stored = [await self._produce(change) for change in checked]
        dots = [_dot_json(await future) for future in stored]
        return web.json_response({"stored": dots})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Send every entity that changes, for as long as the client reads."""
        if len(self._replica.watchers) >= WATCHERS_MAX:
            return json_error(503, "TooManyWatchers", f"{WATCHERS_MAX} are watching: try later")
        here, elsewhere = self._split(request)
        watching = Watching(request, here, self._replica.store.partition_of)
        self._replica.watchers.add(watching.note)
        try:
            return await watching.run(self._forwarder, elsewhere)
        finally:
            self._replica.watchers.discard(watching.note)

    def _split(self, request: web.Request) -> tuple[frozenset[int], dict[str, list[int]]]:
        """Return which of the wanted partitions are here, and where to fetch the others."""
        store = self._replica.store
        given = request.query.get(PARTITIONS, "")
        try:
            named = frozenset(map(int, given.split(","))) if given else None
        except ValueError as error:
            raise InvalidChangeError(PARTITIONS, given, "write numbers, 0,3,7") from error
        wanted = frozenset(range(store.partition_count)) if named is None else named
        here = wanted.intersection(store.partitions)
        return here, self._forwarder.plan(request, wanted - here)

    async def get_status(self, _: web.Request) -> web.Response:
        """Answer with the node's status."""
        return web.json_response(self._status())

    async def get_links(self, _: web.Request) -> web.Response:
        """Answer with the last minutes of the links."""
        return web.json_response(self._links())

    async def get_metrics(self, _: web.Request) -> web.Response:
        """Answer with the metrics in Prometheus' text format."""
        return web.Response(body=generate_latest(self._registry), content_type="text/plain")

    async def _produce(self, change: dict[str, Any]) -> "asyncio.Future[Dot]":
        entity, kind = change["entity"], change.get("type", "")
        if "patch" in change or "remove" in change:
            fields, remove = change.get("patch", {}), tuple(change.get("remove", ()))
            return await self._producer.patch(entity, fields, remove=remove, entity_type=kind)
        if change["document"] is None:
            return await self._producer.delete(entity, entity_type=kind)
        return await self._producer.put(entity, change["document"], entity_type=kind)


def _dot_json(dot: Dot) -> dict[str, Any]:
    return {
        "region": dot.region,
        "partition": dot.partition,
        "offset": dot.offset,
        "index": dot.change_index,
    }


def _check_posted(change: Any) -> dict[str, Any]:
    if not isinstance(change, dict):
        raise InvalidChangeError("change", change, "send an object")
    expected: dict[str, tuple[type, ...]] = {
        "entity": (str,),
        "type": (str,),
        "document": (dict, type(None)),
        "patch": (dict,),
        "remove": (list,),
    }
    for name, value in change.items():
        if name not in expected:
            raise InvalidChangeError(name, value, f"known are {', '.join(expected)}")
        if not isinstance(value, expected[name]):
            raise InvalidChangeError(name, value, "it has the wrong type")
    if "entity" not in change:
        raise InvalidChangeError("entity", None, "name the entity")
    if ("document" in change) == ("patch" in change or "remove" in change):
        raise InvalidChangeError("document", None, "send either document, or patch and remove")
    _check_values(change)
    return change


def _check_values(change: dict[str, Any]) -> None:
    """Refuse what the producer would refuse, before any change of the same request is sent."""
    check_entity_id(change["entity"])
    check_text("type", change.get("type", ""))
    fields, remove = change.get("patch", {}), change.get("remove", [])
    for path, value in fields.items():
        set_field(path, value)
    for path in remove:
        check_path(path)
    if change.get("document") is not None:
        dump_document(change["document"])
    elif "document" not in change and not fields and not remove:
        raise InvalidChangeError("patch", fields, "give at least one field to set or remove")


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer what went wrong as {"error": {"reason", "message"}}."""
    try:
        response: web.StreamResponse = await handler(request)
    except InvalidChangeError as error:
        return json_error(400, error.reason, str(error))
    except LogError as error:
        return json_error(503 if error.is_retryable else 413, error.reason, str(error))
    except DwcpError as error:
        is_moving = isinstance(error, PartitionNotHeldError)
        return json_error(503 if is_moving else 500, error.reason, str(error))
    except web.HTTPRequestEntityTooLarge as error:
        return json_error(413, "BodyTooLarge", str(error.text))
    except web.HTTPClientError as error:
        reason = error.reason.title().replace(" ", "")
        answer = json_error(
            error.status, reason, f"{request.method} {request.path}: {error.reason}"
        )
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    return response
