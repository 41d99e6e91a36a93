"""What does a whole pipeline carry over a wide-area link, Kafka to Kafka?

    python -m benchmarks.link.pipeline [--seconds S] [--json] [--mib N] [--settle S]

Two regions in the namespaces of the emulated WAN: 100 Mbit/s, 100 ms, 0.1 % loss each way; a node
and a Kafka of its own each, plain links. One hot partition with a backlog of changes whose
documents are 1 KiB of base64 of random bytes, in batches of 500: as good as incompressible (three
quarters is the floor). The sending node is started anew for each row: one data stream under cubic,
as many as the link finds under cubic and under bbr. Counted at the receiving node when its Kafka
has them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.link.pipeline_ends import CHANGES_PER_BATCH
from benchmarks.link.report import Row, console
from benchmarks.link.report import machine_and_rows as report
from benchmarks.link.site import Site, Worker
from benchmarks.wan.emulator import A_ADDRESS, B_ADDRESS, EmulatedWan, LinkShape, why_missing
from dwcp.cli.jars import fetch_jars

SHAPE: Final = LinkShape(100, 100, 0.001)
ENDS: Final = "benchmarks.link.pipeline_ends"
WEB: Final = "http://127.0.0.1:6066"
START_S: Final = 90
ROWS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("cubic, one stream", {"congestion_control": "cubic", "data_streams_max": 1}),
    ("cubic, as many as the link finds", {"congestion_control": "cubic", "data_streams_max": 16}),
    ("bbr, as many as the link finds", {"congestion_control": "bbr", "data_streams_max": 16}),
)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=30.0)
    parser.add_argument("--mib", type=int, default=1_200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = why_missing()
    if missing is not None:
        sys.exit(missing)
    fetch_jars()  # the namespaces have no way to the registry
    with (
        tempfile.TemporaryDirectory(prefix="dwcp-pipeline-") as folder,
        EmulatedWan(SHAPE, backward=SHAPE) as wan,
    ):
        rows = _measure(Site(B_ADDRESS, wan), Path(folder), options)
    report(rows, is_json=options.json)


def _measure(site: Site, folder: Path, options: argparse.Namespace) -> list[Row]:
    assert site.wan is not None
    taker, watcher = _start(site, folder, "b", {"listen": f"{B_ADDRESS}:7400"})
    rows = []
    is_filled = False
    batch_bytes = 0
    for name, link in ROWS:
        site.wan.cut()
        sender, sent = _start(site, folder, "a", {"listen": f"{A_ADDRESS}:7400", **link})
        if not is_filled:
            console.print(f"[dim]filling {options.mib} MiB[/]")
            batch_bytes = _fill(site, options.mib)
            is_filled = True
        site.wan.heal()
        console.print(f"[dim]{name}[/]")
        time.sleep(options.settle)
        before, line_before = watcher.mark(), site.line_bytes()
        time.sleep(options.seconds)
        after, line_after = watcher.mark(), site.line_bytes()
        seconds = after["at_s"] - before["at_s"]
        records = _records(after) - _records(before)
        rows.append(
            {
                "pipeline": name,
                "streams": _stream_count(site),
                "changes_per_s": round(records * CHANGES_PER_BATCH / seconds),
                "application_mbit_s": round(records * batch_bytes * 8e-6 / seconds, 2),
                "line_mbit_s": round((line_after - line_before) * 8e-6 / seconds, 2),
                "of_link": round((line_after - line_before) * 8e-6 / seconds / 100, 3),
                "emulator_too_slow": site.too_slow_packets(),
            }
        )
        sent.close()
        _stop(sender)
    watcher.close()
    _stop(taker)
    for row in rows:
        row["of_one_stream"] = round(
            row["application_mbit_s"] / max(0.01, rows[0]["application_mbit_s"]), 2
        )
    return rows


def _start(
    site: Site, folder: Path, side: Any, link: dict[str, Any]
) -> tuple["subprocess.Popen[bytes]", Worker]:
    """Start a node, its Kafka with it, and wait until it is ready."""
    assert site.wan is not None
    other = "b" if side == "a" else "a"
    address = B_ADDRESS if side == "a" else A_ADDRESS
    config = {
        "region": side,
        "data_dir": str(folder / side),
        "peers": {other: f"{address}:7400"},
        "state": {"partition_count": 1},
        "link": {"plain": True, **link},
    }
    path = folder / f"{side}.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    log = (folder / f"{side}.log").open("ab")
    command = [sys.executable, "-m", "dwcp", "region", "--config", str(path)]
    node = site.wan.popen(side, command, stdout=log, stderr=subprocess.STDOUT)
    log.close()
    watcher = site.worker(side, ENDS, "watch", WEB)
    deadline = time.monotonic() + START_S
    while not watcher.mark()["status"].get("is_ready"):
        if node.poll() is not None or time.monotonic() > deadline:
            text = (folder / f"{side}.log").read_text()[-2_000:]
            raise SystemExit(f"the node of region {side} did not start:\n{text}")
        time.sleep(0.5)
    return node, watcher


def _stop(node: "subprocess.Popen[bytes]") -> None:
    node.terminate()
    node.wait(timeout=60)


def _fill(site: Site, mib: int) -> int:
    command = [sys.executable, "-m", ENDS, "fill", "127.0.0.1:9092", str(mib)]
    filler = site.command("a", command)
    text, _ = filler.communicate()
    return int(json.loads(text.splitlines()[-1])["batch_bytes"])


def _records(mark: dict[str, Any]) -> int:
    return sum(link["records"] for link in mark["status"]["links_in"])


def _stream_count(site: Site) -> int | None:
    command = [sys.executable, "-m", "dwcp", "link", "status", "--url", WEB, "--json"]
    text, _ = site.command("a", command).communicate()
    links = json.loads(text.splitlines()[-1])["links"]
    return links[0]["streams_wanted"] if links else None


if __name__ == "__main__":
    main()
