"""20 kills on loopback sockets, without Kafka: streams, all streams, the sending process."""

import pytest

from tests.support.link_kills import KINDS, run_kills


@pytest.mark.slow
async def test_kills_lose_nothing_and_nothing_comes_twice() -> None:
    report = await run_kills(20, seed=1)

    assert report.wrong == []
    assert sum(report.kills.values()) == 20
    assert min(report.kills[kind] for kind in KINDS) >= 6
    assert report.records == 24_000
    assert set(report.refused) <= {"PeerSilent"}
