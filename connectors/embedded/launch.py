"""Everything before a broker's process starts: Java, jars, room, lock, ports, formatted data."""

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.embedded.folder import BrokerFolder
from connectors.embedded.host import free_port, require_free_port, require_room
from connectors.embedded.jars import ensure_jars
from connectors.embedded.java import Java, find_java
from connectors.embedded.locks import try_lock
from connectors.embedded.process import GuardedProcess
from connectors.embedded.settings import (
    LOG_SETTINGS,
    Listener,
    broker_command,
    broker_properties,
    format_command,
    new_cluster_id,
)
from schemas.errors import BrokerStartError

FREE_BYTES_MIN: Final = 512 << 20
_FORMAT_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Launch:
    """A broker that is ready to be started, once, while its folder is locked."""

    folder: BrokerFolder
    command: list[str]
    """What to run, with the folder as working directory."""
    cluster_id: str
    lock_descriptor: int
    """Holds the folder's lock: to be inherited by the broker."""
    log_start_bytes: int
    """How far Kafka's log went before this start."""


@asynccontextmanager
async def prepared(
    root: Path,
    port: int,
    controller_port: int | None,
    settings: Mapping[str, str],
    more: Listener | None = None,
) -> AsyncIterator[Launch]:
    """Prepare a folder and hold its lock while the block starts the broker.

    Args:
        root: The broker's folder; made and formatted if need be, else its data are used.
        port: Where clients come in, on loopback.
        controller_port: Where the node talks to itself; None takes a free one.
        settings: Kafka's settings over our defaults.
        more: A second way in for clients.

    Raises:
        ConfigError: A setting is not the caller's to choose.
        KafkaServerError: One of its kinds: no Java, no jars, no room, folder or port in use.
    """
    folder = BrokerFolder.at(root)
    java = find_java()
    require_room(folder.root, FREE_BYTES_MIN)
    with _writing(folder):
        folder.make()
        lock_descriptor = await asyncio.to_thread(try_lock, folder.lock_path)
    if lock_descriptor is None:
        raise BrokerStartError(
            f"{folder.root} is in use by another broker: stop that one or choose another folder"
        )
    try:
        require_free_port(port)
        if controller_port is not None:
            require_free_port(controller_port)
        jars = await fetched_jars()
        internal_port = controller_port or free_port()
        if not folder.is_formatted:
            await _format(folder, java, jars, (port, internal_port), lock_descriptor)
        with _writing(folder):
            properties = broker_properties(port, internal_port, settings, more=more)
            folder.write_settings(properties, LOG_SETTINGS)
        command = broker_command(java, jars, folder.root, port)
        start = folder.log_size_bytes()
        yield Launch(folder, command, folder.cluster_id(), lock_descriptor, start)
    finally:
        os.close(lock_descriptor)


async def fetched_jars() -> list[Path]:
    """Return the jars without blocking the loop; when cancelled, a download ends soon, too."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(ensure_jars, should_stop=stop.is_set)
    finally:
        stop.set()


async def _format(
    folder: BrokerFolder,
    java: Java,
    jars: list[Path],
    ports: tuple[int, int],
    lock_descriptor: int,
) -> None:
    """Make the data folder: beside its place, and moved there once it is whole."""
    folder.drop_unfinished()
    with _writing(folder):
        properties = broker_properties(*ports, {}, data_name=folder.formatting_path.name)
        folder.write_settings(properties, LOG_SETTINGS)
    command = format_command(java, jars, new_cluster_id())
    start_bytes = folder.log_size_bytes()
    with folder.console_path.open("wb") as console:
        process = await GuardedProcess.start(
            command,
            cwd=folder.root,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(lock_descriptor,),
        )
    try:
        async with asyncio.timeout(_FORMAT_TIMEOUT_S):
            code = await process.wait()
    except TimeoutError:
        code = await process.stop()
    finally:
        await process.stop()
    if code != 0:
        raise folder.explain(f"could not be formatted (exit code {code})", start_bytes)
    folder.formatting_path.rename(folder.data_path)


@contextmanager
def _writing(folder: BrokerFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BrokerStartError(f"cannot write {folder.root}: {error}") from error
