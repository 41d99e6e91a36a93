"""Talks to a node's HTTP face."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from schemas.errors import NodeError


async def get_json(url: str, path: str) -> dict[str, Any]:
    """GET one JSON object.

    Raises:
        NodeError: The node cannot be reached or answers with an error.
    """
    async with _session() as session:
        try:
            async with session.get(url + path) as answer:
                body: dict[str, Any] = json.loads(await answer.text())
                if answer.ok:
                    return body
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NodeError(f"{url}: {error}: does the node run there?") from error
    raise NodeError(f"{url}{path}: {body['error']['message']}")


async def get_lines(
    url: str, path: str, params: dict[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    """GET JSON lines as they come.

    Raises:
        NodeError: As `get_json`, or the node ends the lines with an error.
    """
    async with _session() as session:
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


def _session() -> aiohttp.ClientSession:
    # A document has up to 16 MiB and stands on one line.
    timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)
    return aiohttp.ClientSession(timeout=timeout, read_bufsize=16 << 20)
