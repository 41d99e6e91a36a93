"""The converter of example 1 makes the same readable stream each time, from the test data."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dwcp.demo.inputs import EntityDocument, read_jsonl

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "01_real_documents.py"
DATA = Path(os.environ.get("DWCP_DATA", ROOT / "../shared/data"))

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="no test data here: set DWCP_DATA to its folder"
)


def convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLE, "--data", DATA, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def made(path: Path, *arguments: str) -> list[EntityDocument]:
    done = convert("--out", path, *arguments)
    assert done.returncode == 0, done.stderr
    return list(read_jsonl(path))


@needs_data
def test_vms_are_real_documents_in_order_of_time_that_repeat(tmp_path: Path) -> None:
    plain, packed = tmp_path / "vm.jsonl", tmp_path / "vm.jsonl.gz"
    changes = made(plain, "--events", "600")
    last = convert("--out", packed, "--events", "600").stdout.splitlines()[-1]

    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert len(last.split()[-1]) == 64
    assert [one.time_ms for one in changes] == sorted(one.time_ms for one in changes)
    assert {one.entity_type for one in changes} == {"vm"}
    assert len({one.entity for one in changes}) >= 20
    sizes = [len(json.dumps(one.document)) for one in changes if one.document]
    assert 1_800 < sum(sizes) / len(sizes) < 4_000


@needs_data
def test_counters_of_a_vm_only_grow(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int, int]] = {}
    for change in made(tmp_path / "vm.jsonl", "--events", "3000"):
        assert change.document is not None
        assert change.document["server"]["id"] == change.entity
        tools = change.document["diagnostics"]
        now = (
            tools["cpu_details"][0]["time"],
            tools["disk_details"][0]["write_bytes"],
            tools["nic_details"][0]["rx_octets"],
        )
        before = seen.get(change.entity, (0, 0, 0))
        assert all(new >= old for new, old in zip(now, before, strict=True))
        seen[change.entity] = now


@needs_data
def test_a_mixed_stream_has_all_kinds_and_replaced_pods(tmp_path: Path) -> None:
    changes = made(tmp_path / "mixed.jsonl", "--events", "4000", "--kind", "mixed")
    shares = {
        kind: sum(one.entity_type == kind for one in changes) / len(changes)
        for kind in ("vm", "pod", "node")
    }

    assert shares == pytest.approx({"vm": 0.6, "pod": 0.3, "node": 0.1}, abs=0.1)
    deleted = {one.entity for one in changes if one.document is None}
    assert deleted
    assert [one.time_ms for one in changes] == sorted(one.time_ms for one in changes)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    out = tmp_path / "x.jsonl"
    done = convert("--out", out, "--data", tmp_path)

    assert done.returncode == 2
    assert f"missing: {tmp_path / 'bitbrains-vm'}" in done.stderr
    assert not out.exists()
