"""The web server of a node with what guards it: rights, limits, bounded connections."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streams.web.access import Access, AccessSettings
from streams.web.bounds import Bounds, WebLimits
from streams.web.site import IDLE_S, BoundedSite


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Where the web server is, and who may do how much.

    Attributes:
        address: Host and port.
        access: What opens the door.
        limits: How much is served at once.
        context: Returns how to encrypt, asked at each connection; None: plain.
    """

    address: tuple[str, int]
    access: AccessSettings
    limits: WebLimits = field(default_factory=WebLimits)
    context: Callable[[], ssl.SSLContext] | None = None


class Guard:
    """Guards Faust's web server, all pages of Faust's own included.

    Args:
        settings: Who may do how much.

    Attributes:
        access: Counts who was refused.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._site: BoundedSite | None = None
        self.access = Access(settings.access, self._let_in)

    def add_to(self, server: Any) -> None:
        """Take over the connections of Faust's web driver; before it starts, after all routes."""
        app: web.Application = server.web_app
        Bounds(self._settings.limits).add_to(app)
        self.access.add_to(app)
        # Faust's own runner keeps idle connections for an hour; it offers no setting.
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_S)
        server._runner = runner  # noqa: SLF001 - see above; tests/broker/test_node.py looks
        server._transport_handlers = {"tcp": lambda: self.site(runner)}  # noqa: SLF001

    def site(self, runner: "web.BaseRunner") -> BoundedSite:
        """Return where the server listens; for the driver."""
        settings = self._settings
        self._site = BoundedSite(
            runner, settings.address, settings.limits.connections_max, settings.context
        )
        return self._site

    def _let_in(self, request: web.Request) -> None:
        if self._site is not None:
            self._site.let_in(request)
