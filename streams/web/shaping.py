"""HTTP routes of pacing and shares.

============================  ==========================================================
route                         answer
============================  ==========================================================
GET  /links/shape             what this node keeps to, for each peer
POST /links/shape             changes it until the node ends: {"peer": "iad", "pacing_mbit_s": 50,
                              "shares": {"bulk": 2}}; what is not named stays, no peer: all
============================  ==========================================================
"""

from collections.abc import Mapping

import structlog
from aiohttp import web

from schemas.errors import InvalidChangeError
from streams.agents.outgoing import PeerLinks
from streams.agents.shaping import changed
from streams.web.body import read_json

log = structlog.get_logger(__name__)


def add_routes(app: web.Application, links: Mapping[str, PeerLinks]) -> None:
    """Add the routes.

    Args:
        app: The node's web application.
        links: By peer.
    """

    def answer(peers: list[str]) -> web.Response:
        shapes = [{"peer": peer, **links[peer].shape.to_json()} for peer in peers]
        return web.json_response({"shapes": shapes})

    async def show(_: web.Request) -> web.Response:
        return answer(sorted(links))

    async def change(request: web.Request) -> web.Response:
        body = await read_json(request)
        if not isinstance(body, dict):
            raise InvalidChangeError("body", body, "send an object")
        peer = body.pop("peer", None)
        if peer is not None and (not isinstance(peer, str) or peer not in links):
            raise InvalidChangeError("peer", peer, f"peers are {', '.join(sorted(links))}")
        peers = sorted(links) if peer is None else [peer]
        shapes = {peer: changed(links[peer].shape, body) for peer in peers}
        for peer, shape in shapes.items():
            links[peer].keep_to(shape)
            log.info("link.shape", peer=peer, **shape.to_json())
        return answer(peers)

    app.router.add_get("/links/shape", show)
    app.router.add_post("/links/shape", change)
