"""Talks to a node's HTTP face."""

import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from schemas.errors import ConfigError, NodeError


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """What opens a node's door.

    Attributes:
        token: Bearer token.
        ca: PEM file of the authorities that its certificate may be of; None: the system's.
        cert: PEM file of our certificate, `key` of its key.
    """

    token: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return how to encrypt.

        Raises:
            ConfigError: A file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ValueError) as error:
            shown = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise ConfigError("--ca, --cert, --key", shown, f"give PEM files ({error})") from error
        return context


_NOTHING: Final = NodeAccess()


async def get_json(url: str, path: str, access: NodeAccess = _NOTHING) -> dict[str, Any]:
    """GET one JSON object.

    Raises:
        NodeError: The node cannot be reached or answers with an error.
    """
    return await _ask("GET", url, path, None, access)


async def post_json(
    url: str, path: str, value: dict[str, Any], access: NodeAccess = _NOTHING
) -> dict[str, Any]:
    """POST one JSON object; see `get_json`."""
    return await _ask("POST", url, path, value, access)


async def _ask(
    method: str, url: str, path: str, value: dict[str, Any] | None, access: NodeAccess
) -> dict[str, Any]:
    async with _session(access, url) as session:
        try:
            async with session.request(method, url + path, json=value) as answer:
                body: dict[str, Any] = json.loads(await answer.text())
                if answer.ok:
                    return body
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NodeError(f"{url}: {error}: does the node run there?") from error
    raise NodeError(f"{url}{path}: {body['error']['message']}")


async def get_lines(
    url: str, path: str, params: dict[str, str], access: NodeAccess = _NOTHING
) -> AsyncGenerator[dict[str, Any], None]:
    """GET JSON lines as they come.

    Raises:
        NodeError: As `get_json`, or the node ends the lines with an error.
    """
    async with _session(access, url) as session:
        try:
            async with session.get(url + path, params=params) as answer:
                async for line in answer.content:
                    if line.strip():
                        value = json.loads(line)
                        if "error" in value:
                            raise NodeError(f"{url}{path}: {value['error']['message']}")
                        yield value
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NodeError(f"{url}{path}: {error}: does the node run there?") from error


def _session(access: NodeAccess, url: str) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else None
    connector = aiohttp.TCPConnector(ssl=access.context()) if url.startswith("https:") else None
    # A document has up to 16 MiB and stands on one line.
    timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)
    return aiohttp.ClientSession(
        timeout=timeout, read_bufsize=16 << 20, headers=headers, connector=connector
    )
