"""A broker's folder: what lies where in it, its lock, and the last words in its logs.

::

    <root>/lock                held by the broker's process as long as it lives
    <root>/log/                Kafka's data; appears by a rename, once formatted
    <root>/logs/server.log     Kafka's warnings and errors, rotated
    <root>/logs/console.log    what Java itself says; new at each start
    <root>/broker.properties, log4j2.properties
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from connectors.embedded.host import port_in_use
from connectors.embedded.locks import is_locked
from connectors.embedded.settings import DATA_NAME, LOG_SETTINGS_NAME, PROPERTIES_NAME
from schemas.errors import BrokerStartError, DiskSpaceError, KafkaServerError

_LAST_LINES: Final = 12
_LINE_CHARS_MAX: Final = 240
_TAIL_BYTES: Final = 16_384
_BIND_FAILED: Final = re.compile(r"failed to bind to \S+:(\d+)")


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """The folder of one broker."""

    root: Path
    """Absolute path, without links."""

    @classmethod
    def at(cls, path: Path) -> Self:
        """Name a broker's folder by one of the paths that lead to it."""
        return cls(path.resolve())

    @property
    def lock_path(self) -> Path:
        """File whose lock says that a broker lives here."""
        return self.root / "lock"

    @property
    def data_path(self) -> Path:
        """Kafka's data."""
        return self.root / DATA_NAME

    @property
    def formatting_path(self) -> Path:
        """Kafka's data while it is being formatted."""
        return self.root / f"{DATA_NAME}.formatting"

    @property
    def console_path(self) -> Path:
        """What Java writes to its standard output and error."""
        return self.root / "logs" / "console.log"

    @property
    def server_log_path(self) -> Path:
        """Kafka's own log."""
        return self.root / "logs" / "server.log"

    @property
    def is_in_use(self) -> bool:
        """Whether a broker, or one who is about to start it, holds the folder.

        Raises:
            KafkaServerError: We may not look.
        """
        try:
            return is_locked(self.lock_path)
        except OSError as error:
            raise KafkaServerError(f"cannot look into {self.root}: {error}") from error

    @property
    def is_formatted(self) -> bool:
        """Whether the data folder is one of a cluster."""
        return self.data_path.is_dir()

    def cluster_id(self) -> str:
        """Read the id of the cluster that the data belong to; empty if nothing says it."""
        try:
            text = (self.data_path / "meta.properties").read_text("latin-1")
        except FileNotFoundError:
            return ""
        found = re.search(r"^cluster\.id=(\S+)", text, re.MULTILINE)
        return found[1] if found else ""

    def make(self) -> None:
        """Make what is missing of the folder, for this user's eyes only."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.console_path.parent.mkdir(exist_ok=True)
        (self.root / LOG_SETTINGS_NAME).touch()

    def write_settings(self, properties: str, log_settings: str) -> None:
        """Write what the broker is to read at its start."""
        (self.root / PROPERTIES_NAME).write_text(properties, "latin-1")
        (self.root / LOG_SETTINGS_NAME).write_text(log_settings, "ascii")

    def drop_unfinished(self) -> None:
        """Remove what a formatting that was killed has left."""
        shutil.rmtree(self.formatting_path, ignore_errors=True)

    def log_size_bytes(self) -> int:
        """Return how far Kafka's log goes now: what follows is about the next start."""
        try:
            return self.server_log_path.stat().st_size
        except FileNotFoundError:
            return 0

    def last_words(self, since_bytes: int) -> str:
        """Return the last lines of the console and of Kafka's log, one below the other.

        Args:
            since_bytes: Where in Kafka's log to begin; ignored if it was rotated since.
        """
        start = since_bytes if since_bytes <= self.log_size_bytes() else 0
        lines = _tail(self.console_path, 0) + _tail(self.server_log_path, start)
        return "\n".join(line[:_LINE_CHARS_MAX] for line in lines[-_LAST_LINES:])

    def explain(self, what: str, since_bytes: int) -> KafkaServerError:
        """Say why a broker did not start, from its last words.

        Args:
            what: What was seen from outside, such as `ended with exit code 1`.
            since_bytes: As for `last_words`.
        """
        words = self.last_words(since_bytes)
        if bound := _BIND_FAILED.search(words):
            return port_in_use(int(bound[1]))
        if "No space left on device" in words:
            return DiskSpaceError(f"the disk under {self.root} is full: make room and start again")
        return BrokerStartError(f"the broker in {self.root} {what}; its last words:\n{words}")


def _tail(path: Path, start: int) -> list[str]:
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(start, end - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
