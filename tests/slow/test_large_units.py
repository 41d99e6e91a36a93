"""Every size from nothing to 32 MiB comes back through a flow, growing and shrinking on the way."""

import random

import pytest

from tests.support.changes import ChangeDice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import unit_bytes_max

pytestmark = pytest.mark.slow

LIMIT = 32 << 20
SIZES = [0, 1, 63, 64, 65, *(1 << bit for bit in range(8, 26, 2)), (1 << 17) - 1, LIMIT]


@pytest.mark.parametrize("level", [0, 1, 3])
@pytest.mark.parametrize("is_noise", [True, False])
def test_all_sizes_come_back(level: int, *, is_noise: bool) -> None:
    settings = FlowSettings(level)
    encoder, decoder = FlowEncoder(settings), FlowDecoder(LIMIT, settings)
    dice = random.Random(level)
    text = b"".join(ChangeDice(level).units(60, changes_max=60))
    for size in [*SIZES, *reversed(SIZES)]:
        raw = dice.randbytes(size) if is_noise else (text * (size // len(text) + 1))[:size]
        unit = encoder.encode(raw)

        assert decoder.decode(unit) == raw
        assert len(unit) <= unit_bytes_max(size)


def test_batches_of_many_changes_come_back() -> None:
    encoder, decoder = FlowEncoder(), FlowDecoder(LIMIT)
    dice = ChangeDice(1, entity_count=5_000)

    for changes_max in (1, 10, 100, 1_000, 5_000, 1_000, 1):
        raw = dice.unit(changes_max)
        assert decoder.decode(encoder.encode(raw)) == raw
