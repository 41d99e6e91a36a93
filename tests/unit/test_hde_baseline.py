"""A flow begins with a baseline that both ends hold by name, or with nothing."""

import json
import random

import pytest

from connectors.log import LogRecord, RecordRange
from schemas.errors import BadUnitError
from schemas.registry import encode_event
from streams.baselines.contents import Document, baseline_of
from streams.replication import encode_batch
from tests.support.events import APPENDED_MS, put
from transport.hde.dictionary import Dictionaries
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import Level, content_hash, read_unit_header

DICE = random.Random(1)
STAMP = APPENDED_MS << 16
DOCUMENTS = [
    Document(
        STAMP + n,
        f"vm-{n}",
        "vm",
        json.dumps(
            {"id": f"{DICE.getrandbits(128):032x}", "state": "on", "n": DICE.getrandbits(30)}
        ),
    )
    for n in range(400)
]
BASELINE = baseline_of("ams", DOCUMENTS)
HELD = {content_hash(BASELINE): BASELINE}


def unit_of(number: int) -> bytes:
    """Return raw bytes of a batch in which every entity changed one number."""
    changes = [
        put(one.entity_id, json.dumps(json.loads(one.text) | {"n": number}), hybrid_timestamp=STAMP)
        for one in DOCUMENTS[:100]
    ]
    batch = encode_event("StateBatch", {"producer": "p", "changes": changes})
    record = LogRecord(0, APPENDED_MS, None, batch, ())
    return encode_batch([RecordRange(0, 0, 1, [record])], 1 << 24)


@pytest.mark.parametrize("is_typed", [True, False])
def test_the_first_unit_is_smaller_and_comes_back(*, is_typed: bool) -> None:
    settings = FlowSettings(is_typed=is_typed)
    plain = len(FlowEncoder(settings).encode(unit_of(1)))
    encoder = FlowEncoder(settings, None, BASELINE)
    decoder = FlowDecoder(1 << 24, settings, None, HELD.get)

    units = [encoder.encode(unit_of(number)) for number in (1, 2, 3)]

    assert [decoder.decode(unit) for unit in units] == [unit_of(n) for n in (1, 2, 3)]
    assert len(units[0]) * 2 < plain
    assert read_unit_header(units[0]).base == content_hash(BASELINE)
    assert read_unit_header(units[1]).base == 0


def test_a_baseline_and_a_dictionary_go_together() -> None:
    both = [Dictionaries(0), Dictionaries(0)]
    for held in both:
        held.newest = held.hold(b"a dictionary of raw content: " + BASELINE[:3_000])
    encoder = FlowEncoder(FlowSettings(), both[0], BASELINE)
    decoder = FlowDecoder(1 << 24, None, both[1], HELD.get)
    unit = encoder.encode(unit_of(1))

    assert decoder.decode(unit) == unit_of(1)
    assert read_unit_header(unit).dictionary
    assert read_unit_header(unit).base


def test_a_peer_that_holds_nothing_refuses_and_the_next_epoch_names_nothing() -> None:
    encoder, decoder = FlowEncoder(FlowSettings(), None, BASELINE), FlowDecoder(1 << 24)
    with pytest.raises(BadUnitError, match="is not held here"):
        decoder.decode(encoder.encode(unit_of(1)))
    encoder.reset()

    unit = encoder.encode(unit_of(1))

    assert decoder.decode(unit) == unit_of(1)
    assert read_unit_header(unit).base == 0


def test_a_first_unit_that_is_no_batch_builds_on_it_all_the_same() -> None:
    encoder = FlowEncoder(FlowSettings(), None, BASELINE)
    decoder = FlowDecoder(1 << 24, None, None, HELD.get)
    raws = [b"no batch " * 50, unit_of(1), unit_of(2)]

    units = [encoder.encode(raw) for raw in raws]

    assert [decoder.decode(unit) for unit in units] == raws
    assert read_unit_header(units[0]).codec == Level.WINDOW
    assert read_unit_header(units[0]).base == content_hash(BASELINE)


def test_a_first_unit_that_would_grow_begins_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real first units do not grow: this bound is one that the baseline alone keeps."""
    monkeypatch.setattr(
        "transport.hde.flow.body_bytes_max",
        lambda raw_bytes: raw_bytes if raw_bytes == len(BASELINE) else 0,
    )
    encoder = FlowEncoder(FlowSettings(), None, BASELINE)
    decoder = FlowDecoder(1 << 24, None, None, HELD.get)
    unit = encoder.encode(unit_of(1))

    assert decoder.decode(unit) == unit_of(1)
    assert read_unit_header(unit).base == 0


def test_another_content_under_the_same_name_is_noticed() -> None:
    encoder = FlowEncoder(FlowSettings(), None, BASELINE)
    other = {content_hash(BASELINE): baseline_of("ams", DOCUMENTS[:300])}
    with pytest.raises(BadUnitError):
        FlowDecoder(1 << 24, None, None, other.get).decode(encoder.encode(unit_of(1)))


def test_a_raw_flow_names_nothing() -> None:
    encoder = FlowEncoder(FlowSettings(level=0), None, BASELINE)
    unit = encoder.encode(b"abc")

    assert FlowDecoder(100).decode(unit) == b"abc"
