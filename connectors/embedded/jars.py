"""Kafka's jars in the user's cache: pinned, verified, whole or not there.

`jars.lock` pins each jar by coordinates, size and SHA-256; the library jgo fetches it, from the
user's local Maven repository if it is there, else from the repositories that jgo's settings file
names, else from its default one. A jar enters the folder by a rename after its hash was right,
and the marker is written last: what a killed download leaves is taken up by the next one, and
never looks complete.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

from connectors.embedded.host import cache_folder, require_room
from connectors.embedded.locks import locked
from schemas.errors import JarDownloadError

KAFKA_VERSION: Final = "4.1.1"
MARKER_NAME: Final = "complete.json"
_PINS_PATH: Final = Path(__file__).with_name("jars.lock")
_THREAD_COUNT: Final = 4
_ATTEMPT_COUNT: Final = 2
_LOCK_TIMEOUT_S: Final = 600.0
_HTTP_TIMEOUT_S: Final = 30
_SPARE_BYTES: Final = 64 << 20
_REMEDY: Final = (
    "check the network (a proxy: HTTPS_PROXY; its own certificates: REQUESTS_CA_BUNDLE; a mirror: "
    "[repositories] in jgo's settings file, see JGO_CONFIG_FILE) and start again: "
    "what was fetched is kept"
)


class Jar(NamedTuple):
    """One pinned jar."""

    coordinates: str
    """Maven's group:artifact:version."""
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the jar's file."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


Fetch = Callable[[Jar, Path], Path]
"""Bring a jar into a folder of its caller's and return its path."""
Progress = Callable[[int, int | None, str], None]
"""Told how many are done, of how many (None: not known yet), and what was the last."""


def read_pins(text: str | None = None) -> tuple[Jar, ...]:
    """Read the pinned jars; of `jars.lock` if no text is given."""
    lines = (_PINS_PATH.read_text("ascii") if text is None else text).splitlines()
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return tuple(Jar(coordinates, int(size), digest) for coordinates, size, digest in rows)


def jar_folder() -> Path:
    """Return the folder in the user's cache that holds this version's jars."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def ensure_jars(
    folder: Path | None = None,
    *,
    on_progress: Progress | None = None,
    fetch: Fetch | None = None,
    pins: Sequence[Jar] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Return all jars, fetching what is missing or broken; blocks, also for another's download.

    Args:
        folder: Where they are kept; the user's cache if not given.
        on_progress: Called as jars come in, never if all are there.
        fetch: Brings one jar; jgo if not given.
        pins: The jars; those of `jars.lock` if not given.
        should_stop: Asked between jars; True ends a download with `JarDownloadError`.

    Raises:
        JarDownloadError: One could not be fetched or verified, or the cache not be written.
        DiskSpaceError: There is no room for them.
    """
    folder = jar_folder() if folder is None else folder
    pins = read_pins() if pins is None else pins
    report = on_progress or _ignore
    if not _is_complete(folder, pins):
        try:
            _complete(folder, pins, fetch or jgo_fetch(), report, should_stop)
        except TimeoutError as error:
            raise JarDownloadError(f"another process did not end its download: {error}") from error
        except OSError as error:
            raise JarDownloadError(
                f"cannot write Kafka's jars to {folder}: {error}; choose another XDG_CACHE_HOME"
            ) from error
    return [folder / jar.file_name for jar in pins]


def _ignore(_done_count: int, _total_count: int | None, _what: str) -> None:
    """Report to nobody."""


def _is_complete(folder: Path, pins: Sequence[Jar]) -> bool:
    try:
        marker = json.loads((folder / MARKER_NAME).read_bytes())
        if marker.get("jars") != _marked(pins):
            return False
        sizes = [(folder / jar.file_name).stat().st_size for jar in pins]
    except (OSError, ValueError, AttributeError):
        return False
    return sizes == [jar.size_bytes for jar in pins]


