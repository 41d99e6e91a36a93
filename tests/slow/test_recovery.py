"""A session is back within two seconds of its path, over the emulated WAN."""

from pathlib import Path

import pytest

from benchmarks.link.encryption import make_certificates
from benchmarks.link.recovery import measure_once
from benchmarks.wan.emulator import why_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_missing() is not None, reason=str(why_missing())),
]

BACK_S = 2.0


@pytest.mark.parametrize("cut_s", [2.8, 4.4, 7.2])  # outlived; between two silences; dialled anew
def test_a_session_is_back_soon_after_its_path(tmp_path: Path, cut_s: float) -> None:
    make_certificates(tmp_path / "certs")
    found = measure_once(cut_s, 4.0, tmp_path / "certs")
    assert found["before_mbit_s"] > 10, found
    assert found["back"] is not None, found
    assert found["back"] < BACK_S, found
