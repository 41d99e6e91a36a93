"""Kill nodes and brokers in the middle of the writing: a short run of `make kills`.

`DWCP_KILL_SEED=7 make test-slow` draws other faults.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.kills.run import Plan, run

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(600)]

KILLS = 5


def _show(text: str) -> None:
    sys.stderr.write(text + "\n")


@pytest.mark.parametrize(("region_count", "node_count"), [(2, 2), (3, 1)])
async def test_five_kills_lose_nothing_and_repeat_nothing(
    region_count: int, node_count: int, tmp_path: Path
) -> None:
    seed = int(os.environ.get("DWCP_KILL_SEED", "1"))
    report = await run(Plan(KILLS, seed, region_count, node_count), tmp_path, _show)
    _show(str(report))

    assert report["examples"] == {}, f"seed {seed}"
    assert report["kills"] == KILLS
    assert report["writes"]["acknowledged"] > 0
