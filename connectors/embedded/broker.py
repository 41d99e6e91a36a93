"""One Apache Kafka broker as our child process: started, watched, stopped, never orphaned."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from connectors.embedded.host import LOOPBACK
from connectors.embedded.launch import Launch, prepared
from connectors.embedded.process import GuardedProcess
from connectors.embedded.ready import wait_until_ready
from connectors.embedded.settings import Listener
from schemas.errors import BrokerDiedError, BrokerStartError

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0


class KafkaBroker:
    """A KRaft node of one, broker and controller, on loopback.

    Start, stop and start again as often as you like; what was acknowledged is in `data_dir`.
    The broker ends when this process ends, in whatever way. All methods on one event loop.

    Args:
        data_dir: The broker's folder; made and formatted at the first start.
        port: Where clients come in; must be free at the start.
        controller_port: Where the node talks to itself; None takes a free one at each start.
        settings: Kafka's settings over `connectors.embedded.settings.DEFAULTS`.
        more: A second way in for clients, with security settings of its own among `settings`
            (`listener.name.secure....`).
        start_timeout_s: How long until it must answer, seconds; the jars' download and the
            formatting of new data are not counted.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int,
        controller_port: int | None = None,
        settings: Mapping[str, str] | None = None,
        more: Listener | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.data_dir: Final = data_dir.resolve()
        self.port: Final = port
        self._controller_port = controller_port
        self._settings = dict(settings or {})
        self._more = more
        self._start_timeout_s = start_timeout_s
        self._process: GuardedProcess | None = None
        self._launch: Launch | None = None
        self._is_stopping = False

    @property
    def bootstrap(self) -> str:
        """Address for Kafka clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the broker's process is there."""
        return self._process is not None and self._process.exit_code is None

    @property
    def pid(self) -> int | None:
        """Process id of the broker's Java, None while it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    async def start(self) -> None:
        """Start the broker and wait until it answers clients; a no-op while it runs.

        The first start on a machine fetches Kafka's jars (`ensure_jars` shows how it goes on).

        Raises:
            ConfigError: A setting is not the caller's to choose.
            PortInUseError: Somebody listens on a port of ours.
            DiskSpaceError: Less than 512 MiB are free.
            JavaNotFoundError: There is no Java 17 or newer.
            JarDownloadError: Kafka's jars could not be had.
            BrokerStartError: The folder is in use or cannot be written, the broker ended, or it
                did not answer in time; with its last words.
        """
        if self.is_running:
            return
        await self.stop()  # lets go of one that has died
        async with prepared(
            self.data_dir, self.port, self._controller_port, self._settings, self._more
        ) as launch:
            self._launch = launch
            self._is_stopping = False
            self._process = await _spawn(launch)
        try:
            await self._wait_until_ready(launch, self._process)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the broker in an orderly way, by force after 10 s; a no-op while it does not run."""
        self._is_stopping = True
        if self._process is not None:
            await self._process.stop()

    def kill(self) -> None:
        """Send SIGKILL to the broker, as a fault would: `wait_died` tells of it."""
        if self._process is not None:
            self._process.kill()

    async def wait_died(self) -> BrokerDiedError:
        """Wait until the running broker ends without being asked to; for ever if it does not.

        Returns:
            The error to raise or report: exit code and last words. It is returned, so that a
            supervisor may also start the broker again.
        """
        if self._process is None or self._launch is None:
            raise AssertionError("wait_died before start")
        code = await self._process.wait()
        if self._is_stopping:
            await asyncio.Event().wait()
        words = self._launch.folder.last_words(self._launch.log_start_bytes)
        return BrokerDiedError(
            f"the broker on {self.bootstrap} ended by itself with exit code {code}"
            f"{_signal_hint(code)}; its last words:\n{words}"
        )

    async def _wait_until_ready(self, launch: Launch, process: GuardedProcess) -> None:
        def is_alive() -> bool:
            return process.exit_code is None

        try:
            async with asyncio.timeout(self._start_timeout_s):
                is_ready = await wait_until_ready(self.port, launch.cluster_id, is_alive)
        except TimeoutError as error:
            words = launch.folder.last_words(launch.log_start_bytes)
            raise BrokerStartError(
                f"the broker on {self.bootstrap} did not answer within "
                f"{self._start_timeout_s:g} s; its last words:\n{words}"
            ) from error
        if not is_ready:
            seen = f"ended during its start with exit code {await process.wait()}"
            raise launch.folder.explain(seen, launch.log_start_bytes)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


async def _spawn(launch: Launch) -> GuardedProcess:
    with launch.folder.console_path.open("wb") as console:
        return await GuardedProcess.start(
            launch.command,
            stop_timeout_s=STOP_TIMEOUT_S,
            cwd=launch.folder.root,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(launch.lock_descriptor,),
        )


def _signal_hint(code: int) -> str:
    signal_code_min = 128
    return f" (signal {code - signal_code_min})" if code > signal_code_min else ""
