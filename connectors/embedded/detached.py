"""A broker that outlives the command which starts it: up, down, status.

Nothing on disk says that it runs: its lock does, which it holds as long as it lives; and its pid
is that of the process whose command line names its folder. So there is no stale pid file.
"""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from connectors.embedded.folder import BrokerFolder
from connectors.embedded.guard import guarded
from connectors.embedded.host import LOOPBACK
from connectors.embedded.launch import Launch, prepared
from connectors.embedded.ready import answers, wait_until_ready
from connectors.embedded.settings import BROKER_CLASS, identity
from schemas.errors import BrokerStartError, KafkaServerError

_SPAWN_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """A detached broker as it is found."""

    data_dir: Path
    is_running: bool
    """Whether a process holds the folder."""
    is_ready: bool = False
    """Whether it answers clients."""
    pid: int | None = None
    """Its Java's process id; None if it does not run or belongs to another user."""
    port: int | None = None
    """Where clients come in, on loopback."""
    kafka_version: str | None = None
    resident_bytes: int | None = None
    """Memory it occupies, bytes."""
    uptime_s: float | None = None
    """Seconds since its process started."""

    @property
    def bootstrap(self) -> str | None:
        """Address for Kafka clients."""
        return None if self.port is None else f"{LOOPBACK}:{self.port}"


async def start_detached(
    data_dir: Path,
    *,
    port: int,
    settings: Mapping[str, str] | None = None,
    start_timeout_s: float = 60.0,
) -> BrokerStatus:
    """Start a broker that outlives us, and wait until it answers clients.

    Args:
        data_dir: The broker's folder; made and formatted at the first start.
        port: Where clients come in, on loopback.
        settings: Kafka's settings over our defaults.
        start_timeout_s: How long until it must answer, seconds.

    Raises:
        KafkaServerError: It cannot be started, as with `KafkaBroker.start`; nothing runs then.
    """
    async with prepared(data_dir, port, None, settings or {}) as launch:
        pid = await asyncio.to_thread(_spawn, launch)
    is_ready = False
    try:
        async with asyncio.timeout(start_timeout_s):
            is_ready = await wait_until_ready(
                port, launch.cluster_id, lambda: launch.folder.is_in_use
            )
    except TimeoutError as error:
        words = launch.folder.last_words(launch.log_start_bytes)
        raise BrokerStartError(
            f"the broker on port {port} did not answer within {start_timeout_s:g} s; "
            f"its last words:\n{words}"
        ) from error
    finally:
        if not is_ready:
            _kill(pid)
    if not is_ready:
        raise launch.folder.explain("ended during its start", launch.log_start_bytes)
    return await find_detached(data_dir)


async def stop_detached(data_dir: Path, *, stop_timeout_s: float = 10.0) -> bool:
    """End the broker of a folder: SIGTERM, then SIGKILL after a bounded time.

    Args:
        data_dir: The broker's folder.
        stop_timeout_s: How long it may take to end in an orderly way, seconds.

    Returns:
        Whether there was one.

    Raises:
        KafkaServerError: The folder is held by a process that is no broker of this user's.
    """
    folder = BrokerFolder.at(data_dir)
    if not folder.is_in_use:
        return False
    process = _find_process(folder.root)
    if process is None:
        raise KafkaServerError(
            f"{folder.root} is in use, but by no broker that this user may stop: "
            "is it another user's, or just being formatted?"
        )
    for end in (process.terminate, process.kill):
        try:
            end()  # psutil checks first that the pid is still the same process
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied as error:
            raise KafkaServerError(f"may not stop pid {process.pid}: another user's") from error
        if await _is_released(folder, stop_timeout_s):
            return True
    raise KafkaServerError(f"the broker with pid {process.pid} survived SIGKILL")


async def find_detached(data_dir: Path) -> BrokerStatus:
    """Look whether a broker runs in a folder, and how it does."""
    folder = BrokerFolder.at(data_dir)
    process = _find_process(folder.root) if folder.is_in_use else None
    if process is None:
        return BrokerStatus(folder.root, is_running=folder.is_in_use)
    try:
        said = _identity_of(process.cmdline())
        resident_bytes = process.memory_info().rss
        uptime_s = max(0.0, time.time() - process.create_time())
    except psutil.Error:
        return BrokerStatus(folder.root, is_running=folder.is_in_use)
    port = int(said["dwcp.port"])
    return BrokerStatus(
        data_dir=folder.root,
        is_running=True,
        is_ready=await answers(port, folder.cluster_id()),
        pid=process.pid,
        port=port,
        kafka_version=said["dwcp.kafka"],
        resident_bytes=resident_bytes,
        uptime_s=uptime_s,
    )


def _spawn(launch: Launch) -> int:
    with launch.folder.console_path.open("wb") as console:
        spawned = subprocess.run(  # noqa: S603 - our own guard
            guarded(launch.command, "--detach"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=console,
            cwd=launch.folder.root,
            pass_fds=(launch.lock_descriptor,),
            timeout=_SPAWN_TIMEOUT_S,
            check=False,
        )
    if spawned.returncode != 0:
        raise launch.folder.explain("could not be run", launch.log_start_bytes)
    return int(spawned.stdout)


def _kill(pid: int) -> None:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return


def _identity_of(command: list[str]) -> dict[str, str]:
    """Read the system properties of a broker's command line; empty if it is none of ours."""
    if BROKER_CLASS not in command or Path(command[0]).stem != "java":
        return {}
    pairs = (part[2:].partition("=") for part in command if part.startswith("-Ddwcp."))
    return {key: value for key, _, value in pairs}


def _find_process(root: Path) -> psutil.Process | None:
    for process in psutil.process_iter():
        try:
            said = _identity_of(process.cmdline())
        except psutil.Error:
            continue
        if said.keys() == identity(root, 0).keys() and said["dwcp.data"] == str(root):
            return process
    return None


async def _is_released(folder: BrokerFolder, timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while folder.is_in_use:
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(_POLL_S)
    return True
