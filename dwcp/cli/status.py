"""`dwcp status`: nodes and their links."""

import asyncio
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from dwcp.cli.client import URL, access_options
from dwcp.cli.output import console, emit_json, json_option, reports_errors
from dwcp.client import NodeAccess, get_json


@click.command(
    epilog="""\b
Examples:
  dwcp status
  dwcp status --url http://127.0.0.1:6066 --url http://127.0.0.1:6067 --json
"""
)
@click.option("--url", "urls", multiple=True, help=f"A node's web address; default {URL}.")
@access_options
@json_option
@reports_errors
def status(urls: tuple[str, ...], access: NodeAccess, *, as_json: bool) -> None:
    """Show nodes, what they hold, and their links."""
    nodes = asyncio.run(_ask_all(urls or (URL,), access))
    if as_json:
        emit_json({"nodes": nodes})
        return
    for node in nodes:
        console.print(_node_table(node))
        for partition, trouble in node["ownership"]["troubles"].items():
            text = f"partition {partition}: {trouble['reason']}: {trouble['message']}"
            console.print(text, style="bold red", markup=False)
        console.print(_link_table(node))
        console.print(_flow_table(node))


async def _ask_all(urls: tuple[str, ...], access: NodeAccess) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(get_json(url, "/status", access) for url in urls)))


def _node_table(node: dict[str, Any]) -> Table:
    table = Table(title=f"{node['region']} · {node['node']}", title_justify="left", box=None)
    for name in (
        "partitions",
        "entities",
        "changes folded",
        "dead letters",
        "lag",
        "visible p50/p99",
    ):
        table.add_column(name, justify="right")
    visible = node["visible_ms"]
    table.add_row(
        _ranges(node["ownership"]["holds"]),
        f"{node['entities']:,}",
        f"{sum(node['changes_folded'].values()):,}",
        f"{sum(node['deadletters'].values()):,}",
        f"{sum(node['lag'].values()):,}",
        f"{visible['p50']:.0f} / {visible['p99']:.0f} ms",
    )
    return table


def _ranges(partitions: list[int]) -> str:
    """Return numbers in few letters: 0-3,7."""
    runs: list[list[int]] = []
    for partition in partitions:
        if runs and runs[-1][-1] == partition - 1:
            runs[-1][1:] = [partition]
        else:
            runs.append([partition])
    return ",".join("-".join(map(str, run)) for run in runs) or "none"


def _link_table(node: dict[str, Any]) -> Table:
    table = Table(box=None)
    names = ("to", "state", "TLS", "RTT", "units", "raw", "encoded", "wire", "sessions", "error")
    for name in names:
        table.add_column(
            name, justify="left" if name in {"to", "state", "TLS", "error"} else "right"
        )
    for link in node["links_out"]:
        colour = "green" if link["state"] in ("up", "path") else "red"
        table.add_row(
            link["peer"],
            f"[{colour}]{link['state']}[/]",
            {True: "yes", False: "[red]NO[/]", None: "-"}[link["is_encrypted"]],
            "-" if link["rtt_ms"] is None else f"{link['rtt_ms']:.0f} ms",
            f"{link['units']:,}",
            f"{link['raw_bytes']:,}",
            f"{link['encoded_bytes']:,}",
            f"{link['wire_bytes']:,}",
            str(link["sessions"]),
            escape(link["error"]),
        )
    return table


def _flow_table(node: dict[str, Any]) -> Table:
    """Draw what the encoding did, level by level."""
    table = Table(box=None)
    for name in ("encoding", "topic", "level"):
        table.add_column(name)
    for name in ("units", "raw", "encoded", "ratio", "key", "NACK"):
        table.add_column(name, justify="right")
    ways = [("to", one) for one in node["links_out"]] + [("from", one) for one in node["links_in"]]
    for way, link in ways:
        for topic, flow in link["flows"].items():
            for level, one in flow["levels"].items():
                table.add_row(
                    f"{way} {link['peer']}",
                    topic,
                    level,
                    f"{one['units']:,}",
                    f"{one['raw_bytes']:,}",
                    f"{one['encoded_bytes']:,}",
                    f"{one['raw_bytes'] / max(1, one['encoded_bytes']):.1f}x",
                    f"{flow['key_units']:,}",
                    f"{flow['nacks']:,}",
                )
    return table
