"""What does the memory of a typed flow really take, beside what it is charged?

    python -m benchmarks.hde_memory [--entities N] [--streams NAMES] [--memory-mib N] [--json]

Sends the first sights and as many changes of each stream through the sending end of a flow, and
compares the growth of this process's resident memory (typed memory and window together) with the
charge that decides when entities are forgotten. A fresh process for each stream.
"""

import argparse
import gc
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from dwcp.hde.events import document_events
from dwcp.hde.packing import Packer
from dwcp.hde.streams import DATA, Plan, open_stream
from transport.hde.flow import FlowEncoder
from transport.hde.settings import MEMORY_BYTES, FlowSettings

_BATCH = 100


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--streams", default="synthetic-vm,synthetic-node,synthetic-pod")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DWCP_DATA", DATA)))
    parser.add_argument("--memory-mib", type=int, default=MEMORY_BYTES >> 20, help="as in `hde`")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.streams.split(",")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = []
        for name in names:
            units = pool.apply(make_units, (name, options.entities, options.data))
            rows.append(pool.apply(measure, (name, units, options.memory_mib)))
    table = Table(title="memory of a sending end, MB", title_justify="left", box=None)
    for heading in ("stream", "entities kept", "charged", "resident", "forgotten"):
        table.add_column(heading, justify="right")
    for row in rows:
        charged, resident = f"{row['charged_mb']:.1f}", f"{row['resident_mb']:.1f}"
        kept, forgotten = f"{row['entities']:,}", f"{row['forgotten']:,}"
        table.add_row(row["stream"], kept, charged, resident, forgotten)
    Console(stderr=True).print(table)
    if options.json:
        sys.stdout.write(json.dumps({"rows": rows}) + "\n")


def make_units(name: str, entity_count: int, data: Path) -> list[bytes]:
    """Make a stream's raw units, in a process of its own: generators hold every document."""
    packer = Packer(_BATCH)
    stream = open_stream(name, Plan(entity_count, 2 * entity_count, data=data))
    units = (packer.add(event) for event in document_events(stream.items))
    return [unit.raw for unit in units if unit is not None]


def measure(name: str, units: list[bytes], memory_mib: int) -> dict[str, Any]:
    """Encode units in this process."""
    process = psutil.Process()
    encoder = FlowEncoder(FlowSettings(memory_bytes=memory_mib << 20))
    encoder.encode(units[0])
    encoder.reset()
    gc.collect()
    before_bytes = process.memory_info().rss
    for raw in units:
        encoder.encode(raw)
    gc.collect()
    grown_bytes = process.memory_info().rss - before_bytes
    kept, charged_bytes = encoder.memory_in_use
    return {
        "stream": name,
        "entities": kept,
        "charged_mb": round(charged_bytes / 1e6, 1),
        "resident_mb": round(grown_bytes / 1e6, 1),
        "forgotten": encoder.forgotten,
    }


if __name__ == "__main__":
    main()
