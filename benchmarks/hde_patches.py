"""How many patches a second does a flow encode and decode on one core?

    python -m benchmarks.hde_patches [--changes N] [--batch N] [--repeats N] [--json]

Made-up patches of 3, 5 and 8 fields on 20,000 entities, from a seed: counters that grow, gauges, a
time, a word, a decimal. In batches of 100 as producers make them, through the typed level, and
beside it through the window alone and through zstd-3 of each batch alone, as Kafka stores it. The
first half warms the memory and is not counted. CPU of this process, median and range of repeats.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import zstandard
from rich.console import Console
from rich.table import Table

from connectors.log import LogRecord, RecordRange
from schemas.changes import set_field
from schemas.registry import encode_event
from streams.replication import encode_batch
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings

FIELDS: Final = (3, 5, 8)
ENTITIES: Final = 20_000
_START_MS: Final = 1_767_225_600_000

Encode = Callable[[bytes], bytes]


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for field_count in FIELDS:
        units = make_units(field_count, options.changes, options.batch)
        for name, make in CODECS.items():
            runs = [one_pass(units, options.batch, *make()) for _ in range(options.repeats)]
            rows.append({"codec": name, "fields": field_count} | summary(runs))
    Console(stderr=True).print(table(rows))
    if options.json:
        machine = {"python": platform.python_version(), "system": platform.platform()}
        sys.stdout.write(json.dumps({"machine": machine, "rows": rows}) + "\n")


def make_units(field_count: int, change_count: int, batch: int) -> list[bytes]:
    """Make raw units of one batch each."""
    dice = random.Random(field_count)
    counters: dict[int, list[int]] = {}
    units, time_ms = [], _START_MS
    for offset in range(change_count // batch):
        changes = []
        for at in range(batch):
            time_ms += dice.randrange(5)
            entity = dice.randrange(ENTITIES)
            sums = counters.setdefault(entity, [dice.randrange(1 << 30) for _ in range(4)])
            for number, old in enumerate(sums):
                sums[number] = old + dice.randrange(10_000)
            change_id = f"bench/{offset * batch + at}"
            changes.append(change(dice, (change_id, entity, time_ms), sums, field_count))
        value = encode_event("StateBatch", {"producer": "bench", "changes": changes})
        record = LogRecord(offset, time_ms, None, value, ())
        units.append(encode_batch([RecordRange(0, offset, offset + 1, [record])], 1 << 30))
    return units


def change(
    dice: random.Random, what: tuple[str, int, int], sums: list[int], field_count: int
) -> dict[str, Any]:
    """Make one patch."""
    change_id, entity, time_ms = what
    updated = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms // 1000))
    values = {
        "/status/cpu": dice.randrange(100),
        "/status/rx": sums[0],
        "/status/tx": sums[1],
        "/status/updated": updated,
        "/status/load": round(dice.random(), 2),
        "/status/state": dice.choice(("active", "active", "active", "paused")),
        "/status/read": sums[2],
        "/status/write": sums[3],
    }
    fields = list(values.items())[:field_count]
    return {
        "change_id": change_id,
        "entity_id": f"vm-{entity}",
        "entity_type": "vm",
        "operation": "patch",
        "deltas": [set_field(path, value) for path, value in fields],
        "hybrid_timestamp": time_ms << 16,
        "origin_region": "eu-west",
    }


def flow(*, is_typed: bool) -> tuple[Encode, Encode]:
    """Return both ends of a flow."""
    settings = FlowSettings(is_typed=is_typed)
    return FlowEncoder(settings).encode, FlowDecoder(1 << 24, settings).decode


def kafka() -> tuple[Encode, Encode]:
    """Return zstd of each batch alone."""
    return (
        zstandard.ZstdCompressor(level=3).compress,
        zstandard.ZstdDecompressor().decompress,
    )


CODECS: Final[dict[str, Callable[[], tuple[Encode, Encode]]]] = {
    "H3 in H4": lambda: flow(is_typed=True),
    "H4": lambda: flow(is_typed=False),
    "zstd-3": kafka,
}


def one_pass(units: list[bytes], batch: int, encode: Encode, decode: Encode) -> dict[str, float]:
    """Encode, decode and compare; the second half counts."""
    encode_s = decode_s = 0.0
    encoded_bytes = 0
    half = len(units) // 2
    for number, raw in enumerate(units):
        began = time.process_time()
        unit = encode(raw)
        encoded = time.process_time()
        back = decode(unit)
        ended = time.process_time()
        assert back == raw, "other bytes came back"
        if number >= half:
            encode_s += encoded - began
            decode_s += ended - encoded
            encoded_bytes += len(unit)
    count = (len(units) - half) * batch
    raw_bytes = sum(map(len, units[half:]))
    return {
        "raw_bytes_per_change": raw_bytes / count,
        "bytes_per_change": encoded_bytes / count,
        "encode_per_s": count / encode_s,
        "decode_per_s": count / decode_s,
    }


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians, and the range of the speeds."""
    result: dict[str, Any] = {}
    for name in runs[0]:
        values = sorted(run[name] for run in runs)
        result[name] = round(statistics.median(values), 1)
        if name.endswith("_s"):
            result[f"{name}_range"] = [round(values[0]), round(values[-1])]
    return result


def table(rows: list[dict[str, Any]]) -> Table:
    """Draw the rows."""
    drawn = Table(title="patches, batches as producers make them", title_justify="left", box=None)
    for name in ("fields", "codec", "raw B", "B/change", "encode/s", "range", "decode/s", "range"):
        drawn.add_column(name, justify="right")
    for row in rows:
        speeds = [
            (f"{row[name]:,.0f}", "{:,} to {:,}".format(*row[f"{name}_range"]))
            for name in ("encode_per_s", "decode_per_s")
        ]
        sizes = (f"{row['raw_bytes_per_change']:.0f}", f"{row['bytes_per_change']:.1f}")
        drawn.add_row(str(row["fields"]), row["codec"], *sizes, *speeds[0], *speeds[1])
    return drawn


if __name__ == "__main__":
    main()
