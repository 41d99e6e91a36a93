"""Some regions on one machine: a Kafka and node processes each, joined by shaped links."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.process import GuardedProcess
from dwcp.certs import Authority
from dwcp.demo.node import NodeProcess
from dwcp.demo.shaper import ShapedLink

CLUSTER: Final = "demo"

LinkMaker = Callable[[int], ShapedLink]
"""Makes the link to a port of this machine."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What the demo's regions are like.

    Attributes:
        regions: Their names.
        data_dir: Where everything of theirs is kept.
        delay_ms: One-way delay of every link.
        rate_bytes_per_s: What every link carries each way; None for no limit.
        partition_count: Partitions of the state topic.
        is_plain: Whether the links are not encrypted; else by an authority of the cluster's own.
        profiled: Region whose first node writes a profile when it stops, if any.
        node_count: Nodes in each region.
        node_config: Further settings of every node, by section.
    """

    regions: Sequence[str]
    data_dir: Path
    delay_ms: float = 25.0
    rate_bytes_per_s: float | None = 12_500_000.0
    partition_count: int = 4
    is_plain: bool = False
    profiled: str | None = None
    node_count: int = 1
    node_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class DemoRegion:
    """One region's Kafka and nodes.

    Attributes:
        broker: Its Kafka.
        nodes: Its nodes.
        peers: Addresses of the other regions' nodes, by region.
    """

    def __init__(self, name: str, settings: ClusterSettings) -> None:
        self.name = name
        self.folder = settings.data_dir / name
        self.broker = KafkaBroker(self.folder / "kafka", port=free_port())
        self.nodes = [
            NodeProcess(
                f"{name}-{number}",
                self.folder / f"node-{number}",
                is_profiled=number == 1 and name == settings.profiled,
            )
            for number in range(1, settings.node_count + 1)
        ]
        self.peers: dict[str, list[str]] = {}
        self._settings = settings

    @property
    def url(self) -> str:
        """The first node's web address."""
        return self.nodes[0].url

    @property
    def node(self) -> GuardedProcess:
        """The first node's process."""
        return self.nodes[0].process

    @property
    def profile_path(self) -> Path:
        """Where the first node's profile is, if it is the profiled one."""
        return self.nodes[0].profile_path

    async def start_node(self, number: int = 0) -> None:
        """Start a node and wait until it is ready.

        Raises:
            NodeError: It ended or did not answer; with the end of its log.
        """
        await self.nodes[number].start(self._config())

    async def start_nodes(self) -> None:
        """Start all nodes."""
        await asyncio.gather(*(self.start_node(number) for number in range(len(self.nodes))))

    async def stop_node(self) -> None:
        """Stop all nodes in an orderly way."""
        await asyncio.gather(*(node.stop() for node in self.nodes))

    def kill_node(self) -> None:
        """Kill the first node with SIGKILL."""
        self.nodes[0].kill()

    def stored_bytes(self, topic: str) -> int:
        """Return what the region's Kafka stores of a topic, as its producers compressed it."""
        logs = self.broker.data_dir.glob(f"log/{topic}-[0-9]*/*.log")
        return sum(path.stat().st_size for path in logs)

    def _config(self) -> dict[str, Any]:
        state = {"partition_count": self._settings.partition_count, "snapshot_interval_s": 10}
        more = self._settings.node_config
        # TCP ends at our shaper and finds the way there fast: what the link carries has to be told.
        hde = {"rate_mbit_s": (self._settings.rate_bytes_per_s or 0.0) / 125_000}
        return {
            **more,
            "region": self.name,
            "cluster": CLUSTER,
            "kafka": {"bootstrap": self.broker.bootstrap, **more.get("kafka", {})},
            "state": {**state, **more.get("state", {})},
            "hde": {**hde, **more.get("hde", {})},
            "link": {**self._encryption(), **more.get("link", {})},
            "peers": {r: a if len(a) > 1 else a[0] for r, a in self.peers.items()},
        }

    def _encryption(self) -> dict[str, Any]:
        if self._settings.is_plain:
            return {"plain": True}
        folder = self._settings.data_dir / "certs"
        names = {"ca": "ca.pem", "cert": f"{self.name}.pem", "key": f"{self.name}.key"}
        return {"tls": {kind: str(folder / name) for kind, name in names.items()}}


class DemoCluster:
    """All regions and the links between them.

    Args:
        settings: What they are like.
        make_link: Makes each link; the settings' shape if None.

    Attributes:
        regions: By name.
        links: By (from, to), one for each node of `to`; `from` ships its log by it.
    """

    def __init__(self, settings: ClusterSettings, make_link: LinkMaker | None = None) -> None:
        self._settings = settings
        self._make_link = make_link or self._shaped
        self.regions = {name: DemoRegion(name, settings) for name in settings.regions}
        self.links: dict[tuple[str, str], list[ShapedLink]] = {}

    async def start(self) -> None:
        """Start brokers, links and nodes."""
        for region in self.regions.values():
            region.folder.mkdir(parents=True, exist_ok=True)
        if not self._settings.is_plain:
            self._issue_certificates()
        await asyncio.gather(*(region.broker.start() for region in self.regions.values()))
        for origin in self.regions.values():
            for target in self.regions.values():
                if origin is not target:
                    await self._join(origin, target)
        await asyncio.gather(*(region.start_nodes() for region in self.regions.values()))

    def _issue_certificates(self) -> None:
        authority = Authority(self._settings.data_dir / "certs")
        if not authority.ca_path.exists():  # else of an earlier run in the same folder
            authority.init(CLUSTER)
        for name in self.regions:
            authority.issue(name)

    async def stop(self) -> None:
        """Stop everything, nodes first."""
        regions = self.regions.values()
        await asyncio.gather(*(region.stop_node() for region in regions))
        await asyncio.gather(*(link.stop() for links in self.links.values() for link in links))
        await asyncio.gather(*(region.broker.stop() for region in regions))

    def cut(self, region: str) -> None:
        """Cut all links of a region, both ways."""
        for link in self.links_of(region):
            link.cut()

    def heal(self, region: str) -> None:
        """Heal them."""
        for link in self.links_of(region):
            link.heal()

    def links_of(self, region: str) -> Iterator[ShapedLink]:
        """Yield all links that begin or end in a region."""
        for ends, links in self.links.items():
            if region in ends:
                yield from links

    @property
    def bootstraps(self) -> dict[str, str]:
        """Kafka address of each region."""
        return {name: region.broker.bootstrap for name, region in self.regions.items()}

    @property
    def urls(self) -> dict[str, str]:
        """Web address of each region's first node."""
        return {name: region.url for name, region in self.regions.items()}

    def _shaped(self, port: int) -> ShapedLink:
        settings = self._settings
        return ShapedLink(
            "127.0.0.1",
            port,
            delay_ms=settings.delay_ms,
            rate_bytes_per_s=settings.rate_bytes_per_s,
        )

    async def _join(self, origin: DemoRegion, target: DemoRegion) -> None:
        links = [self._make_link(node.link_port) for node in target.nodes]
        self.links[origin.name, target.name] = links
        ports = [await link.start() for link in links]
        origin.peers[target.name] = [f"127.0.0.1:{port}" for port in ports]
