"""Named streams repeat, are as large as asked for, and count what they put in."""

import math
import os
from pathlib import Path

import pytest

from dwcp.hde.documents import born, live, load_objects
from dwcp.hde.events import document_events, stream_source
from dwcp.hde.streams import Plan, open_stream
from dwcp.hde.synthetic import CountingDice
from schemas.errors import ConfigError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DWCP_DATA", ROOT / "../shared/data"))
SYNTHETIC = ["synthetic-vm", "synthetic-node", "synthetic-pod"]

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="no test data here: set DWCP_DATA to its folder"
)


def plan(seed: int = 1) -> Plan:
    return Plan(entity_count=50, event_count=400, seed=seed, data=DATA)


def sha256(name: str, seed: int) -> str:
    source = stream_source(lambda: open_stream(name, plan(seed)), name)
    assert sum(1 for _ in source.read()) == 400
    return source.sha256


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_synthetic_stream_repeats_from_its_seed(name: str) -> None:
    assert sha256(name, 1) == sha256(name, 1)
    assert sha256(name, 1) != sha256(name, 2)


@needs_data
@pytest.mark.parametrize("name", ["vm", "node", "pod"])
def test_a_real_stream_repeats_and_has_its_entities_first(name: str) -> None:
    events = list(document_events(open_stream(name, plan()).items))

    assert len({event.entity for event in events[:50]}) == 50
    assert len({event.entity for event in events if event.change["document"]}) >= 50  # type: ignore[index] # all are changes
    assert [event.time_ms for event in events] == sorted(event.time_ms for event in events)
    assert sha256(name, 1) == sha256(name, 1)


@needs_data
def test_objects_live_on_without_touching_what_was_handed_out() -> None:
    template = load_objects(DATA, "pod")[0]
    one = born(template, "pod", 7)
    dice = CountingDice("x")
    before = repr(one)

    later = live(one, dice, "2026-01-01T00:00:00Z", 5)

    assert repr(one) == before
    assert later["metadata"]["resourceVersion"] == "5"
    assert later["spec"] is one["spec"]
    assert one["metadata"]["uid"] != template["metadata"]["uid"]


@pytest.mark.parametrize("name", SYNTHETIC)
def test_events_tell_their_floor_which_stays_below_the_documents(name: str) -> None:
    source = stream_source(lambda: open_stream(name, plan()), name)
    events = list(source.read())
    floors = [event.floor_bits for event in events]

    assert min(floors) >= 0
    assert floors[0] > 0
    assert sum(floors) / 8 < sum(event.json_bytes for event in events) / 10


def test_dice_count_what_they_say() -> None:
    dice = CountingDice("seed")

    assert dice.choice("abcd") in "abcd"
    assert dice.bits == 2
    dice.getrandbits(256)
    assert dice.bits == 258
    assert 10 <= dice.randrange(10, 26) < 26
    assert dice.bits == 262
    happened = dice.happens(0.125)
    assert dice.bits == pytest.approx(262 + (3 if happened else -math.log2(0.875)))


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stream = 'blimp': give one of vm, node"):
        open_stream("blimp", plan())
    with pytest.raises(ConfigError, match="entity_count = 0"):
        open_stream("synthetic-vm", Plan(entity_count=0))
    with pytest.raises(ConfigError, match=r"missing: .*bitbrains-vm"):
        next(open_stream("vm", Plan(data=tmp_path)).items)
