"""Three regions on one machine: a Kafka and a node process each, joined by shaped links."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.process import GuardedProcess
from dwcp.demo.shaper import ShapedLink
from schemas.errors import NodeError

READY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What the demo's regions are like.

    Attributes:
        regions: Their names.
        data_dir: Where everything of theirs is kept.
        delay_ms: One-way delay of every link.
        rate_bytes_per_s: What every link carries each way; None for no limit.
        partition_count: Partitions of the state topic.
        profiled: Region whose node writes a profile when it stops, if any.
    """

    regions: Sequence[str]
    data_dir: Path
    delay_ms: float = 25.0
    rate_bytes_per_s: float | None = 12_500_000.0
    partition_count: int = 4
    profiled: str | None = None


class DemoRegion:
    """One region's Kafka and node.

    Attributes:
        broker: Its Kafka.
        url: Its node's web address.
    """

    def __init__(self, name: str, settings: ClusterSettings) -> None:
        self.name = name
        self.folder = settings.data_dir / name
        self.broker = KafkaBroker(self.folder / "kafka", port=free_port())
        self.link_port = free_port()
        self.web_port = free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.peers: dict[str, str] = {}
        self.profile_path = self.folder / "node.profile"
        self._is_profiled = name == settings.profiled
        self._partition_count = settings.partition_count
        self._node: GuardedProcess | None = None

    async def start_node(self) -> None:
        """Start the node process and wait until it answers.

        Raises:
            NodeError: It ended or did not answer; with the end of its log.
        """
        config = self.folder / "region.yaml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        command = [sys.executable, "-m", "dwcp", "region", "--config", str(config)]
        if self._is_profiled:
            command += ["--profile", str(self.profile_path)]
        with (self.folder / "node.log").open("ab") as log:
            self._node = await GuardedProcess.start(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        await self._wait_until_ready(self._node)

    async def stop_node(self) -> None:
        """Stop the node in an orderly way."""
        if self._node is not None:
            await self._node.stop()

    def kill_node(self) -> None:
        """Kill the node with SIGKILL."""
        if self._node is not None:
            self._node.kill()

    @property
    def node(self) -> GuardedProcess:
        """The node's process."""
        assert self._node is not None, "the node was not started"
        return self._node

    def stored_bytes(self, topic: str) -> int:
        """Return what the region's Kafka stores of a topic, as its producers compressed it."""
        logs = self.broker.data_dir.glob(f"log/{topic}-[0-9]*/*.log")
        return sum(path.stat().st_size for path in logs)

    def last_words(self) -> str:
        """Return the end of the node's log."""
        text = (self.folder / "node.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-15:])

    def _config(self) -> dict[str, Any]:
        return {
            "region": self.name,
            "cluster": "demo",
            "data_dir": str(self.folder / "node"),
            "kafka": {"bootstrap": self.broker.bootstrap},
            "state": {"partition_count": self._partition_count, "snapshot_interval_s": 10},
            "link": {"listen": f"127.0.0.1:{self.link_port}"},
            "web": {"port": self.web_port},
            "peers": self.peers,
        }

    async def _wait_until_ready(self, node: GuardedProcess) -> None:
        deadline = asyncio.get_running_loop().time() + READY_S
        async with aiohttp.ClientSession() as session:
            while asyncio.get_running_loop().time() < deadline:
                if node.exit_code is not None:
                    raise NodeError(f"the node of {self.name} ended:\n{self.last_words()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/status") as answer:
                        if answer.ok and (await answer.json())["is_ready"]:
                            return
                await asyncio.sleep(0.1)
        raise NodeError(f"{self.name} did not answer in {READY_S:g} s:\n{self.last_words()}")


class DemoCluster:
    """All regions and the links between them.

    Attributes:
        regions: By name.
        links: By (from, to); the one that ships its log is `from`.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self.regions = {name: DemoRegion(name, settings) for name in settings.regions}
        self.links: dict[tuple[str, str], ShapedLink] = {}

    async def start(self) -> None:
        """Start brokers, links and nodes."""
        for region in self.regions.values():
            region.folder.mkdir(parents=True, exist_ok=True)
        await asyncio.gather(*(region.broker.start() for region in self.regions.values()))
        for origin in self.regions.values():
            for target in self.regions.values():
                if origin is not target:
                    await self._join(origin, target)
        await asyncio.gather(*(region.start_node() for region in self.regions.values()))

    async def stop(self) -> None:
        """Stop everything, nodes first."""
        regions = self.regions.values()
        await asyncio.gather(*(region.stop_node() for region in regions))
        await asyncio.gather(*(link.stop() for link in self.links.values()))
        await asyncio.gather(*(region.broker.stop() for region in regions))

    def cut(self, region: str) -> None:
        """Cut all links of a region, both ways."""
        for link in self._links_of(region):
            link.cut()

    def heal(self, region: str) -> None:
        """Heal them."""
        for link in self._links_of(region):
            link.heal()

    @property
    def bootstraps(self) -> dict[str, str]:
        """Kafka address of each region."""
        return {name: region.broker.bootstrap for name, region in self.regions.items()}

    @property
    def urls(self) -> dict[str, str]:
        """Web address of each region's node."""
        return {name: region.url for name, region in self.regions.items()}

    def _links_of(self, region: str) -> list[ShapedLink]:
        return [link for ends, link in self.links.items() if region in ends]

    async def _join(self, origin: DemoRegion, target: DemoRegion) -> None:
        link = ShapedLink(
            "127.0.0.1",
            target.link_port,
            delay_ms=self._settings.delay_ms,
            rate_bytes_per_s=self._settings.rate_bytes_per_s,
        )
        port = await link.start()
        self.links[origin.name, target.name] = link
        origin.peers[target.name] = f"127.0.0.1:{port}"
