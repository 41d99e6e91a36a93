"""Who may read and who may write over HTTP; asked before any page is, Faust's own included.

Reading and writing are two rights. A bearer token has one of them (or both, where both settings
name the same token); a client's certificate has those that its URIs name:
`dwcp://<cluster>/client/<name>/read` and `.../write`. A node on loopback where nothing is
configured is open to whoever is on the machine, but to no web page of elsewhere that a browser on
the machine shows.
"""

import enum
import hmac
import ipaddress
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aiohttp import web

from schemas.access_errors import AccessDeniedError, ForbiddenError, UnauthorizedError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SCHEME: Final = "dwcp://"
_CLIENT_PARTS: Final = 4


class Right(enum.Enum):
    """What somebody may do."""

    READ = "read"
    WRITE = "write"


ALL: Final = frozenset(Right)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """What opens the door.

    Attributes:
        cluster: Federation that a client's certificate has to name.
        tokens: Bearer token of each right that is given by one.
        takes_certificates: Whether clients may show certificates.
    """

    cluster: str
    tokens: Mapping[Right, str]
    takes_certificates: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing is demanded."""
        return not self.tokens and not self.takes_certificates


def client_uri(cluster: str, name: str, right: Right) -> str:
    """Return the URI that gives a client a right, in its certificate."""
    return f"{_SCHEME}{quote(cluster, safe='')}/client/{quote(name, safe='')}/{right.value}"


def rights_of(uris: list[str], cluster: str) -> frozenset[Right]:
    """Return the rights that a certificate's URIs give in a federation."""
    split = (uri.removeprefix(_SCHEME).split("/") for uri in uris if uri.startswith(_SCHEME))
    named = {
        parts[3]
        for parts in split
        if len(parts) == _CLIENT_PARTS and parts[:2] == [quote(cluster, safe=""), "client"]
    }
    return frozenset(right for right in Right if right.value in named)


class Access:
    """The outermost middleware of the node's web application.

    Args:
        settings: What opens the door.
        on_let_in: Told of each request that has the right.

    Attributes:
        refused: Requests turned away since the start, by reason.
    """

    def __init__(self, settings: AccessSettings, on_let_in: Callable[[web.Request], None]) -> None:
        self._on_let_in = on_let_in
        self._settings = settings
        self._tokens = {right: token.encode() for right, token in settings.tokens.items()}
        self.refused: Counter[str] = Counter()

    def add_to(self, app: web.Application) -> None:
        """Put it before all that the application has."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._check(request, handler)

        app.middlewares.insert(0, check)

    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._require(Right.READ if request.method in READING else Right.WRITE, request)
        except AccessDeniedError as error:
            self.refused[error.reason] += 1
            response = json_error(error.status, error.reason, str(error))
            if isinstance(error, UnauthorizedError):
                response.headers["WWW-Authenticate"] = 'Bearer realm="dwcp"'
            response.force_close()
            return response
        self._on_let_in(request)
        return await handler(request)

    def _require(self, right: Right, request: web.Request) -> None:
        if self._settings.is_open:
            _require_local(request)
            return
        rights = self._rights(request)
        if not rights:
            raise UnauthorizedError(
                "send `Authorization: Bearer TOKEN` (`dwcp --token`), or show a certificate"
            )
        if right not in rights:
            raise ForbiddenError(
                f"this token or certificate does not give the right to {right.value}"
            )

    def _rights(self, request: web.Request) -> frozenset[Right]:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        rights: set[Right] = set()
        if scheme.lower() == "bearer":
            token = given.strip().encode(errors="surrogateescape")
            # All are compared, and each in constant time: how long it takes tells nothing.
            rights = {r for r, t in self._tokens.items() if hmac.compare_digest(t, token)}
        return frozenset(rights) | self._certified(request)

    def _certified(self, request: web.Request) -> frozenset[Right]:
        if not self._settings.takes_certificates or request.transport is None:
            return frozenset()
        found: Any = request.transport.get_extra_info("peercert") or {}
        uris = [name for kind, name in found.get("subjectAltName", ()) if kind == "URI"]
        return rights_of(uris, self._settings.cluster)


def _require_local(request: web.Request) -> None:
    """Refuse what a browser sends for a page of elsewhere (rebound names, forged posts)."""
    host = urlsplit(f"//{request.host}").hostname or ""
    if not _is_loopback(host):
        raise ForbiddenError(
            f"this node is for its own machine, not for {host!r}: configure tokens"
        )
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise ForbiddenError(f"a web page of {origin!r} has no rights here")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def json_error(status: int, reason: str, message: str) -> web.Response:
    """Return an error as our JSON."""
    text = json.dumps({"error": {"reason": reason, "message": message}})
    return web.Response(status=status, text=text, content_type="application/json")
