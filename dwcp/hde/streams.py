"""Named streams of entity documents for measurements, the same ones for the same arguments.

============== ==============================================================================
stream         what
============== ==============================================================================
vm             Nova servers along Bitbrains series; each reports every 300 s, 2 s of jitter
node           copies of a real node with a list of images; each reports every 10 s
pod            copies of real pods that change in random order, restart, and get replaced
synthetic-*    the same three made up; the generator counts the fresh random bits it puts in
============== ==============================================================================

The first event of an entity is its whole document, fresh to everybody; how many there are is
`entity_count`. vm, node and pod need the project's test data; what of it is real and what is ours
is told in `documents`. The images that a node lists are those that the real pods name.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dwcp.demo.inputs import EntityDocument
from dwcp.hde.documents import (
    SAMPLE_S,
    START_S,
    Document,
    Vm,
    born,
    distinct_node,
    distinct_pod,
    iso,
    live,
    load_objects,
    load_vms,
)
from dwcp.hde.synthetic import CountingDice, synthetic_nodes, synthetic_pods, synthetic_vms
from schemas.errors import ConfigError

ENTITY_COUNT: Final = 20_000
EVENT_COUNT: Final = 100_000
DATA: Final = Path("../shared/data")
_JITTER_MS: Final = 2_000
_NODE_ROUND_S: Final = 10
_POD_STEP_MS: Final = 40
_REPLACED_CHANCE: Final = 0.01
_IMAGES_CHANCE: Final = 0.01
_IMAGE_COUNT: Final = 18


class Plan(NamedTuple):
    """What a stream is made from.

    Attributes:
        entity_count: Entities at a time.
        event_count: Events in all.
        seed: Of all dice.
        data: The project's test data.
    """

    entity_count: int = ENTITY_COUNT
    event_count: int = EVENT_COUNT
    seed: int = 1
    data: Path = DATA


class Stream(NamedTuple):
    """A stream, and what the generator knows of it.

    Attributes:
        name: Its name.
        items: Its events; a document is only valid until the next one is asked for.
        dice: Counts the bits of a synthetic stream while it runs; else None.
    """

    name: str
    items: Iterator[EntityDocument]
    dice: CountingDice | None


def open_stream(name: str, plan: Plan) -> Stream:
    """Begin a stream.

    Raises:
        ConfigError: There is no such stream, an argument cannot be, or its data is not there.
    """
    if name not in STREAM_NAMES:
        raise ConfigError("stream", name, f"give one of {', '.join(STREAM_NAMES)}")
    for field in ("entity_count", "event_count"):
        if getattr(plan, field) < 1:
            raise ConfigError(field, getattr(plan, field), "give at least 1")
    if name in _SYNTHETIC:
        dice = CountingDice(f"{name} {plan.seed}")
        made = _SYNTHETIC[name](dice, plan.entity_count)
        return Stream(name, itertools.islice(made, plan.event_count), dice)
    return Stream(name, itertools.islice(_REAL[name](plan), plan.event_count), None)


def _vms(plan: Plan) -> Iterator[EntityDocument]:
    data = load_vms(plan.data)
    dice = random.Random(f"vm {plan.seed}")
    series: dict[str, list[tuple[float, float]]] = {}
    for sample in data.samples:
        series.setdefault(sample.vm, []).append((sample.cpu_mhz, sample.duration_s))
    names = sorted(series, key=int)
    known: list[Vm | None] = [None] * plan.entity_count
    for round_number, time_ms, at in _rounds(dice, plan.entity_count, SAMPLE_S):
        base = names[at % len(names)]
        rows = series[base]
        vm = known[at]
        if vm is None:
            vm = known[at] = Vm(data, at, base, f"{base}-{at}")
        # A copy of a VM is at another place of its month.
        cpu_mhz, duration_s = rows[(round_number + 97 * (at // len(names))) % len(rows)]
        vm.move(time_ms // 1000, cpu_mhz, duration_s)
        yield EntityDocument(time_ms, vm.entity, "vm", vm.document, None)


def _nodes(plan: Plan) -> Iterator[EntityDocument]:
    dice = random.Random(f"node {plan.seed}")
    images = _images(plan.data, dice)
    templates = load_objects(plan.data, "node")
    known: list[Document] = [{}] * plan.entity_count
    version = 2_000_000
    for _, time_ms, at in _rounds(dice, plan.entity_count, _NODE_ROUND_S):
        one = known[at]
        if not one:
            held = dice.sample(images, min(_IMAGE_COUNT, len(images)))
            one = distinct_node(born(templates[at % len(templates)], "node", at), at, held)
        version += dice.randrange(1, 900)
        one = known[at] = live(one, dice, iso(time_ms // 1000), version)
        if dice.random() < _IMAGES_CHANCE:
            status = one["status"]
            pulled = [dice.choice(images), *status["images"][:-1]]
            one = known[at] = {**one, "status": {**status, "images": pulled}}
        yield EntityDocument(time_ms, one["metadata"]["uid"], "node", one, None)


def _images(data: Path, dice: random.Random) -> list[Document]:
    pods = load_objects(data, "pod")
    statuses = itertools.chain.from_iterable(
        pod["status"].get("containerStatuses", ()) for pod in pods
    )
    names = sorted({status["imageID"] for status in statuses if status.get("imageID")})
    return [{"names": [name], "sizeBytes": dice.randrange(10**7, 10**9)} for name in names]


def _pods(plan: Plan) -> Iterator[EntityDocument]:
    dice = random.Random(f"pod {plan.seed}")
    templates = load_objects(plan.data, "pod")
    known: list[Document] = [{}] * plan.entity_count
    births, version = itertools.count(), 2_000_000
    time_ms = START_S * 1000
    for at in _first_all_then_any(dice, plan.entity_count):
        time_ms += dice.randrange(_POD_STEP_MS)
        version += dice.randrange(1, 900)
        one = known[at]
        if one and dice.random() < _REPLACED_CHANCE:
            yield EntityDocument(time_ms, one["metadata"]["uid"], "pod", None, None)
            one = {}
        if not one:
            number = next(births)
            one = distinct_pod(born(templates[at % len(templates)], "pod", number), number)
        one = known[at] = live(one, dice, iso(time_ms // 1000), version)
        yield EntityDocument(time_ms, one["metadata"]["uid"], "pod", one, None)


def _rounds(dice: random.Random, entity_count: int, round_s: int) -> Iterator[tuple[int, int, int]]:
    """Yield round, time (Unix ms) and entity: each in every round, at its own phase of it."""
    phases_ms = [dice.randrange(round_s * 1000 - _JITTER_MS) for _ in range(entity_count)]
    for number in itertools.count():
        start_ms = (START_S + number * round_s) * 1000
        times = [start_ms + phase + dice.randrange(_JITTER_MS) for phase in phases_ms]
        for at in sorted(range(entity_count), key=times.__getitem__):
            yield number, times[at], at


def _first_all_then_any(dice: random.Random, entity_count: int) -> Iterator[int]:
    yield from range(entity_count)
    while True:
        yield dice.randrange(entity_count)


_REAL: Final[dict[str, Callable[[Plan], Iterator[EntityDocument]]]] = {
    "vm": _vms,
    "node": _nodes,
    "pod": _pods,
}
_SYNTHETIC: Final[dict[str, Callable[[CountingDice, int], Iterator[EntityDocument]]]] = {
    "synthetic-vm": synthetic_vms,
    "synthetic-node": synthetic_nodes,
    "synthetic-pod": synthetic_pods,
}
STREAM_NAMES: Final = (*_REAL, *_SYNTHETIC)
