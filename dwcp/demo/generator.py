"""A cluster that never was: changes of VMs, nodes and pods, drawn from a seed.

Of the entities 60 % are VMs, 30 % pods, 10 % nodes. Each has a home region, where it is born,
changes about every ten seconds of its own time, and may end: then a delete is followed, at its
slot's next turn, by a successor with a new id. After 5 % of changes another region writes the
same entity at the same time, so that there are conflicts to settle.

A document handed out shares the parts that did not change with the next one of its entity;
nothing handed out is ever changed afterwards.
"""

import abc
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, get_args

from dwcp.demo.inputs import EntityDocument
from dwcp.demo.shapes import hex_id, iso_time, new_node, new_pod, new_vm, uuid
from schemas.errors import ConfigError

Kind = Literal["documents", "patches"]
Patch = dict[str, Any]

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
CHANGE_INTERVAL_MS = 10_000  # of one entity, on average
CONFLICT_RATIO = 0.05
ENTITY_COUNT_MIN = 30
CHANGES_PER_ENTITY = 40


def generate(
    kind: Kind, change_count: int, region_names: Sequence[str], seed: int
) -> Iterator[EntityDocument]:
    """Make changes of a cluster, the same ones for the same arguments.

    Args:
        kind: `documents` gives the whole entity at each change; `patches` gives it at first
            sight and then two to five fields.
        change_count: How many changes to make, deletes included.
        region_names: The regions to write them in; conflicts need two.
        seed: Of all dice.

    Returns:
        Changes in order of their time, each with its region.

    Raises:
        ConfigError: An argument that cannot be.
    """
    if kind not in get_args(Kind):
        raise ConfigError("kind", kind, f"give one of {', '.join(get_args(Kind))}")
    if change_count < 0:
        raise ConfigError("change_count", change_count, "give 0 or more")
    if not region_names:
        raise ConfigError("region_names", region_names, "give at least one region")
    return _changes(kind, change_count, tuple(region_names), random.Random(seed))


