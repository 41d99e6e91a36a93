"""Rows of a measurement for people and for machines, and the options all of them share."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.wan.emulator import why_missing
from dwcp.machine import machine

Row = dict[str, Any]

console = Console(stderr=True, highlight=False, width=140)


def run_module(
    text: str | None,
    measure: Callable[[argparse.Namespace], list[Row]],
    *,
    seconds: float,
    repeat: int = 1,
    add_more: Callable[[argparse.ArgumentParser], object] = lambda _: None,
) -> None:
    """Run one question's measurement over the emulated WAN and report.

    Args:
        text: The module's docstring.
        measure: Returns rows; all have the same keys, but for lists, which only JSON gets.
        seconds: Default of `--seconds`.
        repeat: Default of `--repeat`.
        add_more: Adds options of this question's own.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--repeat", type=int, default=repeat)
    add_more(parser)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = why_missing()
    if missing is not None:
        sys.exit(missing)
    machine_and_rows(measure(options), is_json=options.json)


def machine_and_rows(rows: list[Row], *, is_json: bool) -> None:
    """Show rows to people, and if asked to machines, with what the figures depend on."""
    console.print(_table(rows))
    if is_json:
        sys.stdout.write(json.dumps({"machine": machine(), "rows": rows}) + "\n")


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that this share does not exceed; None without values."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None


def _table(rows: list[Row]) -> Table:
    table = Table(box=None)
    names = [name for name, value in rows[0].items() if not isinstance(value, list)]
    for name in names:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*("-" if row[name] is None else f"{row[name]}" for name in names))
    return table
