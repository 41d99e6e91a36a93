"""Break the core before you trust the test: every mutant is noticed within some schedules."""

import pytest

import streams.agents.replica as importer
from streams.replication import replica_records
from streams.state.entity import Entity
from tests.simulation.mutants import MUTANTS, hunt
from tests.simulation.planting import Mutant, NotPlantedError, planted

# Seeds that killed a mutant which few others kill come first for it; any other may do it, too.
FIRST = {
    "a copy is sent when the frame was queued anew": 72,
    "a dropped unit keeps its credit": 97,
    "a failed writer is used again": 42,
    "a large record met again gets another letter": 134,
    "a manifest covers a dead letter under way": 28,
    "a range with a hole is accepted": 27,
    "a replayed patch asks for its document": 27,
    "a restore forgets what the consumer left out": 52,
    "a stray record met again gets another letter": 3,
    "a unit that cannot be decoded is passed over": 8,
    "bases are never put off": 11,
    "chunks are written over in place": 19,
    "dictionary: none ever goes": 25,
    "fields: equal stamps, the later arrival wins": 19,
    "manifest read after the buckets": 42,
    "window not reset in a new epoch": 27,
}
SEEDS = (401, 0, 217, 1, 134, 52, 42, 36, 27, 19, 11, 14, 7, 6, *range(500))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    first = (FIRST[mutant.name],) if mutant.name in FIRST else ()

    verdict = hunt(mutant, (*first, *SEEDS))

    assert verdict.killed_by, f"{mutant.name} survived {verdict.seeds_needed} schedules"


def test_every_first_seed_is_of_a_mutant() -> None:
    assert FIRST.keys() <= {mutant.name for mutant in MUTANTS}


def test_a_mutant_is_planted_wherever_its_function_was_imported_and_taken_out_again() -> None:
    before = replica_records
    mutant = Mutant(
        "x",
        "streams.replication:replica_records",
        "if record.offset >= cursor",
        "if record.offset >= 0",
    )

    with planted(mutant):
        during = vars(importer)["replica_records"]

    assert during is not before
    assert vars(importer)["replica_records"] is before


def test_a_mutated_method_is_taken_out_even_after_an_error() -> None:
    before = Entity.put
    mutant = next(m for m in MUTANTS if m.target.endswith("Entity.put"))

    with pytest.raises(KeyError), planted(mutant):
        raise KeyError

    assert Entity.put is before


@pytest.mark.parametrize(
    ("old", "new"),
    [("no such text", ""), ("version", "_"), ("version <= self.version", "version<=self.version")],
)
def test_a_mutant_that_changes_nothing_or_too_much_is_refused(old: str, new: str) -> None:
    mutant = Mutant("x", "streams.state.entity:Entity.put", old, new)

    with pytest.raises(NotPlantedError), planted(mutant):
        pass
