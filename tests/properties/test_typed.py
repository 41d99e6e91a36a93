"""The typed level gives every byte back, whatever is sent, forgotten, lost or damaged."""

import json
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.log import LogRecord, RecordRange
from dwcp.hde.events import document_events
from dwcp.hde.packing import Packer
from dwcp.hde.streams import Plan, open_stream
from schemas.changes import set_field
from schemas.errors import BadUnitError
from schemas.registry import encode_event
from streams.replication import encode_batch
from tests.support.changes import ChangeDice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.typed.batch import read_batch, write_batch
from transport.hde.typed.decoder import TypedDecoder
from transport.hde.typed.encoder import TypedEncoder
from transport.hde.typed.templates import Templates
from transport.hde.unit import Level, read_unit_header, unit_bytes_max

LIMIT = 1 << 22
SMALL = FlowSettings(memory_bytes=1 << 20)
seeds = st.integers(0, 1 << 32)


@settings(deadline=None)
@given(seeds, st.integers(1, 12), st.integers(1, 40))
def test_units_come_back_byte_for_byte(seed: int, count: int, entity_count: int) -> None:
    encoder, decoder = FlowEncoder(SMALL), FlowDecoder(LIMIT, SMALL)

    for raw in ChangeDice(seed, entity_count).units(count):
        unit = encoder.encode(raw)
        assert decoder.decode(unit) == raw
        assert len(unit) <= unit_bytes_max(len(raw))


@settings(deadline=None)
@given(seeds)
def test_batches_are_put_together_again(seed: int) -> None:
    templates = Templates()
    for raw in ChangeDice(seed).units(4):
        batch = read_batch(raw, templates)
        assert batch is not None
        assert write_batch(batch) == raw


@settings(deadline=None)
@given(seeds, st.data())
def test_units_lost_repeated_or_out_of_order_never_give_other_bytes(
    seed: int, data: st.DataObject
) -> None:
    encoder, decoder = FlowEncoder(SMALL), FlowDecoder(LIMIT, SMALL)
    sent = [(encoder.encode(raw), raw) for raw in ChangeDice(seed).units(6)]
    taken = [decoded(decoder, unit) == raw for unit, raw in sent[:2]]
    for unit, raw in data.draw(st.lists(st.sampled_from(sent), max_size=8)):
        assert decoded(decoder, unit) in (raw, None)
    assert all(taken)