def _marked(pins: Sequence[Jar]) -> list[list[str | int]]:
    return [[jar.file_name, jar.size_bytes, jar.sha256] for jar in pins]


def _complete(
    folder: Path,
    pins: Sequence[Jar],
    fetch: Fetch,
    report: Progress,
    should_stop: Callable[[], bool],
) -> None:
    def wait() -> None:
        if should_stop():
            raise _stopped()
        report(0, None, "another process is fetching them")

    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f"{folder.name}.lock", _LOCK_TIMEOUT_S, wait):
        if _is_complete(folder, pins):
            return
        (folder / MARKER_NAME).unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        for leftover in folder.parent.glob(f"{folder.name}.partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        missing = [jar for jar in pins if not _is_right(folder / jar.file_name, jar)]
        require_room(folder, sum(jar.size_bytes for jar in missing) + _SPARE_BYTES)
        for done_count, jar in enumerate(_fetch_all(folder, missing, fetch, should_stop), start=1):
            report(done_count, len(missing), jar.file_name)
        unfinished = folder / f"{MARKER_NAME}.new"
        unfinished.write_text(json.dumps({"kafka": KAFKA_VERSION, "jars": _marked(pins)}))
        unfinished.replace(folder / MARKER_NAME)


def _fetch_all(
    folder: Path, missing: Sequence[Jar], fetch: Fetch, should_stop: Callable[[], bool]
) -> Iterable[Jar]:
    """Fetch in a few threads; yield each jar once it stands in the folder."""
    with (
        tempfile.TemporaryDirectory(prefix=f"{folder.name}.partial-", dir=folder.parent) as staging,
        ThreadPoolExecutor(_THREAD_COUNT) as pool,
    ):
        running = {
            pool.submit(_fetch_right, jar, Path(staging), fetch, should_stop): jar
            for jar in missing
        }
        try:
            for done in as_completed(running):
                jar = running[done]
                done.result().replace(folder / jar.file_name)
                yield jar
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_right(jar: Jar, staging: Path, fetch: Fetch, should_stop: Callable[[], bool]) -> Path:
    """Fetch one jar, twice if need be, and check its hash."""
    cause: Exception | None = None
    for _ in range(_ATTEMPT_COUNT):
        if should_stop():
            raise _stopped()
        try:
            path = fetch(jar, staging)
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            cause = error
            continue
        if _is_right(path, jar):
            return path
        cause = ValueError(f"its {path.stat().st_size} bytes are not the {jar.size_bytes} pinned")
        path.unlink()
    raise JarDownloadError(f"cannot fetch {jar.coordinates}: {cause}; {_REMEDY}") from cause


def _stopped() -> JarDownloadError:
    return JarDownloadError("the download was stopped; what was fetched is kept")


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != jar.size_bytes:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def jgo_fetch() -> Fetch:
    """Make the fetcher that asks jgo, with the user's settings of jgo and of Maven's folder."""
    # jgo loads requests: 0.2 s that only a download should cost.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    settings = GlobalSettings.load()
    remotes = dict(settings.repositories)  # the user's come before the default one
    for name, url in MavenContext().remote_repos.items():
        remotes.setdefault(name, url)

    def fetch(jar: Jar, staging: Path) -> Path:
        group, artifact, version = jar.coordinates.split(":")

        def locate(repository: Path) -> Path:
            return repository.joinpath(*group.split("."), artifact, version, jar.file_name)

        target = locate(staging)
        target.unlink(missing_ok=True)  # jgo takes what is there for whole
        if _is_right(locate(settings.repo_cache), jar):
            target.parent.mkdir(parents=True, exist_ok=True)
            return Path(shutil.copyfile(locate(settings.repo_cache), target))
        # Its own cache folder: jgo writes jars in place, so a killed one would poison a shared one.
        context = MavenContext(repo_cache=staging, remote_repos=remotes, timeout=_HTTP_TIMEOUT_S)
        return Path(context.project(group, artifact).at_version(version).artifact().resolve())

    return fetch
