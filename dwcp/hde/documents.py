"""Real documents that live on: servers of OpenStack Nova, nodes and pods of an OpenShift cluster.

What is real: the documents (server and diagnostics bodies of Nova's API samples; nodes and pods of
a cluster) and of the VMs the times, cores, memory and CPU load (Bitbrains, one month). VM 1 also
has its real memory, disk and network series. What is ours: ids, names and addresses, made from each
entity's number. Other VMs borrow VM 1's memory, disk and network series, each from another row on.
"""

import csv
import gzip
import hashlib
import itertools
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from schemas.errors import ConfigError

Document = dict[str, Any]

START_S: Final = 1376314846  # of the Bitbrains month
SAMPLE_S: Final = 300
VM_FOLDERS: Final = ("bitbrains-vm", "nova-vm-objects")
CLUSTER_FOLDER: Final = "openshift-cluster-objects"
_FLIP_CHANCE: Final = 0.005  # of each condition at each report
_RESTART_CHANCE: Final = 0.1  # of each container at each report


class Sample(NamedTuple):
    """One reading of a VM's CPU."""

    unix_s: int
    vm: str
    cpu_mhz: float
    duration_s: float


class VmData(NamedTuple):
    """What the test data says of VMs.

    Attributes:
        templates: Server bodies, as JSON text.
        tools: A diagnostics body, as JSON text.
        sizes: By VM: start (Unix seconds), cores, capacity (MHz), memory (KiB).
        full: VM 1's rows with all columns.
        samples: CPU load of all VMs, by time.
    """

    templates: list[str]
    tools: str
    sizes: dict[str, tuple[Any, ...]]
    full: list[list[float]]
    samples: list[Sample]


def check_folders(data: Path, names: tuple[str, ...]) -> None:
    """Raise ConfigError unless every folder that is needed is there."""
    if missing := [str(data / name) for name in names if not (data / name).is_dir()]:
        remedy = f"missing: {', '.join(missing)}; say with --data where it is"
        raise ConfigError("data", str(data), remedy)


def load_vms(data: Path) -> VmData:
    """Read all that VMs are made of."""
    check_folders(data, VM_FOLDERS)
    series, bodies = (data / name for name in VM_FOLDERS)
    bodies /= "api"
    servers = [
        json.loads(p.read_text())["server"] for p in sorted(bodies.glob("*server-get-resp*"))
    ]
    templates = [json.dumps(one) for one in servers if "vcpus" in one.get("flavor", {})]
    tools = (bodies / "os-server-diagnostics__v2.48__server-diagnostics-get-resp.json").read_text()
    full = [[float(cell) for cell in row] for row in table(series / "vm_0001.csv.gz", ";")]
    meta = table(series / "vm_meta.csv")
    sizes: dict[str, tuple[Any, ...]] = {
        row[0]: (datetime.fromisoformat(row[1]).timestamp(), *row[3:]) for row in meta
    }
    sizes["1"] = (full[0][0], full[0][1], full[0][2], full[0][5])
    samples = [Sample(int(row[0]), "1", row[3], float(SAMPLE_S)) for row in full]
    cpu = table(series / "vm_cpu_5min.csv.gz")
    samples += [Sample(int(row[1]), row[0], float(row[4]), int(row[2]) / 1000) for row in cpu]
    return VmData(templates, tools, sizes, full, sorted(samples))