@settings(deadline=None)
@given(seeds, st.data())
def test_a_damaged_unit_is_refused_and_the_next_epoch_mends(seed: int, data: st.DataObject) -> None:
    encoder, decoder = FlowEncoder(SMALL), FlowDecoder(LIMIT, SMALL)
    first, second, third = ChangeDice(seed).units(3)
    decoder.decode(encoder.encode(first))
    unit = bytearray(encoder.encode(second))
    if data.draw(st.booleans()):
        del unit[data.draw(st.integers(0, len(unit) - 1)) :]
    else:
        unit[data.draw(st.integers(0, len(unit) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert decoded(decoder, bytes(unit)) in (None, second)  # an end may carry nothing
    encoder.reset()
    assert decoder.decode(encoder.encode(third)) == third


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_flows_beside_each_other_do_not_mix(seed: int) -> None:
    ends = [(FlowEncoder(SMALL), FlowDecoder(LIMIT, SMALL)) for _ in range(3)]
    dice = ChangeDice(seed)

    for _ in range(4):
        for encoder, decoder in ends:
            raw = dice.unit()
            assert decoder.decode(encoder.encode(raw)) == raw


def test_what_was_forgotten_comes_again_on_both_ends() -> None:
    encoder, decoder = FlowEncoder(SMALL), FlowDecoder(LIMIT, SMALL)
    dice = ChangeDice(5, entity_count=2_000)

    for raw in dice.units(120, changes_max=60):
        unit = encoder.encode(raw)
        assert decoder.decode(unit) == raw
        assert read_unit_header(unit).codec == Level.TYPED
    assert encoder.forgotten > 100


def test_typed_units_are_much_smaller_than_the_window_alone() -> None:
    packer = Packer(20)
    items = open_stream("synthetic-vm", Plan(100, 1_000)).items
    units = [unit.raw for unit in map(packer.add, document_events(items)) if unit is not None]
    sizes = {}
    for is_typed in (True, False):
        encoder = FlowEncoder(FlowSettings(is_typed=is_typed))
        sizes[is_typed] = sum(len(encoder.encode(raw)) for raw in units[5:])

    assert sizes[True] < 0.7 * sizes[False]


def test_a_layout_that_is_learnt_reads_what_the_long_way_reads() -> None:
    templates = Templates()
    changes = [
        {**ChangeDice(1).change(), "operation": "patch", "document": None, "deltas": deltas}
        for deltas in ([set_field("/a", 7), set_field("/b", "x" * size)] for size in range(62))
    ]
    raws = [encode_batch([_range(change, at)], 1 << 20) for at, change in enumerate(changes)]

    for raw in raws:
        batch = read_batch(raw, templates)
        assert batch is not None
        assert write_batch(batch) == raw
        assert batch.records[0].row_count == 2


def _range(change: dict[str, object], at: int) -> RecordRange:
    value = encode_event("StateBatch", {"producer": "p", "changes": [change, change]})
    return RecordRange(0, at, at + 1, [LogRecord(at, 1_700_000_000_000, None, value, ())])


def test_more_shapes_of_patches_than_are_kept_and_numbers_of_every_size() -> None:
    encoder, decoder = FlowEncoder(), FlowDecoder(1 << 24)
    dice = random.Random(7)
    numbers = (0, 1, -1, 1 << 60, -(1 << 62), (1 << 63) - 1, 0.25, -0.0, 1e-6, 1 / 3, 2.5e300)
    shapes = 6_000  # of which a flow keeps 4,096
    sent = 0
    for unit in range(6):
        changes = []
        for at in range(2_000):
            shape = (unit * 1_000 + at) % shapes if at % 3 else dice.randrange(shapes)
            fields: dict[str, object] = {f"/{shape}": dice.choice(numbers), "/n": at * at}
            fields["/t"] = f"word {at % 5}"
            fields |= {"/d": dice.choice(numbers), "/flag": dice.choice((None, True, False))}
            change = {**ChangeDice(1).change(), "operation": "patch", "document": None}
            change["entity_id"] = f"e{dice.randrange(50)}"
            change["deltas"] = [set_field(path, value) for path, value in fields.items()]
            changes.append(change)
        value = encode_event("StateBatch", {"producer": "p", "changes": changes})
        record = LogRecord(unit, 1_700_000_000_000, None, value, ())
        raw = encode_batch([RecordRange(0, unit, unit + 1, [record])], 1 << 24)
        encoded = encoder.encode(raw)
        sent += read_unit_header(encoded).codec == Level.TYPED
        assert decoder.decode(encoded) == raw
    assert sent == 6


def test_what_is_no_batch_travels_through_the_window() -> None:
    encoder, decoder = FlowEncoder(), FlowDecoder(LIMIT)
    raw = b"no batch " * 50
    unit = encoder.encode(raw)

    assert read_unit_header(unit).codec == Level.WINDOW
    assert decoder.decode(unit) == raw


def test_a_text_that_is_repeated_beyond_the_size_of_the_unit_is_refused_before_it_is_made() -> None:
    short, sizes = b"t" * 200, struct.Struct("!5I")
    document = json.dumps([short.decode()] * 4_000)
    change = {**ChangeDice(1).change(), "operation": "put", "document": document, "deltas": []}
    value = encode_event("StateChange", change)
    records = [LogRecord(at, 1, None, value, ()) for at in range(2)]  # the second has a shape
    batch = read_batch(encode_batch([RecordRange(0, 0, 2, records)], LIMIT), Templates())
    assert batch is not None
    content, beside, _ = TypedEncoder(1 << 24).encode(batch)
    text_bytes = sizes.unpack_from(content)[4]
    head, texts = content[sizes.size : -text_bytes], content[-text_bytes:]
    before, after = texts.rsplit(short, 1)
    texts = before + 1_000 * short + after
    content = sizes.pack(*sizes.unpack_from(content)[:4], len(texts)) + head + texts

    tracemalloc.start()
    with pytest.raises(BadUnitError, match="grows beyond what it says"):
        TypedDecoder(1 << 24).decode(content, beside, 1 << 20)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 1 << 24  # joined it would be 800 MB


def test_a_flow_that_wants_to_remember_more_than_we_allow_is_refused() -> None:
    unit = FlowEncoder(FlowSettings(memory_bytes=2 << 20)).encode(ChangeDice(1).unit())

    with pytest.raises(BadUnitError, match="wants to remember 2 MiB"):
        FlowDecoder(LIMIT, SMALL).decode(unit)


def decoded(decoder: FlowDecoder, unit: bytes) -> bytes | None:
    try:
        return decoder.decode(unit)
    except BadUnitError:
        return None
