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
import csv
import gzip
import hashlib
import heapq
import itertools
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Change = tuple[int, str, str, dict[str, Any] | None]  # time_ms, entity, type, document
START_S = 1376314846  # of the Bitbrains month
SAMPLE_S = 300
END = -1.0  # instead of a load: the VM is gone
COPIES = {"node": 40, "pod": 120}
STEP_S = {"node": 90.0, "pod": 30.0}  # beside the VMs about 10 % and 30 % of all changes


def check_folders(data: Path, kinds: tuple[str, ...]) -> None:
    """End the program if a folder that we need is not there, saying which one."""
    needed = {"bitbrains-vm", "nova-vm-objects"} if "vm" in kinds else set()
    needed |= {"openshift-cluster-objects"} if set(kinds) - {"vm"} else set()
    if missing := [str(data / name) for name in sorted(needed) if not (data / name).is_dir()]:
        print(f"missing: {', '.join(missing)}; say with --data where it is", file=sys.stderr)
        raise SystemExit(2)


def iso(unix_s: float) -> str:
    """Write a time as the APIs do."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_id(*parts: object) -> str:
    """Derive a UUID from what makes an entity itself."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, parts))))


class Vm:
    """A real server document, moved along the series of one Bitbrains VM."""

    def __init__(self, number: int, vm: str, size: Any, templates: list[str], tools: str) -> None:
        """Take the template, and give it an identity and a size of its own."""
        self.entity = own_id("vm", vm)
        self.row_offset = 0 if vm == "1" else 211 * (number + 1)
        self.start_s, core_count = int(size[0]), int(size[1])
        self.capacity_mhz, memory_kib = float(size[2]), int(float(size[3]))
        text = templates[number % len(templates)]
        server = json.loads(text.replace(json.loads(text)["id"], self.entity))
        server |= {"name": f"vm-{vm}", "created": iso(self.start_s)}
        server["hostId"] = hashlib.sha224(vm.encode()).hexdigest()
        if "OS-EXT-SRV-ATTR:host" in server:
            server["OS-EXT-SRV-ATTR:host"] = f"compute-{number % 12:02d}"
        server["addresses"]["private"][0]["addr"] = f"192.168.{number >> 8}.{number & 255}"
        name = f"b{core_count}.{memory_kib // 1024}"
        server["flavor"] |= {"vcpus": core_count, "ram": memory_kib // 1024, "original_name": name}
        tool = json.loads(tools) | {"num_cpus": core_count}
        tool["cpu_details"] = [tool["cpu_details"][0] | {"id": n} for n in range(core_count)]
        tool["memory_details"]["maximum"] = memory_kib
        self.document = {"server": server, "diagnostics": tool}

    def move(self, unix_s: int, cpu_mhz: float, duration_s: float, io_kib: list[float]) -> None:
        """Let one sample pass: counters accumulate, gauges jump, `updated` is now."""
        share = min(1.0, cpu_mhz / self.capacity_mhz)
        tool = self.document["diagnostics"]
        for number, core in enumerate(tool["cpu_details"], 8):
            part = share * 8 / number  # the first core works most; how much less others do is ours
            core["time"] += int(part * duration_s * 1e9)
            core["utilisation"] = round(part * 100)
        used, read, write, received, sent = (int(value * 1024) for value in io_kib)
        tool["memory_details"]["used"] = min(used // 1024, tool["memory_details"]["maximum"])
        add_up(tool["disk_details"][0], duration_s, read_bytes=read, write_bytes=write)
        add_up(tool["nic_details"][0], duration_s, rx_octets=received, tx_octets=sent)
        tool["nic_details"][0] |= {"rx_rate": received * 8, "tx_rate": sent * 8}
        tool["uptime"] = unix_s - self.start_s
        self.document["server"]["updated"] = iso(unix_s)


def add_up(counters: dict[str, Any], duration_s: float, **per_s: int) -> None:
    """Add rates to byte counters, and to their packets or requests at 1,024 bytes each."""
    for name, rate in per_s.items():
        counters[name] += int(rate * duration_s)
        kind = {"bytes": "requests", "octets": "packets"}[name.split("_")[1]]
        counters[f"{name.split('_')[0]}_{kind}"] += int(rate * duration_s) // 1024


def vms(data: Path) -> Iterator[Change]:
    """Replay the Bitbrains month on Nova documents; a VM that ends before it is deleted."""
    series, bodies = data / "bitbrains-vm", data / "nova-vm-objects" / "api"
    servers = [
        json.loads(p.read_text())["server"] for p in sorted(bodies.glob("*server-get-resp*"))
    ]
    templates = [json.dumps(one) for one in servers if "vcpus" in one.get("flavor", {})]
    tools = (bodies / "os-server-diagnostics__v2.48__server-diagnostics-get-resp.json").read_text()
    full = [[float(cell) for cell in row] for row in table(series / "vm_0001.csv.gz", ";")]
    meta = table(series / "vm_meta.csv")
    sizes = {row[0]: (datetime.fromisoformat(row[1]).timestamp(), *row[3:]) for row in meta}
    sizes["1"] = (full[0][0], full[0][1], full[0][2], full[0][5])
    known = {vm: Vm(n, vm, size, templates, tools) for n, (vm, size) in enumerate(sizes.items())}
    samples = [(int(row[0]), "1", row[3], float(SAMPLE_S)) for row in full]
    cpu = table(series / "vm_cpu_5min.csv.gz")
    samples += [(int(row[1]), row[0], float(row[4]), int(row[2]) / 1000) for row in cpu]
    samples.sort()
    last_s = {vm: unix_s for unix_s, vm, _, _ in samples}
    ends = [(at + 1, vm, END, 0.0) for vm, at in last_s.items() if at < samples[-1][0] - SAMPLE_S]
    for unix_s, vm, mhz, duration_s in sorted(samples + ends):
        if mhz != END:
            row_number = (unix_s - START_S) // SAMPLE_S + known[vm].row_offset
            known[vm].move(unix_s, mhz, duration_s, full[row_number % len(full)][6:11])
        yield unix_s * 1000, known[vm].entity, "vm", known[vm].document if mhz != END else None


def table(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """Read the rows of a table after its header."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from itertools.islice(csv.reader(file, delimiter=delimiter), 1, None)


def objects(data: Path, kind: str, seed: int) -> Iterator[Change]:
    """Let copies of the cluster's nodes or pods live; for ever."""
    dice = random.Random(f"{kind} {seed}")
    paths = sorted((data / "openshift-cluster-objects").glob(f"config__{kind}__*.json"))
    texts = [path.read_text() for path in paths]
    copies: list[dict[str, Any]] = [{} for _ in range(COPIES[kind])]
    version, unix_s, births = 2_000_000, float(START_S), itertools.count()
    while True:
        unix_s += dice.expovariate(1 / STEP_S[kind])
        version += dice.randrange(1, 900)
        at = dice.randrange(len(copies))
        if not copies[at]:
            copies[at] = born(texts[at % len(texts)], kind, next(births))
        elif kind == "pod" and dice.random() < 0.01:  # noqa: PLR2004 - a pod lives for 100 changes
            yield int(unix_s * 1000), copies[at]["metadata"]["uid"], kind, None
            copies[at] = born(texts[at % len(texts)], kind, next(births))
        live(copies[at], dice, iso(unix_s), version)
        yield int(unix_s * 1000), copies[at]["metadata"]["uid"], kind, copies[at]


def born(text: str, kind: str, number: int) -> dict[str, Any]:
    """Copy a real object, under a name and an id of its own."""
    meta = json.loads(text)["metadata"]
    name = f"{meta['name'].rsplit('-', 1)[0]}-{number:05d}"
    text = text.replace(meta["uid"], own_id(kind, number)).replace(meta["name"], name)
    copy: dict[str, Any] = json.loads(text)
    return copy


def live(one: dict[str, Any], dice: random.Random, now: str, version: int) -> None:
    """Let an object report: heartbeats always, a condition or a restart now and then."""
    one["metadata"]["resourceVersion"] = str(version)
    for condition in one["status"]["conditions"]:
        if "lastHeartbeatTime" in condition:
            condition["lastHeartbeatTime"] = now
        if dice.random() < 0.005:  # noqa: PLR2004
            condition["status"] = "False" if condition["status"] == "True" else "True"
            condition["lastTransitionTime"] = now
    for container in one["status"].get("containerStatuses", ()):
        if dice.random() < 0.1:  # noqa: PLR2004
            container["restartCount"] += 1
            container["state"] = {"running": {"startedAt": now}}
            container["containerID"] = f"cri-o://{dice.getrandbits(256):064x}"


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
    check_folders(args.data, kinds)
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
