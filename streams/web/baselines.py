"""HTTP routes of baselines.

============================  ==========================================================
route                         answer
============================  ==========================================================
GET  /baselines               what is held here, by name, and what peers had to forget
POST /baselines               make a new one now and ship it; answered when it stands
============================  ==========================================================
"""

from aiohttp import web

from streams.agents.baselines import Baselines


def add_routes(app: web.Application, baselines: Baselines) -> None:
    """Add the routes."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(baselines.to_json())

    async def make(_: web.Request) -> web.Response:
        return web.json_response(await baselines.make())

    app.router.add_get("/baselines", show)
    app.router.add_post("/baselines", make)
