"""Dictionaries: trained on what flows carry, carried by them, refused when they are not held."""

import pytest

from schemas.errors import BadUnitError
from tests.support.changes import ChangeDice
from transport.hde.dictionary import (
    DICTIONARY_BYTES_MAX,
    Dictionaries,
    pack_dictionary,
    train_dictionary,
    unpack_dictionary,
)
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import FLAG_CARRIED, content_hash, read_unit_header, unit_bytes_max

LIMIT = 1 << 22
SIZE = 4_096


def filled() -> Dictionaries:
    """Return what flows of one kind left to train on."""
    dictionaries = Dictionaries(SIZE)
    for seed in range(100):
        encoder = FlowEncoder(FlowSettings(is_typed=seed % 2 == 0), dictionaries)
        for raw in ChangeDice(seed).units(30, changes_max=20):
            encoder.encode(raw)
    assert dictionaries.is_due
    return dictionaries


@pytest.fixture(scope="module")
def trained() -> bytes:
    dictionaries = filled()
    name = dictionaries.train()
    assert name is not None
    assert name == dictionaries.newest
    dictionary = dictionaries.get(name)
    assert dictionary is not None
    return dictionary


def holding(dictionary: bytes) -> Dictionaries:
    dictionaries = Dictionaries(SIZE)
    dictionaries.newest = dictionaries.hold(dictionary)
    return dictionaries


def test_it_is_as_large_as_allowed_and_named_by_its_hash(trained: bytes) -> None:
    assert 0 < len(trained) <= SIZE
    assert holding(trained).newest == content_hash(trained)


def test_the_first_unit_of_an_epoch_is_smaller_with_it(trained: bytes) -> None:
    raw = ChangeDice(1_000).unit(20)
    plain = FlowEncoder(FlowSettings()).encode(raw)
    with_it = FlowEncoder(FlowSettings(), holding(trained)).encode(raw)

    assert read_unit_header(with_it).dictionary == content_hash(trained)
    assert len(with_it) < 0.9 * len(plain)
    assert FlowDecoder(LIMIT, None, holding(trained)).decode(with_it) == raw


def test_a_peer_that_does_not_hold_it_refuses_and_the_next_epoch_does_without(
    trained: bytes,
) -> None:
    encoder, decoder = FlowEncoder(None, holding(trained)), FlowDecoder(LIMIT)
    first, second = ChangeDice(2).units(2)

    with pytest.raises(BadUnitError, match="is not held here"):
        decoder.decode(encoder.encode(first))
    encoder.reset()

    assert decoder.decode(encoder.encode(second)) == second


def test_a_unit_with_room_carries_it_and_a_later_epoch_begins_with_it(trained: bytes) -> None:
    ours, theirs = Dictionaries(SIZE), Dictionaries(SIZE)
    encoder, decoder = FlowEncoder(None, ours), FlowDecoder(LIMIT, None, theirs)
    dice = ChangeDice(3)
    decoder.decode(encoder.encode(dice.unit()))
    ours.newest = ours.hold(trained)
    carrying = []
    for raw in dice.units(60, changes_max=60):
        unit = encoder.encode(raw)
        assert decoder.decode(unit) == raw
        assert len(unit) <= unit_bytes_max(len(raw))
        carrying.append(bool(read_unit_header(unit).flags & FLAG_CARRIED))
    assert carrying.count(True) == 1
    assert theirs.get(content_hash(trained)) == trained

    encoder.reset()
    raw = dice.unit()
    unit = encoder.encode(raw)
    assert read_unit_header(unit).dictionary == content_hash(trained)
    assert decoder.decode(unit) == raw


def test_what_does_as_well_as_at_training_is_kept_and_what_drifts_is_not() -> None:
    dictionaries = filled()
    dictionaries.train()
    for seed in range(100):
        encoder = FlowEncoder(None, dictionaries)
        for raw in ChangeDice(seed).units(30, changes_max=20):
            encoder.encode(raw)
    assert dictionaries.train() is None
    assert dictionaries.kept_count == 1

    while not dictionaries.is_due:
        size = 97 + len(dictionaries.held())
        dictionaries.sample(b"".join(bytes([n % size, n // 7 % 256]) for n in range(20_000)))
    dictionaries.train()
    assert dictionaries.trained_count == 2


def test_only_some_are_held() -> None:
    dictionaries = Dictionaries()
    names = [dictionaries.hold(bytes([number]) * 10) for number in range(20)]

    assert list(dictionaries.held()) == names[-8:]


@pytest.mark.parametrize("size", [0, DICTIONARY_BYTES_MAX + 1])
def test_none_is_held_that_is_empty_or_too_large(size: int) -> None:
    with pytest.raises(BadUnitError, match="a dictionary of"):
        Dictionaries().hold(bytes(size))


def test_samples_that_are_too_few_make_none() -> None:
    assert train_dictionary([b"a"], SIZE) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\0\0\x09zstd?", b"\0\0\0\x04zstd", pack_dictionary(bytes(DICTIONARY_BYTES_MAX + 1))],
)
def test_a_body_that_carries_no_dictionary_is_refused(body: bytes) -> None:
    with pytest.raises(BadUnitError):
        unpack_dictionary(body)