def table(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """Read the rows of a table after its header."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from itertools.islice(csv.reader(file, delimiter=delimiter), 1, None)


class Vm:
    """A real server document, moved along the series of one Bitbrains VM.

    Args:
        data: Where its document and size come from.
        number: Chooses the template.
        vm: The Bitbrains VM whose size and series it has.
        name: Its own name; its id follows from it.

    Attributes:
        document: As it is now; `move` changes it in place.
    """

    def __init__(self, data: VmData, number: int, vm: str, name: str) -> None:
        size = data.sizes[vm]
        self._full = data.full
        self.entity = own_id("vm", name)
        self._row_offset = 0 if name == "1" else 211 * (number + 1)
        self._start_s, core_count = int(size[0]), int(size[1])
        self._capacity_mhz, memory_kib = float(size[2]), int(float(size[3]))
        text = data.templates[number % len(data.templates)]
        server = json.loads(text.replace(json.loads(text)["id"], self.entity))
        server |= {"name": f"vm-{name}", "created": iso(self._start_s)}
        server["hostId"] = hashlib.sha224(name.encode()).hexdigest()
        if "OS-EXT-SRV-ATTR:host" in server:
            server["OS-EXT-SRV-ATTR:host"] = f"compute-{number % 12:02d}"
        server["addresses"]["private"][0]["addr"] = f"192.168.{number >> 8}.{number & 255}"
        flavor = f"b{core_count}.{memory_kib // 1024}"
        server["flavor"] |= {
            "vcpus": core_count,
            "ram": memory_kib // 1024,
            "original_name": flavor,
        }
        tool = json.loads(data.tools) | {"num_cpus": core_count}
        tool["cpu_details"] = [tool["cpu_details"][0] | {"id": n} for n in range(core_count)]
        tool["memory_details"]["maximum"] = memory_kib
        self.document: Document = {"server": server, "diagnostics": tool}

    def move(self, unix_s: int, cpu_mhz: float, duration_s: float) -> None:
        """Let one sample pass: counters accumulate, gauges jump, `updated` is now."""
        row_number = (unix_s - START_S) // SAMPLE_S + self._row_offset
        io_kib = self._full[row_number % len(self._full)][6:11]
        share = min(1.0, cpu_mhz / self._capacity_mhz)
        tool = self.document["diagnostics"]
        for number, core in enumerate(tool["cpu_details"], 8):
            part = share * 8 / number  # the first core works most; how much less others do is ours
            core["time"] += int(part * duration_s * 1e9)
            core["utilisation"] = round(part * 100)
        used, read, write, received, sent = (int(value * 1024) for value in io_kib)
        tool["memory_details"]["used"] = min(used // 1024, tool["memory_details"]["maximum"])
        _add_up(tool["disk_details"][0], duration_s, read_bytes=read, write_bytes=write)
        _add_up(tool["nic_details"][0], duration_s, rx_octets=received, tx_octets=sent)
        tool["nic_details"][0] |= {"rx_rate": received * 8, "tx_rate": sent * 8}
        tool["uptime"] = unix_s - self._start_s
        self.document["server"]["updated"] = iso(unix_s)


def _add_up(counters: Document, duration_s: float, **per_s: int) -> None:
    """Add rates to byte counters, and to their packets or requests at 1,024 bytes each."""
    for name, rate in per_s.items():
        counters[name] += int(rate * duration_s)
        kind = {"bytes": "requests", "octets": "packets"}[name.split("_")[1]]
        counters[f"{name.split('_')[0]}_{kind}"] += int(rate * duration_s) // 1024


def load_objects(data: Path, kind: str) -> list[Document]:
    """Read the cluster's real nodes or pods."""
    check_folders(data, (CLUSTER_FOLDER,))
    paths = sorted((data / CLUSTER_FOLDER).glob(f"config__{kind}__*.json"))
    return [json.loads(path.read_text()) for path in paths]


def born(template: Document, kind: str, number: int) -> Document:
    """Copy a real object, under a name and an id of its own; shares what they do not touch."""
    meta = template["metadata"]
    name = f"{meta['name'].rsplit('-', 1)[0]}-{number:05d}"
    names = {meta["uid"]: own_id(kind, number), meta["name"]: name}
    copy: Document = _renamed(template, names)
    return copy


def distinct_pod(pod: Document, number: int) -> Document:
    """Give a copy what no two pods share: addresses and container ids."""
    address = f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    status = {**pod["status"], "podIP": address, "podIPs": [{"ip": address}]}
    if "containerStatuses" in status:
        status["containerStatuses"] = [
            {**one, "containerID": f"cri-o://{own_digest('container', number, at)}"}
            for at, one in enumerate(status["containerStatuses"])
        ]
    return {**pod, "status": status}


def distinct_node(node: Document, number: int, images: list[Document]) -> Document:
    """Give a copy what no two nodes share: address, ids (blackened in the data), images."""
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    addresses = [
        {**one, "address": address} if one["type"] == "InternalIP" else one
        for one in node["status"]["addresses"]
    ]
    info = {
        **node["status"]["nodeInfo"],
        "machineID": own_digest("machine", number)[:32],
        "systemUUID": own_id("system", number),
        "bootID": own_id("boot", number),
    }
    status = {**node["status"], "addresses": addresses, "nodeInfo": info, "images": images}
    return {**node, "status": status}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Replace names in all texts; what holds none of them is shared, not copied."""
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        items = [_renamed(item, names) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    members = {_renamed(key, names): _renamed(item, names) for key, item in value.items()}
    is_same = all(new is value.get(key) for key, new in members.items())
    return value if is_same else members


def live(one: Document, dice: random.Random, now: str, version: int) -> Document:
    """Let an object report: heartbeats always, a condition or a restart now and then.

    Returns:
        The next document; shares what did not change, and leaves the old one as it is.
    """
    status = dict(one["status"])
    status["conditions"] = [_reported(each, dice, now) for each in status["conditions"]]
    if "containerStatuses" in status:
        statuses = status["containerStatuses"]
        status["containerStatuses"] = [_maybe_restarted(each, dice, now) for each in statuses]
    meta = {**one["metadata"], "resourceVersion": str(version)}
    return {**one, "metadata": meta, "status": status}


def _reported(condition: Document, dice: random.Random, now: str) -> Document:
    if "lastHeartbeatTime" in condition:
        condition = {**condition, "lastHeartbeatTime": now}
    if dice.random() < _FLIP_CHANCE:
        flipped = "False" if condition["status"] == "True" else "True"
        condition = {**condition, "status": flipped, "lastTransitionTime": now}
    return condition


def _maybe_restarted(container: Document, dice: random.Random, now: str) -> Document:
    if dice.random() >= _RESTART_CHANCE:
        return container
    return {
        **container,
        "restartCount": container["restartCount"] + 1,
        "state": {"running": {"startedAt": now}},
        "containerID": f"cri-o://{dice.getrandbits(256):064x}",
    }


def iso(unix_s: float) -> str:
    """Write a time as the APIs do."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_digest(*parts: object) -> str:
    """Derive 64 hexadecimal digits from what makes a thing itself."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def own_id(*parts: object) -> str:
    """Derive a UUID from what makes an entity itself."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, parts))))
