"""What part of a core, and how much memory, does the encoding of one link take?

    python -m benchmarks.hde_share [--inputs NAMES] [--rates 1000,5000] [--entities N]
                                   [--seconds S] [--flush-ms N] [--json]

One unit for each `flush_ms`, as a link sends: at 1,000 changes/s and 25 ms a unit has 25 changes.
The CPU that each end spends on its units, over the time that they stand for; wanted are less than
5 % of a core and at most 100 MB a connection. Inputs are whole documents of a named stream, and
`patches` of 5 fields; each once through the typed level and once through the window alone. All
entities are seen first, and that is not counted. Each end in a process of its own; its memory is
what its resident set grew by. Units follow each other without a pause, so caches are warmer than on
a slow link.
"""

import argparse
import gc
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import hde_patches
from dwcp.hde.events import document_events
from dwcp.hde.packing import Packer
from dwcp.hde.streams import Plan, open_stream
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings

SHARE_MAX: Final = 0.05
MEMORY_MB_MAX: Final = 100
_PATCHES: Final = "patches"
_FIELDS: Final = 5
_RAW_BYTES_MAX: Final = 1 << 24
_LEVELS: Final = {"H3 in H4": True, "H4": False}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", default=f"synthetic-vm,{_PATCHES}")
    parser.add_argument("--rates", default="1000,5000", help="changes/s")
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=5, help="of changes that are counted")
    parser.add_argument("--flush-ms", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates = [int(rate) for rate in options.rates.split(",")]
    rows = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in options.inputs.split(","):
            for rate in rates:
                plan = (rate, options.entities, options.seconds, options.flush_ms)
                units, counted = pool.apply(make_units, (name, *plan))
                for level, is_typed in _LEVELS.items():
                    sent = pool.apply(send, (units, counted, is_typed))
                    read = pool.apply(receive, (sent.pop("encoded"), counted, is_typed))
                    span_s = counted * options.flush_ms / 1_000
                    row = {"input": name, "changes_per_s": rate, "level": level}
                    rows.append(row | summary(rate * span_s, span_s, sent, read))
    Console(stderr=True).print(table(rows))
    if options.json:
        machine = {"python": platform.python_version(), "system": platform.platform()}
        sys.stdout.write(json.dumps({"machine": machine, "rows": rows}) + "\n")


def make_units(
    name: str, rate: int, entity_count: int, seconds: int, flush_ms: int
) -> tuple[list[bytes], int]:
    """Return raw units of `flush_ms` each, and how many at the end are counted."""
    batch = max(1, rate * flush_ms // 1_000)
    change_count = rate * seconds
    if name == _PATCHES:
        units = hde_patches.make_units(_FIELDS, 2 * entity_count + change_count, batch)
        return units, change_count // batch
    packer = Packer(batch)
    stream = open_stream(name, Plan(entity_count, entity_count + change_count))
    packed = (packer.add(event) for event in document_events(stream.items))
    return [unit.raw for unit in packed if unit is not None], change_count // batch


def send(units: list[bytes], counted: int, is_typed: bool) -> dict[str, Any]:  # noqa: FBT001
    """Encode all units in this process."""
    encoder, encoded = FlowEncoder(FlowSettings(is_typed=is_typed)), []
    spent = _spend(lambda raw: encoded.append(encoder.encode(raw)), units, counted)
    spent["mb"] -= sum(map(len, encoded)) / 1e6  # they stay here, and are no memory of the flow
    return spent | {"encoded": encoded, "bytes": sum(map(len, encoded[len(encoded) - counted :]))}


def receive(units: list[bytes], counted: int, is_typed: bool) -> dict[str, Any]:  # noqa: FBT001
    """Decode all units in this process; each proves by its hash to be what was encoded."""
    return _spend(
        FlowDecoder(_RAW_BYTES_MAX, FlowSettings(is_typed=is_typed)).decode, units, counted
    )


def _spend(work: Callable[[bytes], object], units: list[bytes], counted: int) -> dict[str, Any]:
    process, began_s = psutil.Process(), 0.0
    gc.collect()
    before_bytes = process.memory_info().rss
    for number, unit in enumerate(units):
        if number == len(units) - counted:
            began_s = time.process_time()
        work(unit)
    cpu_s = time.process_time() - began_s
    gc.collect()
    return {"cpu_s": cpu_s, "mb": (process.memory_info().rss - before_bytes) / 1e6}


def summary(
    change_count: float, span_s: float, sent: dict[str, Any], read: dict[str, Any]
) -> dict[str, Any]:
    """Return shares of a core, memory, and whether both are as small as was wanted."""
    shares = [round(end["cpu_s"] / span_s, 4) for end in (sent, read)]
    memories_mb = [round(end["mb"], 1) for end in (sent, read)]
    return {
        "bytes_per_change": round(sent["bytes"] / change_count, 1),
        "encode_share": shares[0],
        "decode_share": shares[1],
        "sending_mb": memories_mb[0],
        "reading_mb": memories_mb[1],
        "is_share_kept": shares[0] < SHARE_MAX,
        "is_memory_kept": max(memories_mb) <= MEMORY_MB_MAX,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Draw the rows."""
    title = "one link: share of a core, and memory of each end"
    drawn = Table(title=title, title_justify="left", box=None)
    for name in ("input", "changes/s", "level", "B/change", "encode", "decode", "MB", "MB"):
        drawn.add_column(name, justify="right")
    for row in rows:
        shares = (f"{row['encode_share']:.1%}", f"{row['decode_share']:.1%}")
        memories = (f"{row['sending_mb']:.1f}", f"{row['reading_mb']:.1f}")
        names = (row["input"], f"{row['changes_per_s']:,}", row["level"])
        drawn.add_row(*names, f"{row['bytes_per_change']:.1f}", *shares, *memories)
    return drawn


if __name__ == "__main__":
    main()
