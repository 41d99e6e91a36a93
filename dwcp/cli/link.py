"""`dwcp link`: what links do, how fast they are."""

import asyncio
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dwcp.cli.client import access_options, url_option
from dwcp.cli.output import console, emit_json, json_option, reports_errors
from dwcp.client import NodeAccess, get_json, post_json
from dwcp.link_plot import draw_link
from schemas.errors import ConfigError

_DECISIONS_SHOWN = 12
_TABLE_WIDTH = 116  # also where there is no terminal


@click.group(
    epilog="""\b
Examples:
  dwcp link status --url http://127.0.0.1:6066
  dwcp link plot --out links.svg
  dwcp link shape --peer iad --mbit-s 50
  dwcp link bench --quick
  dwcp link bench --scenario all --repeat 5 --json
"""
)
def link() -> None:
    """Show links, shape and measure them."""


@link.command()
@url_option
@access_options
@json_option
@reports_errors
def status(url: str, access: NodeAccess, *, as_json: bool) -> None:
    """Show each link's data streams, its last second, and why there are so many streams."""
    links = asyncio.run(get_json(url, "/links", access))["links"]
    if as_json:
        emit_json({"links": links})
        return
    console.print(_status_table(links))
    for one in links:
        console.print(_decision_table(one))


@link.command()
@url_option
@click.option("--peer", help="Only the links to this region.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("links.svg"))
@access_options
@json_option
@reports_errors
def plot(url: str, peer: str | None, out: Path, access: NodeAccess, *, as_json: bool) -> None:
    """Draw the last minutes of each link: goodput, streams and decisions, round trips."""
    links = asyncio.run(get_json(url, "/links", access))["links"]
    chosen = [one for one in links if peer in (None, one["peer"])]
    if not chosen:
        known = ", ".join(sorted({one["peer"] for one in links})) or "no peer at all"
        raise ConfigError("--peer", peer, f"the node has links to {known}")
    files = []
    for number, one in enumerate(chosen):
        name = out if len(chosen) == 1 else out.with_stem(f"{out.stem}-{number + 1}")
        title = f"{one['region']} to {one['peer']} ({one['node'] or 'no session'})"
        name.write_text(draw_link(one, title))
        files.append(str(name))
        console.print(f"{escape(title)}: {name}")
    if as_json:
        emit_json({"files": files})


@link.command()
@url_option
@click.option("--peer", help="Only the links to this region.")
@click.option("--mbit-s", type=float, help="Rate of all data streams to a peer; 0: no limit.")
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="CLASS=WEIGHT",
    help="Weight of state, catch_up or bulk; may be given again.",
)
@access_options
@json_option
@reports_errors
def shape(
    url: str,
    peer: str | None,
    mbit_s: float | None,
    shares: tuple[str, ...],
    access: NodeAccess,
    *,
    as_json: bool,
) -> None:
    r"""Show how fast a node may send and who gets how much of it; or change it while it runs.

    A change holds for this node until it ends; its configuration, `link.pacing_mbit_s` and
    `link.shares`, is what it begins with.

    \b
    Examples:
      dwcp link shape
      dwcp link shape --peer iad --mbit-s 50 --share bulk=4
    """
    wanted: dict[str, Any] = {}
    if mbit_s is not None:
        wanted["pacing_mbit_s"] = mbit_s
    if shares:
        wanted["shares"] = dict(map(_share, shares))
    if wanted:
        named = {} if peer is None else {"peer": peer}
        answer = asyncio.run(post_json(url, "/links/shape", named | wanted, access))
    else:
        answer = asyncio.run(get_json(url, "/links/shape", access))
    shapes = [one for one in answer["shapes"] if peer in (None, one["peer"])]
    if as_json:
        emit_json({"shapes": shapes})
        return
    console.print(_shape_table(shapes))


def _share(text: str) -> tuple[str, int]:
    name, _, weight = text.partition("=")
    if not weight.isdecimal():
        raise ConfigError("--share", text, "write it as bulk=4")
    return name, int(weight)


def _shape_table(shapes: list[dict[str, Any]]) -> Table:
    table = Table("to", box=None)
    for name in ("rate", "state", "catch-up", "bulk"):
        table.add_column(name, justify="right")
    for one in shapes:
        rate = f"{one['pacing_mbit_s']:,.1f} Mbit/s" if one["pacing_mbit_s"] else "no limit"
        table.add_row(one["peer"], rate, *map(str, one["shares"].values()))
    return table


