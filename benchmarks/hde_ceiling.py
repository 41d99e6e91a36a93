"""What would another zstd level make of a flow: bytes, and CPU to encode and decode?

    python -m benchmarks.hde_ceiling [--streams NAMES] [--levels 1,3,9] [--rates 2,100]
                                     [--batch N] [--entities N] [--events N] [--data DIR] [--json]

Each stream through the window alone and with the typed level, all events, first sights among them,
CPU of one core, one pass. Without `--rates` each level stays. With it each is the ceiling of a
flow that knows, after its first unit, that its link carries so many Mbit/s, and chooses; the last
columns are then the level it ended with, how often it changed, and the events a second that the
slower of core and link lets through.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from dwcp.hde.events import document_events
from dwcp.hde.packing import Packer
from dwcp.hde.streams import DATA, Plan, open_stream
from dwcp.machine import machine
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings

_RAW_BYTES_MAX: Final = 1 << 24
_CODECS: Final = {"H4": False, "H3 in H4": True}
_COLUMNS: Final = (
    *("stream", "codec", "level", "rate_mbit_s", "bytes_per_event", "encode_us", "decode_us"),
    *("ended", "moves", "events_per_s"),
)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", default="vm,node,pod")
    parser.add_argument("--levels", default="1,2,3,6,9,12,19", help="zstd's")
    parser.add_argument("--rates", default="0", help="Mbit/s; 0: the levels stay")
    parser.add_argument("--batch", type=int, default=100, help="events a unit")
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=6_000)
    parser.add_argument("--data", default=DATA, help="folder of test data")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for name in options.streams.split(",") for row in measure(name, options)]
    drawn = Table(title="zstd levels in the window", title_justify="left", box=None)
    for column in _COLUMNS:
        drawn.add_column(column, justify="right")
    for row in rows:
        drawn.add_row(*(str(row[column]) for column in _COLUMNS))
    Console(stderr=True).print(drawn)
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine("zstandard"), "rows": rows}) + "\n")


def measure(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a stream's rows."""
    units = make_units(name, options)
    levels, rates = options.levels.split(","), options.rates.split(",")
    for (codec, is_typed), level, rate in product(_CODECS.items(), levels, rates):
        settings = FlowSettings(int(level), is_typed=is_typed)
        row = {"stream": name, "codec": codec, "level": int(level), "rate_mbit_s": float(rate)}
        yield row | run(units, settings, float(rate) * 125_000, options.events)


def make_units(name: str, options: argparse.Namespace) -> list[bytes]:
    """Return a stream's raw units."""
    packer = Packer(options.batch)
    stream = open_stream(name, Plan(options.entities, options.events, data=Path(options.data)))
    packed = (packer.add(event) for event in document_events(stream.items))
    return [unit.raw for unit in packed if unit is not None]


def run(
    units: list[bytes], settings: FlowSettings, rate_bytes_s: float, event_count: int
) -> dict[str, Any]:
    """Encode and decode all units, and count."""
    encoder, decoder = FlowEncoder(settings), FlowDecoder(_RAW_BYTES_MAX, settings)
    encoded, encode_ns = [], 0
    for raw in units:
        began_ns = time.process_time_ns()
        encoded.append(encoder.encode(raw))
        unit_ns = time.process_time_ns() - began_ns
        encode_ns += unit_ns
        encoder.choice.report(unit_ns)
        encoder.choice.rate_bytes_s = rate_bytes_s
    began_s = time.process_time()
    for unit in encoded:  # each proves by its hash to be what was encoded
        decoder.decode(unit)
    decode_s = time.process_time() - began_s
    encoded_bytes, encode_s = sum(map(len, encoded)), encode_ns / 1e9
    sent_s = encoded_bytes / rate_bytes_s if rate_bytes_s else 0.0
    return {
        "bytes_per_event": round(encoded_bytes / event_count, 2),
        "encode_us": round(encode_s / event_count * 1e6, 2),
        "decode_us": round(decode_s / event_count * 1e6, 2),
        "ended": encoder.choice.ladder.level,
        "moves": encoder.choice.ladder.moves,
        "events_per_s": round(event_count / max(encode_s, sent_s)),
    }


if __name__ == "__main__":
    main()
