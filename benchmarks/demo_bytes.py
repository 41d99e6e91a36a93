"""What do the demo's links carry, with encoding off and at each level, for the same input?

    python -m benchmarks.demo_bytes [--repeats N] [--json] [OPTIONS OF `dwcp demo` ...]

Runs `dwcp demo --json` once for each row, with the same input: everything raw; the window alone;
typed wherever it is possible (by a rate at which bytes are always dearer than a core); and the
choice as it is by default. Every run audits that all regions became equal. Bytes are sums over all
links: the changes as JSON, encoded units, and TCP payload both ways. Time to visible beside them,
because fewer bytes may take longer. Units are cut by time, so bytes differ a little between runs.
"""

import argparse
import json
import subprocess
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "off": ("hde.enabled=false",),
    "window": ("hde.typed=false",),
    "typed": ("hde.rate_mbit_s=0.001",),
    "chosen": (),
}
_SIZES: Final = ("raw_bytes", "encoded_bytes", "wire_bytes")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options, demo_options = parser.parse_known_args()
    rows = [
        run(name, demo_options) | {"repeat": repeat}
        for repeat in range(1, options.repeats + 1)
        for name in _SETTINGS
    ]
    Console(stderr=True).print(table(rows))
    if options.json:
        sys.stdout.write(json.dumps({"demo_options": demo_options, "rows": rows}) + "\n")


def run(name: str, demo_options: list[str]) -> dict[str, Any]:
    """Run the demo once and return its row.

    Raises:
        subprocess.CalledProcessError: It failed, or the regions were not equal at its end.
    """
    settings = [word for setting in _SETTINGS[name] for word in ("--set", setting)]
    command = [sys.executable, "-m", "dwcp", "demo", "--json", *demo_options, *settings]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    sums = {size: sum(link[size] for link in found["links"]) for size in _SIZES}
    kept = {key: found[key] for key in ("events", "converged", "visible_ms", "events_per_s")}
    return {"encoding": name, **kept, **sums}


def table(rows: list[dict[str, Any]]) -> Table:
    """Draw the rows."""
    drawn = Table(title="all links of the demo, same input", title_justify="left", box=None)
    names = ("encoding", "MB of JSON", "encoded", "on the wire", "of off", "visible p50, ms", "p99")
    for name in names:
        drawn.add_column(name, justify="right")
    off_bytes = rows[0]["wire_bytes"]
    for row in rows:
        sizes = [f"{row[size] / 1e6:,.2f}" for size in _SIZES]
        visible = [f"{row['visible_ms'][key]:,.0f}" for key in ("p50", "p99")]
        drawn.add_row(row["encoding"], *sizes, f"{row['wire_bytes'] / off_bytes:.1%}", *visible)
    return drawn


if __name__ == "__main__":
    main()
