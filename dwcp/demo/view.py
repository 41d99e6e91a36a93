"""How the demo looks on a terminal: values in, `rich` renderables out, nothing printed here.

Texts from outside (region names, inputs, differences) are never read as markup.
"""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dwcp.demo.result import DemoResult, DemoSnapshot, LinkResult, RegionSnapshot

_STATE_STYLES = {"up": "green", "cut": "bold yellow", "down": "bold red"}
_UNITS = ("B", "kB", "MB", "GB", "TB")
_KILO = 1000
_ORIGIN_COUNT_MAX = 4  # of those a region is behind on; more would wrap


def human_bytes(count: float) -> str:
    """Write a count of bytes in at most eight characters, decimal units: `12.3 MB`."""
    units = iter(_UNITS)
    unit = next(units)
    while round(count) >= _KILO and (larger := next(units, None)):
        count, unit = count / _KILO, larger
    has_tenths = unit != "B" and round(count, 1) < 100  # noqa: PLR2004 - three digits suffice
    return f"{count:,.1f} {unit}" if has_tenths else f"{count:,.0f} {unit}"


def human_seconds(seconds: float) -> str:
    """Write a duration: `45 ms`, `2.4 s`, `3 min 05 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:  # noqa: PLR2004 - beyond that tenths do not matter
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def human_ratio(ratio: float) -> str:
    """Write raw bytes per byte on the wire: `18.2x`; a dash when nothing was sent."""
    return f"{ratio:,.1f}x" if ratio else "-"


def render_live(snapshot: DemoSnapshot) -> RenderableType:
    """Draw the demo while it runs: progress, regions, links."""
    return Group(
        _progress(snapshot),
        Text(),
        _region_table(snapshot),
        Text(),
        _link_table(snapshot.links),
    )


def render_result(result: DemoResult) -> RenderableType:
    """Draw the outcome: links, figures, the verdict, and what differs if anything does."""
    return Group(
        _link_table(result.links),
        Text(),
        _summary(result),
        Text(),
        *_verdict(result),
    )


def _progress(snapshot: DemoSnapshot) -> RenderableType:
    total = snapshot.total
    count = f"{snapshot.produced:,}" + (f" of {total:,}" if total else "") + " changes"
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(
        total=float(total) if total else None,
        completed=snapshot.produced,
        pulse=not total,
        animation_time=snapshot.elapsed_s,  # from the snapshot, so that the same one looks the same
    )
    elapsed = Text(f"{count}, {human_seconds(snapshot.elapsed_s)}")
    grid.add_row(Text(snapshot.phase, style="bold cyan"), bar, elapsed)
    return grid


def _region_table(snapshot: DemoSnapshot) -> Table:
    table = _table("region", "state", numbers=("applied", "entities", "changes/s"))
    table.add_column("behind on", overflow="fold")
    for region in snapshot.regions:
        table.add_row(
            Text(region.name, style="bold"),
            Text(region.state, style=_STATE_STYLES[region.state]),
            f"{region.applied:,}",
            f"{region.entities:,}",
            f"{region.changes_per_s:,.0f}",
            _lag(region),
        )
    return table


def _lag(region: RegionSnapshot) -> Text:
    if region.state == "down":
        return Text("unknown", style="dim")
    lags = region.lag.items()
    behind = sorted(((count, origin) for origin, count in lags if count), reverse=True)
    if not behind:
        return Text("nothing", style="dim")
    named = [f"{origin}:{count:,}" for count, origin in behind[:_ORIGIN_COUNT_MAX]]
    more = len(behind) - len(named)
    return Text(", ".join(named) + (f", {more} more" if more else ""), style="yellow")


def _link_table(links: Iterable[LinkResult]) -> Table:
    table = _table("from", "to", numbers=("raw", "in Kafka", "encoded", "on the wire", "ratio"))
    links = tuple(links)
    for link in links:
        table.add_row(Text(link.origin), Text(link.target), *_sizes(link))
    if len(links) > 1:
        table.add_section()
        sums = (
            sum(getattr(link, name) for link in links)
            for name in ("raw_bytes", "encoded_bytes", "wire_bytes", "kafka_bytes")
        )
        table.add_row("all", "", *_sizes(LinkResult("", "", *sums)), style="bold")
    return table


def _sizes(link: LinkResult) -> tuple[str, ...]:
    sizes = (link.raw_bytes, link.kafka_bytes, link.encoded_bytes, link.wire_bytes)
    return (*map(human_bytes, sizes), human_ratio(link.ratio))


def _summary(result: DemoResult) -> RenderableType:
    rows = {
        "input": result.input_name,
        "changes": f"{result.events:,}, which leave {result.entities:,} entities",
        "lost, duplicate": f"{result.lost:,} and {result.duplicates:,}",
        "rate": f"{result.events_per_s:,.0f} changes/s to the end, "
        f"{result.sustained_events_per_s:,.0f} sustained",
        "visible elsewhere": f"after {human_seconds(result.visible_ms_p50 / 1000)} (half of them), "
        f"{human_seconds(result.visible_ms_p99 / 1000)} (99 %)",
        "all equal": f"{human_seconds(result.converge_s)} after the last write or healing",
        "run": f"{human_seconds(result.seconds)}, {result.memory_mib:,.0f} MiB of memory at most",
        "broker": result.broker,
    }
    if not result.converged:
        del rows["all equal"]
    if result.cut_s:
        healed_s = result.heal_to_equal_s
        then = "never caught up" if healed_s is None else f"caught up in {human_seconds(healed_s)}"
        rows["one region cut off"] = f"for {human_seconds(result.cut_s)}, {then} after healing"
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        is_bad = name == "lost, duplicate" and bool(result.lost or result.duplicates)
        grid.add_row(name, Text(value, style="bold red" if is_bad else ""))
    return Padding(grid, (0, 1))


def _verdict(result: DemoResult) -> list[RenderableType]:
    if result.converged:
        return [Padding(Text("all regions hold the same state", style="bold green"), (0, 1))]
    lines = [Text("NOT CONVERGED", style="bold white on red")]
    lines += [Text(f"- {difference}", overflow="fold") for difference in result.differences]
    return [Padding(line, (0, 1)) for line in lines]


def _table(*texts: str, numbers: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=True, header_style="cyan", show_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
