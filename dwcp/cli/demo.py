"""`dwcp demo`: three regions on this machine."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dwcp.cli.output import FAILED, console, emit_json, json_option, reports_errors
from schemas.errors import ConfigError

DIFF_BYTES = 64 << 20  # of each writer, for --diff
REGIONS = ("eu-west", "us-east", "ap-south")


@click.command(
    epilog="""\b
Examples:
  dwcp demo
  dwcp demo --events 50000 --cut 5
  dwcp demo --kind patches --rate 0
  dwcp demo --input documents.jsonl --json
  dwcp demo --set hde.typed=false --set group.exactly_once=false
"""
)
@click.option("--input", "path", help="JSONL of entity documents; - is stdin. Default: generated.")
@click.option("--events", type=click.IntRange(min=1), help="Changes. Default: 20,000, or all.")
@click.option(
    "--kind",
    type=click.Choice(["documents", "patches"]),
    default="documents",
    show_default=True,
    help="What is generated: whole documents, or patches of 2 to 5 fields.",
)
@click.option("--seed", default=1, show_default=True, help="Of the generator.")
@click.option(
    "--rate",
    default=2_000.0,
    show_default=True,
    help="Changes a second, all regions together; 0: as fast as it goes.",
)
@click.option(
    "--cut",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Cut one region off for so long, in the middle of the writing.",
)
@click.option("--delay-ms", default=25.0, show_default=True, help="One-way delay of the links.")
@click.option("--link-mbit", default=100.0, show_default=True, help="Rate of each link; 0: none.")
@click.option("--diff", is_flag=True, help="Writers send what changed of a document.")
@click.option("--plain", is_flag=True, help="Links without TLS, to compare.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.NAME=VALUE",
    help="A setting of every node, as docs/configuration.md has it; may be repeated.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Keep all data and logs there.")
@json_option
@reports_errors
def demo(data_dir: Path | None, *, as_json: bool, **options: Any) -> None:
    """Three regions on this machine: write, cut, converge, compare."""
    from dwcp.demo.view import render_result  # noqa: PLC0415 - `dwcp --help` stays fast
    from dwcp.logs import configure_logs  # noqa: PLC0415

    configure_logs(as_json=False, level="error")
    folder = data_dir or Path(tempfile.mkdtemp(prefix="dwcp-demo-"))
    try:
        result = asyncio.run(_demo(folder.absolute(), options))
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    console.print(render_result(result))
    if as_json:
        emit_json(result.to_json())
    if not result.converged:
        raise SystemExit(FAILED)


async def _demo(folder: Path, options: dict[str, Any]) -> Any:
    from rich.live import Live  # noqa: PLC0415

    from dwcp.cli.jars import fetch_jars  # noqa: PLC0415
    from dwcp.demo.cluster import ClusterSettings, DemoCluster  # noqa: PLC0415
    from dwcp.demo.live import snapshot_of  # noqa: PLC0415
    from dwcp.demo.run import Progress, run_demo  # noqa: PLC0415
    from dwcp.demo.view import render_live  # noqa: PLC0415

    plan = _plan(options)
    await asyncio.to_thread(fetch_jars)
    mbit = options["link_mbit"]
    settings = ClusterSettings(
        regions=REGIONS,
        data_dir=folder,
        delay_ms=options["delay_ms"],
        rate_bytes_per_s=mbit * 125_000 if mbit else None,
        partition_count=plan.partition_count,
        is_plain=options["plain"],
        node_config=node_config(options["settings"]),
    )
    cluster = DemoCluster(settings)
    try:
        with console.status("starting three Kafkas and three nodes"):
            await cluster.start()
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def show(progress: Progress) -> None:
                live.update(render_live(snapshot_of(progress)), refresh=True)

            return await run_demo(plan, cluster, show)
    finally:
        await cluster.stop()


def node_config(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return `section.name=value` texts as sections of a configuration; values are YAML.

    Raises:
        ConfigError: One is not of that form.
    """
    import yaml  # noqa: PLC0415

    sections: dict[str, dict[str, Any]] = {}
    for text in settings:
        place, has_value, value = text.partition("=")
        section, _, name = place.partition(".")
        if not (has_value and section and name) or "." in name:
            raise ConfigError("--set", text, "write section.name=value, like hde.typed=false")
        try:
            sections.setdefault(section, {})[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError("--set", text, f"write the value as YAML ({error})") from error
    return sections


def _plan(options: dict[str, Any]) -> Any:
    from dwcp.demo.generator import generate  # noqa: PLC0415
    from dwcp.demo.inputs import read_jsonl  # noqa: PLC0415
    from dwcp.demo.run import DemoPlan  # noqa: PLC0415

    path, count = options["path"], options["events"]
    total = count
    if path is None:
        total = count or 20_000
        kind, seed = options["kind"], options["seed"]
        items: Any = generate(kind, total, REGIONS, seed)
        name = f"generated {kind}, seed {seed}"
    else:
        items, name = itertools.islice(read_jsonl(path), count), path
        if path != "-":
            lines = sum(1 for _ in itertools.islice(read_jsonl(path), count))  # and checks them
            if not lines:
                raise ConfigError("--input", path, "it holds no changes: give a file that does")
            total = lines
    return DemoPlan(
        items=items,
        input_name=name,
        total=total,
        rate_per_s=options["rate"],
        cut_s=options["cut"],
        partition_count=4,
        diff_bytes=DIFF_BYTES if options["diff"] else 0,
    )
