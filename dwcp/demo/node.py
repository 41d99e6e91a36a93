"""One node process of a demo region: configured, started, watched, killed, started again."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from connectors.embedded.host import free_port
from connectors.embedded.process import GuardedProcess
from schemas.errors import NodeError

READY_S: Final = 60.0
_POLL_S: Final = 0.1
_LAST_LINES: Final = 15


class NodeProcess:
    """A node, on ports of its own.

    Args:
        name: Its name in its region.
        folder: Where its configuration, its log and its data are.
        is_profiled: Whether it writes `profile_path` when it stops.

    Attributes:
        link_port: Where peers reach it.
        url: Its web address.
    """

    def __init__(self, name: str, folder: Path, *, is_profiled: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.link_port = free_port()
        self.web_port = free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.profile_path = folder / "node.profile"
        self._is_profiled = is_profiled
        self._process: GuardedProcess | None = None

    @property
    def process(self) -> GuardedProcess:
        """The process, also after its end."""
        assert self._process is not None, "the node was not started"
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.exit_code is None

    async def start(self, config: Mapping[str, Any]) -> None:
        """Start the process and wait until it is ready.

        Args:
            config: A region's configuration; ports, name and data folder are put in here.

        Raises:
            NodeError: It ended or did not answer in time; with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "region.yaml"
        path.write_text(json.dumps(self._with_our_own(config)))  # JSON is YAML
        command = [sys.executable, "-m", "dwcp", "region", "--config", str(path)]
        if self._is_profiled:
            command += ["--profile", str(self.profile_path)]
        with (self.folder / "node.log").open("ab") as log:
            self._process = await GuardedProcess.start(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        await self._wait_until_ready(self._process)

    async def stop(self) -> None:
        """Stop the process in an orderly way."""
        if self._process is not None:
            await self._process.stop()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def last_words(self) -> str:
        """Return the end of the node's log."""
        text = (self.folder / "node.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-_LAST_LINES:])

    def _with_our_own(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **config,
            "node": self.name,
            "data_dir": str(self.folder / "data"),
            "link": {**config.get("link", {}), "listen": f"127.0.0.1:{self.link_port}"},
            "web": {**config.get("web", {}), "port": self.web_port},
        }

    async def _wait_until_ready(self, process: GuardedProcess) -> None:
        deadline = asyncio.get_running_loop().time() + READY_S
        async with aiohttp.ClientSession() as session:
            while asyncio.get_running_loop().time() < deadline:
                if process.exit_code is not None:
                    raise NodeError(f"the node {self.name} ended:\n{self.last_words()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/status") as answer:
                        if answer.ok and (await answer.json())["is_ready"]:
                            return
                await asyncio.sleep(_POLL_S)
        raise NodeError(f"{self.name} did not answer in {READY_S:g} s:\n{self.last_words()}")