@link.command()
@click.option(
    "--scenario",
    "names",
    multiple=True,
    help="A path of --list, all, or one like 300m-120ms-0.05%-bbr.",
)
@click.option(
    "--rival", "rivals", multiple=True, help="How its name and its streams begin: raw, dwcp 16."
)
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(min=0.5))
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 100))
@click.option("--quick", is_flag=True, help="Two seconds each, a small emulated path.")
@click.option("--list", "is_list", is_flag=True, help="Name the paths and end.")
@json_option
@reports_errors
def bench(  # noqa: PLR0913 - one a command-line option
    names: tuple[str, ...],
    rivals: tuple[str, ...],
    seconds: float,
    repeat: int,
    *,
    quick: bool,
    is_list: bool,
    as_json: bool,
) -> None:
    r"""Measure our data streams beside raw sockets, asyncio and iperf3, on the same path.

    Without --scenario: loopback and one emulated path, which needs root; where the emulator does
    not work, a TCP proxy serves instead, and it says so.

    \b
    Examples:
      dwcp link bench --scenario loopback --repeat 5
      dwcp link bench --scenario 300m-120ms-0.05%-bbr --rival raw --rival "dwcp 0"
    """
    from benchmarks.link import bench as engine  # noqa: PLC0415 - not needed to show links
    from benchmarks.link.scenarios import SCENARIOS  # noqa: PLC0415

    if is_list:
        known = [scenario.name for scenario in SCENARIOS]
        if as_json:
            emit_json({"scenarios": known})
        console.print("\n".join(known))
        return
    scenarios, left_out = engine.chosen_scenarios(names, is_quick=quick)
    if left_out:
        console.print(f"[yellow]{escape(left_out)}[/]")
    found = engine.run_bench(scenarios, 2.0 if quick else seconds, repeat, _tell, rivals)
    _show_rows(found["rows"])
    if as_json:
        emit_json(found | {"left_out": left_out})


def _tell(text: str) -> None:
    console.print(f"[dim]{escape(text)}[/]")


def _status_table(links: list[dict[str, Any]]) -> Table:
    table = Table(box=None)
    names = ("to", "node", "streams", "goodput", "RTT / least", "repeated", "queue", "limited by")
    for name in names:
        table.add_column(name, justify="left" if name in names[:2] else "right")
    for one in links:
        last = one["samples"][-1] if one["samples"] else None
        if last is None:
            table.add_row(one["peer"], one["node"], "-", "-", "-", "-", "-", "-")
            continue
        table.add_row(
            one["peer"],
            one["node"],
            f"{last['stream_count']} {last['congestion_control']}",
            f"{last['goodput_bytes_per_s'] * 8e-6:.1f} Mbit/s",
            f"{last['rtt_us'] / 1e3:.1f} / {last['min_rtt_us'] / 1e3:.1f} ms",
            f"{last['repeated_share']:.2%}",
            f"{last['queue_bytes']:,} B",
            "application" if last["is_app_limited"] else "link",
        )
    return table


def _decision_table(one: dict[str, Any]) -> Table:
    table = Table(title=f"streams to {one['peer']}: last decisions", title_justify="left", box=None)
    for name in ("age", "streams", "why", "goodput", "repeated", "RTT ratio"):
        table.add_column(name, justify="left" if name == "why" else "right")
    for made in one["decisions"][-_DECISIONS_SHOWN:]:
        table.add_row(
            f"{one['now_s'] - made['at_s']:.0f} s",
            f"{made['before']} to {made['after']}",
            made["reason"],
            f"{made['goodput_bytes_per_s'] * 8e-6:.1f} Mbit/s",
            f"{made['repeated_share']:.2%}",
            f"{made['rtt_ratio']:.2f}",
        )
    return table


def _show_rows(rows: list[dict[str, Any]]) -> None:
    wide = Console(stderr=True, width=max(console.width, _TABLE_WIDTH))
    for name in dict.fromkeys(row["name"] for row in rows):
        wide.print(_bench_table(name, [row for row in rows if row["name"] == name]))


def _bench_table(name: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=name, title_justify="left", box=None)
    is_repeated = any(row["goodput_min"] != row["goodput_max"] for row in rows)
    columns = ["", "streams", "Mbit/s", *(["least", "most"] if is_repeated else [])]
    for column in (*columns, "of link", "of raw", "CPU s/GB", "sent again", "too slow"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        spread = [f"{row['goodput_min']:,.1f}", f"{row['goodput_max']:,.1f}"]
        table.add_row(
            row["rival"],
            f"{row['streams']}{' found' if row['finds_streams'] else ''}",
            f"{row['goodput_mbit_s']:,.1f}",
            *(spread if is_repeated else []),
            "-" if row["of_link"] is None else f"{row['of_link']:.1%}",
            "-" if row["of_raw"] is None else f"{row['of_raw']:.1%}",
            f"{row['cpu_s_per_gb']:.2f}",
            f"{row['retransmit_ratio']:.2%}",
            f"{row['too_slow_packets']:,}",
        )
    return table
