"""Break the core before you trust the test: every mutant is noticed within some schedules."""

import pytest

import streams.agents.replica as importer
from streams.replication import replica_records
from streams.state.entity import Entity
from tests.simulation.mutants import MUTANTS, hunt
from tests.simulation.planting import Mutant, NotPlantedError, planted

# Those first that killed a mutant which few others kill; any other may do it, too.
SEEDS = (401, 0, 217, 1, 134, 52, 42, 36, 27, 19, 11, 14, 7, 6, *range(500))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant) -> None:
    verdict = hunt(mutant, SEEDS)

    assert verdict.killed_by, f"{mutant.name} survived {verdict.seeds_needed} schedules"


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
