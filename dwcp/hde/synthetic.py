"""Made-up streams whose information is counted while they are made.

A codec that knew the generator, but not its dice, would still have to send every bit that the dice
put in: that is the floor. Fresh bits are counted as they are drawn: log2(n) for one of n, and
-log2(p) for what happens with chance p. What follows from other values, such as a time text or a
counter's sum, counts nothing.
"""

import math
import random
from collections.abc import Iterator
from typing import Any, Final

from dwcp.demo.generator import START_MS, patched
from dwcp.demo.inputs import EntityDocument
from dwcp.demo.shapes import hex_id, iso_time, new_node, new_pod, new_vm, uuid

Document = dict[str, Any]

_STEP_MS: Final = 16  # at most, from one event to the next
_CONDITION_COUNT: Final = 5


class CountingDice(random.Random):
    """Dice that know how much they said; only the four methods here count.

    Attributes:
        bits: Information drawn so far.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self._plain = random.Random(seed)  # the parent's methods call each other: count once
        self.bits = 0.0

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """Draw one of a range."""
        options = range(start) if stop is None else range(start, stop, step)
        self.bits += math.log2(len(options))
        return options[self._plain.randrange(len(options))]

    def getrandbits(self, k: int, /) -> int:
        """Draw so many bits."""
        self.bits += k
        return self._plain.getrandbits(k)

    def choice(self, seq: Any) -> Any:
        """Draw one of the items."""
        return seq[self.randrange(len(seq))]

    def happens(self, chance: float) -> bool:
        """Tell whether something of this chance happens."""
        is_so = self._plain.random() < chance
        self.bits -= math.log2(chance if is_so else 1 - chance)
        return is_so


def synthetic_vms(dice: CountingDice, entity_count: int) -> Iterator[EntityDocument]:
    """Servers in turn: a load that wanders, counters that grow."""
    known: dict[int, tuple[str, Document]] = {}
    for at, time_ms in _turns(dice, entity_count):
        if at in known:
            name, document = known[at]
            document = _moved_vm(document, dice, time_ms)
        else:
            name = uuid(dice)
            document = new_vm(name, dice, time_ms)
        known[at] = (name, document)
        yield EntityDocument(time_ms, name, "vm", document, None)


def _moved_vm(document: Document, dice: CountingDice, time_ms: int) -> Document:
    old = document["diagnostics"]
    # Gauges go round instead of being clipped: a clipped draw would tell less than it counts.
    cpu_mhz = (document["status"]["cpu_usage_mhz"] + dice.randrange(-512, 512)) % 4_096
    utilisation = 100 * cpu_mhz // 4_096
    cores = [
        {**core, "time": core["time"] + dice.randrange(1 << 24), "utilisation": utilisation}
        for core in old["cpu_details"]
    ]
    patch: Document = {
        "/status/updated": iso_time(time_ms),
        "/status/cpu_usage_mhz": cpu_mhz,
        "/diagnostics/uptime": (time_ms - START_MS) // 1000,
        "/diagnostics/cpu_details": cores,
    }
    if dice.happens(0.6):
        patch["/status/memory_used_mib"] = dice.randrange(1 << 12)
    if dice.happens(0.3):
        sums = document["status"]["network"]
        network = {
            "rx_octets": sums["rx_octets"] + dice.randrange(1 << 20),
            "tx_octets": sums["tx_octets"] + dice.randrange(1 << 18),
        }
        patch["/status/network"] = network
        patch["/diagnostics/nic_details"] = [{**old["nic_details"][0], **network}]
    return patched(document, patch)


def synthetic_nodes(dice: CountingDice, entity_count: int) -> Iterator[EntityDocument]:
    """Nodes in turn: heartbeats and usage, now and then a condition flips or an image comes."""
    known: dict[int, tuple[str, Document]] = {}
    version = 1_000_000
    for at, time_ms in _turns(dice, entity_count):
        version += dice.randrange(1, 257)
        if at in known:
            name, document = known[at]
        else:
            name = f"worker-{hex_id(dice, 10)}.cloud.example.com"
            document = new_node(name, dice, time_ms)
        document = _moved_node(document, dice, time_ms, version)
        known[at] = (name, document)
        yield EntityDocument(time_ms, name, "node", document, None)


def _moved_node(document: Document, dice: CountingDice, time_ms: int, version: int) -> Document:
    status, now = document["status"], iso_time(time_ms)
    conditions = [{**one, "lastHeartbeatTime": now} for one in status["conditions"]]
    if dice.happens(0.02):
        at = dice.randrange(_CONDITION_COUNT)
        flipped = "False" if conditions[at]["status"] == "True" else "True"
        conditions[at] |= {"status": flipped, "lastTransitionTime": now}
    patch: Document = {
        "/metadata/resourceVersion": str(version),
        "/status/heartbeat": now,
        "/status/conditions": conditions,
        "/status/usage/cpu_millicores": dice.randrange(8_000),
    }
    if dice.happens(0.5):
        memory_kib = status["usage"]["memory_kib"] + dice.randrange(-(1 << 15), 1 << 15)
        patch["/status/usage/memory_kib"] = memory_kib % (1 << 25)
    if dice.happens(0.05):
        patch["/status/images"] = [*status["images"][1:], status["images"][0]]
    return patched(document, patch)


def synthetic_pods(dice: CountingDice, entity_count: int) -> Iterator[EntityDocument]:
    """Pods in random order: usage, restarts, readiness; one in a hundred is replaced."""
    known: dict[int, tuple[str, Document] | None] = {}
    version, time_ms = 1_000_000, START_MS
    while True:
        at = len(known) if len(known) < entity_count else dice.randrange(entity_count)
        time_ms += dice.randrange(_STEP_MS)
        version += dice.randrange(1, 257)
        pod = known.get(at)
        if pod is None:
            name = f"pod-{hex_id(dice, 10)}-{hex_id(dice, 5)}"
            pod = (name, new_pod(name, dice, time_ms))
        elif dice.happens(0.01):
            known[at] = None  # its slot's next turn is a new pod's
            yield EntityDocument(time_ms, pod[0], "pod", None, None)
            continue
        known[at] = pod = (pod[0], _moved_pod(pod[1], dice, time_ms, version))
        yield EntityDocument(time_ms, pod[0], "pod", pod[1], None)


def _moved_pod(document: Document, dice: CountingDice, time_ms: int, version: int) -> Document:
    patch: Document = {
        "/metadata/resourceVersion": str(version),
        "/status/heartbeat": iso_time(time_ms),
    }
    if dice.happens(0.4):
        usage = {"cpu_millicores": dice.randrange(1_000), "memory_kib": dice.randrange(1 << 19)}
        patch["/status/usage"] = usage
    if dice.happens(0.02):
        count = document["status"]["restart_count"] + 1
        app, *others = document["status"]["containerStatuses"]
        app = {
            **app,
            "restartCount": count,
            "state": {"running": {"startedAt": iso_time(time_ms)}},
            "containerID": f"containerd://{hex_id(dice, 64)}",
        }
        patch["/status/restart_count"] = count
        patch["/status/containerStatuses"] = [app, *others]
    if dice.happens(0.04):
        patch["/status/ready_count"] = 3 - document["status"]["ready_count"]
    return patched(document, patch)


def _turns(dice: CountingDice, entity_count: int) -> Iterator[tuple[int, int]]:
    """Yield entity and time (Unix ms): all in turn, a few milliseconds apart."""
    time_ms = START_MS
    while True:
        for at in range(entity_count):
            time_ms += dice.randrange(_STEP_MS)
            yield at, time_ms