def _changes(
    kind: Kind, change_count: int, region_names: tuple[str, ...], dice: random.Random
) -> Iterator[EntityDocument]:
    slots: list[_Entity | None] = [None] * max(ENTITY_COUNT_MIN, change_count // CHANGES_PER_ENTITY)
    change_rate_per_ms = len(slots) / CHANGE_INTERVAL_MS
    elapsed_ms = 0.0
    left_count = change_count
    while left_count > 0:
        left_count -= 1
        elapsed_ms += dice.expovariate(change_rate_per_ms)
        time_ms = START_MS + int(elapsed_ms)
        slot = dice.randrange(len(slots))
        entity = slots[slot]
        if entity is None:
            slots[slot] = entity = _BY_SLOT[slot % len(_BY_SLOT)](region_names, dice, time_ms)
            yield entity.put(time_ms, entity.home)
        elif _happens(dice, entity.END_CHANCE):
            slots[slot] = None
            yield entity.change(time_ms, entity.home)
        else:
            yield entity.move(kind, dice, time_ms, entity.home)
            if left_count and len(region_names) > 1 and _happens(dice, CONFLICT_RATIO):
                left_count -= 1
                away = region_names.index(entity.home) + dice.randrange(1, len(region_names))
                region = region_names[away % len(region_names)]
                yield entity.move(kind, dice, time_ms, region)


class _Entity(abc.ABC):
    """One entity, and the counters from which its next changes follow."""

    TYPE: ClassVar[str]
    END_CHANCE: ClassVar[float]

    def __init__(self, region_names: Sequence[str], dice: random.Random, time_ms: int) -> None:
        self.home = dice.choice(region_names)
        self.born_ms = self.moved_ms = time_ms
        self.name, self.document = self.born(dice, time_ms)

    @abc.abstractmethod
    def born(self, dice: random.Random, time_ms: int) -> tuple[str, dict[str, Any]]:
        """Draw the id and the first document."""

    @abc.abstractmethod
    def fields(self, dice: random.Random, time_ms: int) -> Patch:
        """Draw the next values of two to five fields."""

    @abc.abstractmethod
    def details(self, dice: random.Random, time_ms: int) -> Patch:
        """Draw the lists that a whole document carries besides those fields."""

    def change(
        self, time_ms: int, region: str, document: Patch | None = None, patch: Patch | None = None
    ) -> EntityDocument:
        return EntityDocument(time_ms, self.name, self.TYPE, document, region, patch)

    def put(self, time_ms: int, region: str) -> EntityDocument:
        return self.change(time_ms, region, self.document)

    def move(self, kind: Kind, dice: random.Random, time_ms: int, region: str) -> EntityDocument:
        patch = self.fields(dice, time_ms)
        if kind == "patches":
            change = self.change(time_ms, region, patch=patch)
        else:
            patch |= self.details(dice, time_ms)
            self.document = patched(self.document, patch)
            change = self.put(time_ms, region)
        self.moved_ms = time_ms
        return change


class _Vm(_Entity):
    """A server under a load that wanders, with counters that only grow."""

    TYPE = "vm"
    END_CHANCE = 0.002

    def born(self, dice: random.Random, time_ms: int) -> tuple[str, dict[str, Any]]:
        self.load = dice.random()
        self.core_times_ns = [0] * 4
        self.counters = [0] * 8  # octets and packets in and out; disk bytes and requests r and w
        name = uuid(dice)
        return name, new_vm(name, dice, time_ms)

    def fields(self, dice: random.Random, time_ms: int) -> Patch:
        self.load = min(1.0, max(0.01, self.load + dice.gauss(0, 0.08)))
        busy = self.load * (time_ms - self.moved_ms)
        for index, scale in enumerate((900, 400, 2, 1, 300, 1_200, 0.1, 0.3)):
            self.counters[index] += int(busy * scale * dice.random())
        memory_mib = self.document["diagnostics"]["memory_details"]["maximum"]
        patch: Patch = {
            "/status/updated": iso_time(time_ms),
            "/status/cpu_usage_mhz": int(self.load * 2_600),
        }
        if _happens(dice, 0.6):
            patch["/status/memory_used_mib"] = int(memory_mib * (0.3 + 0.6 * self.load))
        if _happens(dice, 0.3):
            rx_octets, tx_octets = self.counters[:2]
            patch["/status/network"] = {"rx_octets": rx_octets, "tx_octets": tx_octets}
        if _happens(dice, 0.03):
            patch["/status/vm_state"] = dice.choice(("active", "active", "paused", "stopped"))
        return patch

    def details(self, dice: random.Random, time_ms: int) -> Patch:
        old = self.document["diagnostics"]
        busy_ns = int(self.load * (time_ms - self.moved_ms) * 1_000_000)
        cores = []
        for core in old["cpu_details"]:
            time_ns = core["time"] + int(busy_ns * (0.5 + dice.random() / 2))
            cores.append({**core, "time": time_ns, "utilisation": int(100 * self.load)})
        octets_in, octets_out, packets_in, packets_out, *disk = self.counters
        names = ("read_bytes", "write_bytes", "read_requests", "write_requests")
        traffic = {"rx_octets": octets_in, "tx_octets": octets_out, "rx_packets": packets_in}
        nic = {**old["nic_details"][0], **traffic, "tx_packets": packets_out}
        first = {**old["disk_details"][0], **dict(zip(names, disk, strict=True))}
        return {
            "/diagnostics/uptime": (time_ms - self.born_ms) // 1000,
            "/diagnostics/cpu_details": cores,
            "/diagnostics/disk_details": [first, *old["disk_details"][1:]],
            "/diagnostics/nic_details": [nic],
        }


class _Node(_Entity):
    """A Kubernetes node: heartbeats, now and then a condition that flips or a new image."""

    TYPE = "node"
    END_CHANCE = 0.0005

    def born(self, dice: random.Random, time_ms: int) -> tuple[str, dict[str, Any]]:
        self.version = dice.randrange(10**6, 10**8)
        name = f"worker-{hex_id(dice, 10)}.cloud.example.com"
        return name, new_node(name, dice, time_ms)

    def fields(self, dice: random.Random, time_ms: int) -> Patch:
        self.version += dice.randrange(1, 400)
        patch: Patch = {
            "/status/heartbeat": iso_time(time_ms),
            "/metadata/resourceVersion": str(self.version),
            "/status/usage/cpu_millicores": dice.randrange(200, 7_500),
        }
        if _happens(dice, 0.5):
            patch["/status/usage/memory_kib"] = dice.randrange(4 * 10**6, 31 * 10**6)
        if _happens(dice, 0.02):
            patch["/status/phase"] = dice.choice(("Ready", "Ready", "NotReady"))
        elif _happens(dice, 0.01):
            patch["/metadata/annotations/agent.example.com~1last-drain"] = iso_time(time_ms)
        return patch

    def details(self, dice: random.Random, time_ms: int) -> Patch:
        status, now = self.document["status"], iso_time(time_ms)
        conditions = [{**one, "lastHeartbeatTime": now} for one in status["conditions"]]
        if _happens(dice, 0.02):
            at = dice.randrange(len(conditions))
            flipped = "False" if conditions[at]["status"] == "True" else "True"
            conditions[at] |= {"status": flipped, "lastTransitionTime": now}
        details: Patch = {"/status/conditions": conditions}
        if _happens(dice, 0.05):
            details["/status/images"] = [*status["images"][1:], status["images"][0]]
        return details


class _Pod(_Entity):
    """A pod: usage, readiness, restarts, and a short life."""

    TYPE = "pod"
    END_CHANCE = 0.01

    def born(self, dice: random.Random, time_ms: int) -> tuple[str, dict[str, Any]]:
        self.version = dice.randrange(10**6, 10**8)
        self.restart_count = 0
        name = f"pod-{hex_id(dice, 10)}-{hex_id(dice, 5)}"
        return name, new_pod(name, dice, time_ms)

    def fields(self, dice: random.Random, time_ms: int) -> Patch:
        self.version += dice.randrange(1, 400)
        patch: Patch = {
            "/status/heartbeat": iso_time(time_ms),
            "/metadata/resourceVersion": str(self.version),
        }
        if _happens(dice, 0.4):
            usage = {"cpu_millicores": dice.randrange(1_000), "memory_kib": dice.randrange(524_288)}
            patch["/status/usage"] = usage
        if _happens(dice, 0.02):
            self.restart_count += 1
            patch["/status/restart_count"] = self.restart_count
        elif _happens(dice, 0.04):
            patch["/status/ready_count"] = dice.choice((1, 2))
        return patch

    def details(self, dice: random.Random, time_ms: int) -> Patch:
        app, *others = self.document["status"]["containerStatuses"]
        if app["restartCount"] == self.restart_count:
            return {}
        started = {"running": {"startedAt": iso_time(time_ms)}}
        runtime_id = f"containerd://{hex_id(dice, 64)}"
        app = {
            **app,
            "restartCount": self.restart_count,
            "state": started,
            "containerID": runtime_id,
        }
        return {"/status/containerStatuses": [app, *others]}


_BY_SLOT: tuple[type[_Entity], ...] = (_Vm, _Pod, _Vm, _Node, _Vm, _Pod, _Vm, _Vm, _Pod, _Vm)


def _happens(dice: random.Random, chance: float) -> bool:
    return dice.random() < chance


def patched(document: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with fields set by JSON pointer.

    Objects on the way to each field are copied, all others are shared.
    """
    result = dict(document)
    fresh: dict[tuple[str, ...], dict[str, Any]] = {}
    for pointer, value in patch.items():
        *way, last = _steps(pointer)
        parent = result
        for depth, step in enumerate(way, 1):
            path = tuple(way[:depth])
            if path not in fresh:
                parent[step] = fresh[path] = dict(parent[step])
            parent = fresh[path]
        parent[last] = value
    return result


@cache
def _steps(pointer: str) -> tuple[str, ...]:
    parts = pointer.split("/")[1:]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)
