"""`dwcp state`: get, watch and dump."""

import asyncio
import urllib.parse
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import click
from rich.pretty import Pretty

from dwcp.cli.client import access_options, url_option
from dwcp.cli.output import console, emit_json, json_option, reports_errors
from dwcp.client import NodeAccess, get_json, get_lines

prefix_option = click.option("--prefix", default="", help="Only entities that begin with this.")


@click.group(
    epilog="""\b
Examples:
  dwcp state get vm-17
  dwcp state watch --prefix vm- --url http://127.0.0.1:6067
  dwcp state dump --type vm > vms.jsonl
"""
)
def state() -> None:
    """Get, watch or dump a region's state."""


@state.command()
@click.argument("entity")
@url_option
@access_options
@json_option
@reports_errors
def get(entity: str, url: str, access: NodeAccess, *, as_json: bool) -> None:
    """Show one entity, its document and the version of its newest write."""
    found = asyncio.run(get_json(url, f"/state/{urllib.parse.quote(entity, safe='')}", access))
    if as_json:
        emit_json(found)
    else:
        console.print(Pretty(found, expand_all=True))


@state.command()
@prefix_option
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many lines.")
@url_option
@access_options
@reports_errors
def watch(prefix: str, count: int | None, url: str, access: NodeAccess) -> None:
    """Write every entity that changes as one JSON line, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_lines(get_lines(url, "/watch", {"prefix": prefix}, access), count))


@state.command()
@prefix_option
@click.option("--type", "kind", help="Only entities of this type.")
@url_option
@access_options
@json_option
@reports_errors
def dump(prefix: str, kind: str | None, url: str, access: NodeAccess, *, as_json: bool) -> None:
    """Write all entities as JSON lines; with --json only their count."""
    params = {"prefix": prefix} | ({"type": kind} if kind else {})
    count = asyncio.run(_lines(get_lines(url, "/state", params, access), None, is_quiet=as_json))
    if as_json:
        emit_json({"entities": count})
    else:
        console.print(f"{count:,} entities")


async def _lines(
    found: AsyncGenerator[dict[str, Any], None], stop_at: int | None, *, is_quiet: bool = False
) -> int:
    count = 0
    async with aclosing(found) as lines:
        async for value in lines:
            if not is_quiet:
                emit_json(value)
            count += 1
            if count == stop_at:
                break
    return count
