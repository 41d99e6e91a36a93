"""`dwcp state`: get, watch and dump."""

import asyncio
import urllib.parse
from contextlib import aclosing, suppress
from typing import Any

import click
from rich.pretty import Pretty

from dwcp.cli.client import url_option
from dwcp.cli.output import console, emit_json, json_option, reports_errors
from dwcp.client import get_json, get_lines

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
@json_option
@reports_errors
def get(entity: str, url: str, *, as_json: bool) -> None:
    """Show one entity, its document and the version of its newest write."""
    found = asyncio.run(get_json(url, f"/state/{urllib.parse.quote(entity, safe='')}"))
    if as_json:
        emit_json(found)
    else:
        console.print(Pretty(found, expand_all=True))


@state.command()
@prefix_option
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many lines.")
@url_option
@reports_errors
def watch(prefix: str, count: int | None, url: str) -> None:
    """Write every entity that changes as one JSON line, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_lines(url, "/watch", {"prefix": prefix}, count))


@state.command()
@prefix_option
@click.option("--type", "kind", help="Only entities of this type.")
@url_option
@json_option
@reports_errors
def dump(prefix: str, kind: str | None, url: str, *, as_json: bool) -> None:
    """Write all entities as JSON lines; with --json only their count."""
    params = {"prefix": prefix} | ({"type": kind} if kind else {})
    count = asyncio.run(_lines(url, "/state", params, None, is_quiet=as_json))
    if as_json:
        emit_json({"entities": count})
    else:
        console.print(f"{count:,} entities")


async def _lines(
    url: str, path: str, params: dict[str, Any], stop_at: int | None, *, is_quiet: bool = False
) -> int:
    count = 0
    async with aclosing(get_lines(url, path, params)) as lines:
        async for value in lines:
            if not is_quiet:
                emit_json(value)
            count += 1
            if count == stop_at:
                break
    return count
