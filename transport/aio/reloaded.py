"""Something made of files, made anew when they change."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from schemas.errors import ConfigError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Reloaded(Generic[T]):
    """Holds what `load` made of the files, as they were at the last look.

    A change that cannot be used (half written, key of another certificate) is said, and what was in
    use stays, so that a renewal in two steps does no harm.

    Args:
        name: What it is, for the log.
        paths: The files.
        load: Makes it; raises `ConfigError` when the files cannot be used.

    Attributes:
        reloads: How often it was made anew.
        error: Why the newest files are not in use, empty when they are.
    """

    def __init__(self, name: str, paths: Sequence[Path], load: Callable[[], T]) -> None:
        self._name = name
        self._paths = paths
        self._load = load
        self.reloads = 0
        self.error = ""
        self._seen = self._stamps()
        self._loaded = load()

    def get(self) -> T:
        """Look at the files, and return what is to be used."""
        stamps = self._stamps()
        if stamps == self._seen:
            return self._loaded
        try:
            self._loaded = self._load()
        except ConfigError as error:
            if str(error) != self.error:  # said once; it is tried again at every look
                log.warning("files.not_reloaded", name=self._name, error=str(error))
            self.error = str(error)
        else:
            self._seen, self.error = stamps, ""
            self.reloads += 1
            log.info("files.reloaded", name=self._name)
        return self._loaded

    def _stamps(self) -> list[tuple[int, int, int]]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
