"""Kafka's jars: pinned, verified, and never half there."""

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors.embedded.jars import (
    KAFKA_VERSION,
    MARKER_NAME,
    Fetch,
    Jar,
    ensure_jars,
    jar_folder,
    jgo_fetch,
    read_pins,
)
from connectors.embedded.locks import is_locked, try_lock
from schemas.errors import DiskSpaceError, JarDownloadError

CONTENTS = {f"org.example:part-{n}:1.{n}": bytes([n]) * (100 + n) for n in range(6)}
PINS = [Jar(c, len(b), hashlib.sha256(b).hexdigest()) for c, b in CONTENTS.items()]


class Repository:
    """A fetcher that counts, and serves wrong bytes or errors where told to."""

    def __init__(self, **bad: bytes | Exception) -> None:
        self.bad = bad
        self.fetched: list[str] = []

    def fetch(self, jar: Jar, staging: Path) -> Path:
        self.fetched.append(jar.file_name)
        artifact = jar.coordinates.split(":")[1]
        content = self.bad.get(artifact.replace("-", "_"), CONTENTS[jar.coordinates])
        if isinstance(content, Exception):
            raise content
        path = staging / jar.file_name
        path.write_bytes(content)
        return path


def ensure(folder: Path, repository: Repository) -> list[Path]:
    return ensure_jars(folder, fetch=repository.fetch, pins=PINS)


def test_all_jars_come_once_and_in_order(tmp_path: Path) -> None:
    folder, repository = tmp_path / "jars", Repository()
    seen: list[tuple[int, int | None]] = []
    paths = ensure_jars(
        folder,
        fetch=repository.fetch,
        pins=PINS,
        on_progress=lambda done, total, _what: seen.append((done, total)),
    )
    again = ensure(folder, repository)

    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert again == paths
    assert len(repository.fetched) == len(PINS)
    assert seen == [(n, 6) for n in range(1, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jars", "jars.lock"]


def test_an_error_says_the_remedy_and_keeps_what_was_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    with pytest.raises(JarDownloadError, match=r"part-5:1\.5: no route.*HTTPS_PROXY"):
        ensure(folder, Repository(part_5=OSError("no route")))
    assert not (folder / MARKER_NAME).exists()

    repository = Repository()
    ensure(folder, repository)

    assert "part-5-1.5.jar" in repository.fetched
    assert (folder / MARKER_NAME).exists()


def test_wrong_bytes_never_enter_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    right_size = b"x" * len(CONTENTS["org.example:part-2:1.2"])
    for wrong in (b"", b"<html>sign in</html>", right_size):
        with pytest.raises(JarDownloadError, match=r"part-2.*bytes are not"):
            ensure(folder, Repository(part_2=wrong))

    assert not (folder / "part-2-1.2.jar").exists()
    assert not (folder / MARKER_NAME).exists()


def _remove(folder: Path) -> None:
    (folder / "part-3-1.3.jar").unlink()


def _cut(folder: Path) -> None:
    (folder / "part-3-1.3.jar").write_bytes(b"half")


def _spoil_marker(folder: Path) -> None:
    _cut(folder)
    (folder / MARKER_NAME).write_text("{")


def _strange_marker(folder: Path) -> None:
    _cut(folder)
    (folder / MARKER_NAME).write_text("[]")


@pytest.mark.parametrize("harm", [_remove, _cut, _spoil_marker, _strange_marker])
def test_what_is_broken_is_fetched_again_and_nothing_else(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder, repository = tmp_path / "jars", Repository()
    ensure(folder, Repository())
    harm(folder)
    paths = ensure(folder, repository)

    assert repository.fetched == ["part-3-1.3.jar"]
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())


def test_other_pins_do_not_pass_for_complete(tmp_path: Path) -> None:
    folder, repository = tmp_path / "jars", Repository()
    ensure_jars(folder, fetch=Repository().fetch, pins=PINS[:4])
    ensure(folder, repository)

    assert sorted(repository.fetched) == ["part-4-1.4.jar", "part-5-1.5.jar"]


def test_a_pin_of_the_same_size_but_another_hash_is_fetched_again(tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    ensure(folder, Repository())
    other = PINS[1]._replace(sha256=hashlib.sha256(b"x" * PINS[1].size_bytes).hexdigest())
    repository = Repository(part_1=b"x" * PINS[1].size_bytes)
    ensure_jars(folder, fetch=repository.fetch, pins=[PINS[0], other, *PINS[2:]])

    assert repository.fetched == [other.file_name]


def test_leftovers_of_a_killed_download_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "jars.partial-abc" / "org"
    leftover.mkdir(parents=True)
    ensure(tmp_path / "jars", Repository())

    assert not leftover.exists()


def test_no_room_is_an_error_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10 << 20))
    repository = Repository()
    with pytest.raises(DiskSpaceError, match=r"10 MiB free, 64 MiB are needed"):
        ensure(tmp_path / "jars", repository)

    assert repository.fetched == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(JarDownloadError, match="XDG_CACHE_HOME"):
        ensure(tmp_path / "file" / "jars", Repository())


def test_a_download_stops_when_asked(tmp_path: Path) -> None:
    repository = Repository()
    with pytest.raises(JarDownloadError, match="stopped"):
        ensure_jars(tmp_path / "jars", fetch=repository.fetch, pins=PINS, should_stop=lambda: True)

    assert repository.fetched == []


def _ensure_in_child(folder: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait(timeout=20)
    repository = Repository()
    ensure(folder, repository)
    (folder.parent / f"fetched-{len(repository.fetched)}").touch()


def test_of_processes_that_start_at_once_one_fetches(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    children = [
        context.Process(target=_ensure_in_child, args=(tmp_path / "jars", barrier))
        for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=30)

    assert [child.exitcode for child in children] == [0, 0, 0]
    assert {path.name for path in tmp_path.glob("fetched-*")} == {"fetched-0", "fetched-6"}


def test_the_pins_are_one_kafka_with_one_log_binding() -> None:
    names = [jar.coordinates for jar in read_pins()]
    versions = {name.split(":")[2] for name in names if name.startswith("org.apache.kafka:")}

    assert f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}" in names
    assert versions == {KAFKA_VERSION}
    assert sum("slf4j" in name and "api" not in name for name in names) == 1
    assert len(names) == len({name.rpartition(":")[0] for name in names})


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert jar_folder() == tmp_path / "dwcp" / f"kafka-{KAFKA_VERSION}"


def test_a_lock_is_seen_and_ends_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    held = try_lock(path)
    assert held is not None
    assert is_locked(path)
    assert try_lock(path) is None
    os.close(held)

    assert not is_locked(path)


def test_jgo_takes_what_the_local_repository_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = PINS[0]
    content = CONTENTS[jar.coordinates]
    there = tmp_path / "m2" / "org" / "example" / "part-0" / "1.0" / jar.file_name
    there.parent.mkdir(parents=True)
    there.write_bytes(content)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    fetch: Fetch = jgo_fetch()
    path = fetch(jar, tmp_path / "staging")

    assert path.read_bytes() == content
    assert path.is_relative_to(tmp_path / "staging")
