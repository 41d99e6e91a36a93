"""Make a stream of real documents for `dwcp demo --input`, from the project's test data.

    python examples/01_real_documents.py --data ../shared/data --events 50000 --out vm.jsonl
    dwcp demo --input vm.jsonl

What is real: the documents (server and diagnostics bodies of OpenStack Nova's API samples; nodes
and pods of an OpenShift cluster) and of the VMs the times, cores, memory and CPU load (Bitbrains,
one month). VM 1 also has its real memory, disk and network series.
What is ours: ids, names and addresses, made from each VM's id. The other VMs borrow VM 1's memory,
disk and network series, each from another row on, since of them we have the CPU load only. Nodes
and pods are copies of the real ones; how they evolve (heartbeats, restarts, replacement) is drawn
from `--seed`.
"""

import argparse
import gzip
import hashlib
import heapq
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dwcp.hde.documents import (
    CLUSTER_FOLDER,
    SAMPLE_S,
    START_S,
    VM_FOLDERS,
    Sample,
    Vm,
    born,
    check_folders,
    iso,
    live,
    load_objects,
    load_vms,
)
from schemas.errors import ConfigError

Change = tuple[int, str, str, dict[str, Any] | None]  # time_ms, entity, type, document
END = -1.0  # instead of a load: the VM is gone
COPIES = {"node": 40, "pod": 120}
FOLDERS = {"vm": VM_FOLDERS, "node": (CLUSTER_FOLDER,), "pod": (CLUSTER_FOLDER,)}
STEP_S = {"node": 90.0, "pod": 30.0}  # beside the VMs about 10 % and 30 % of all changes


def vms(data: Path) -> Iterator[Change]:
    """Replay the Bitbrains month on Nova documents; a VM that ends before it is deleted."""
    found = load_vms(data)
    known = {vm: Vm(found, n, vm, vm) for n, vm in enumerate(found.sizes)}
    samples = found.samples
    last_s = {one.vm: one.unix_s for one in samples}
    until_s = samples[-1].unix_s - SAMPLE_S
    ends = [Sample(at + 1, vm, END, 0.0) for vm, at in last_s.items() if at < until_s]
    for unix_s, vm, mhz, duration_s in sorted(samples + ends):
        if mhz != END:
            known[vm].move(unix_s, mhz, duration_s)
        yield unix_s * 1000, known[vm].entity, "vm", known[vm].document if mhz != END else None


def objects(data: Path, kind: str, seed: int) -> Iterator[Change]:
    """Let copies of the cluster's nodes or pods live; for ever."""
    dice = random.Random(f"{kind} {seed}")
    templates = load_objects(data, kind)
    copies: list[dict[str, Any]] = [{} for _ in range(COPIES[kind])]
    version, unix_s, births = 2_000_000, float(START_S), itertools.count()
    while True:
        unix_s += dice.expovariate(1 / STEP_S[kind])
        version += dice.randrange(1, 900)
        at = dice.randrange(len(copies))
        if not copies[at]:
            copies[at] = born(templates[at % len(templates)], kind, next(births))
        elif kind == "pod" and dice.random() < 0.01:  # noqa: PLR2004 - a pod lives for 100 changes
            yield int(unix_s * 1000), copies[at]["metadata"]["uid"], kind, None
            copies[at] = born(templates[at % len(templates)], kind, next(births))
        copies[at] = live(copies[at], dice, iso(unix_s), version)
        yield int(unix_s * 1000), copies[at]["metadata"]["uid"], kind, copies[at]


def main() -> None:
    """Write the stream and say what it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True, help="JSONL; .gz compresses")
    parser.add_argument("--kind", choices=["vm", "node", "pod", "mixed"], default="vm")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kinds = ("vm", "node", "pod") if args.kind == "mixed" else (args.kind,)
    folders = {name for kind in kinds for name in FOLDERS[kind]}
    try:
        check_folders(args.data, tuple(sorted(folders)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    streams = [vms(args.data) if k == "vm" else objects(args.data, k, args.seed) for k in kinds]
    changes = heapq.merge(*streams, key=lambda change: change[0])
    digest, counts, entities, start_s = hashlib.sha256(), Counter[str](), set(), time.time()
    with gzip.open(args.out, "wb") if args.out.suffix == ".gz" else args.out.open("wb") as out:
        for number, change in enumerate(itertools.islice(changes, args.events)):
            fields = dict(zip(("time_ms", "entity", "type", "document"), change, strict=True))
            line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
            out.write(line)
            digest.update(line)
            counts[change[2]] += 1
            entities.add(change[1])
            if number % 5_000 == 0:
                print(f"\r{number:,} changes", end="", file=sys.stderr)
    print(f"\r{time.time() - start_s:.1f} s" + " " * 20, file=sys.stderr)
    print(f"changes {counts.total()} {dict(counts)}, entities {len(entities)}")
    print(f"sha256 of the lines {digest.hexdigest()}")


if __name__ == "__main__":
    main()
