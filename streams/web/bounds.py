"""How much is served at once, and how long a body may take."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from streams.web.access import READING, Handler, json_error

BODY_S: Final = 30.0
_LONG_LIVED: Final = frozenset({"/watch"})  # has a limit of its own


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Limits of the web server.

    Attributes:
        connections_max: Connections that have rights here, idle ones included.
        reads_max: Requests that read, at once; watches are counted for themselves.
        writes_max: Requests that write, at once: each may hold a whole body.
    """

    connections_max: int = 256
    reads_max: int = 64
    writes_max: int = 32


class Bounds:
    """A middleware that answers 429 at the limit; for requests that have the right."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = {True: limits.reads_max, False: limits.writes_max}
        self._busy: Counter[bool] = Counter()

    def add_to(self, app: web.Application) -> None:
        """Put it before all that the application has."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._check(request, handler)

        app.middlewares.insert(0, check)

    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _LONG_LIVED:
            return await handler(request)
        is_reading = request.method in READING
        limit = self._limits[is_reading]
        if self._busy[is_reading] >= limit:
            response = json_error(429, "TooManyRequests", f"{limit} are being served: try later")
            response.headers["Retry-After"] = "1"
            return response
        self._busy[is_reading] += 1
        try:
            return await _refused_body(request) or await handler(request)
        finally:
            self._busy[is_reading] -= 1


async def _refused_body(request: web.Request) -> web.Response | None:
    """Read the whole body, unpacked, and keep it in the request; or say what is wrong with it."""
    try:
        async with asyncio.timeout(BODY_S):
            await request.read()
    except TimeoutError:
        response = json_error(408, "BodyTooSlow", f"the body took more than {BODY_S:g} s")
    except web.HTTPRequestEntityTooLarge as error:
        response = json_error(413, "BodyTooLarge", str(error.text))
    except web.RequestPayloadError as error:
        response = json_error(400, "BadBody", f"the body cannot be read: {error}")
    else:
        return None
    response.force_close()
    return response
