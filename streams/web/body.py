"""What a request brings."""

import json
from typing import Any

from aiohttp import web

from schemas.errors import InvalidChangeError


async def read_json(request: web.Request) -> Any:
    """Return the body's value, whatever charset it says to be in.

    Raises:
        InvalidChangeError: It is no JSON.
    """
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise InvalidChangeError("body", "", f"send JSON ({error})") from error
