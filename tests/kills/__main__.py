"""Command: `python -m tests.kills`, as `make kills` calls it."""

import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from connectors.embedded.jars import KAFKA_VERSION
from dwcp.cli.output import console, emit_json, json_option
from tests.kills.run import Plan, run


@click.command()
@click.option("--kills", type=click.IntRange(0), default=20, help="How many faults.")
@click.option("--seed", type=click.IntRange(0), default=1, help="The same seed, the same faults.")
@click.option("--regions", type=click.IntRange(2, 3), default=2, help="Regions.")
@click.option("--nodes", type=click.IntRange(1, 4), default=2, help="Nodes in each region.")
@click.option("--rate", type=float, default=200.0, help="Changes a second of Kafka clients.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep all files here.")
@json_option
def main(  # noqa: PLR0913 - the options
    *,
    kills: int,
    seed: int,
    regions: int,
    nodes: int,
    rate: float,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Kill nodes and brokers under load, then ask a stranger whether anything is missing."""
    plan = Plan(kills, seed, regions, nodes, rate)
    with tempfile.TemporaryDirectory(prefix="dwcp-kills-") as scratch:
        report = asyncio.run(run(plan, (folder or Path(scratch)).resolve(), console.log))
    report |= {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "kafka": KAFKA_VERSION,
        }
    }
    _show(report)
    if as_json:
        emit_json(report)
    sys.exit(1 if report["examples"] else 0)


def _show(report: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    for name, value in report.items():
        if name not in ("examples", "machine"):
            table.add_row(name, _line(value))
    console.print(table)
    for kind, texts in report["examples"].items():
        for text in texts:
            console.print(f"{kind}: {text}", markup=False, style="red")


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_line(one)}" for key, one in value.items())
    return str(value)


if __name__ == "__main__":
    main()
