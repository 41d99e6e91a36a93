"""One region's node: builds the adapters, hands them to the cores, starts and stops the tree."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from connectors.kafka import KafkaLog
from connectors.producer import ProducerSettings, StateProducer
from dwcp.config import RegionConfig
from dwcp.link_settings import stream_limits, stream_settings
from dwcp.securing import link_tls, web_guard
from schemas.errors import BrokerDiedError, ConfigError, DwcpError, LogError
from schemas.registry import Record
from streams.agents.incoming import Incoming
from streams.agents.outgoing import Outgoing, PeerLinks
from streams.agents.receiver import Receiver
from streams.agents.replica import Replica
from streams.agents.status import SenderStatus
from streams.agents.steering import LinkSteering, Steered
from streams.app import AppSettings, build_app
from streams.node import Gossip, digest_json
from streams.topics import TopicSettings, topic_specs
from streams.web.metrics import StatusCollector
from streams.web.routes import Routes
from transport.session.events import Identity, LinkSettings

log = structlog.get_logger(__name__)


class RegionNode:
    """A region's node.

    Args:
        config: Its configuration.

    Example:
        await RegionNode(load_config(Path("region.yaml"))).run(stop)
    """

    def __init__(self, config: RegionConfig) -> None:
        self._config = config
        self._began = time.monotonic()
        self._ready = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bootstrap = config.kafka.bootstrap or f"127.0.0.1:{config.kafka.port}"
        client = {**config.kafka.client, "bootstrap_servers": self._bootstrap}
        self._log = KafkaLog(client)
        self._replica = Replica(config.region, config.state.partition_count, self._log)
        self._replica.on_lost = lambda _partition, error: self._fail(error)
        self._gossip = Gossip(self._replica.store)
        identity = Identity(
            config.cluster,
            config.region,
            config.node_name,
            config.shared_hash,
            config.state.partition_count,
        )
        link = config.link
        limits = LinkSettings(
            heartbeat_ms=link.heartbeat_ms,
            silence_ms=link.silence_ms,
            credit_bytes=link.credit_mib << 20,
            level=link.level,
        )
        digest = self._gossip.digest
        self._tls = link_tls(config)
        self._guard = web_guard(config)
        self._receiver = Receiver(
            Incoming(
                lambda: identity, limits, self._log, self._replica, digest, self._hear, self._tls
            )
        )
        links = {peer: PeerLinks() for peer in config.peers}
        self._steerings: list[LinkSteering] = []
        self._senders = [
            Outgoing(
                lambda: identity,
                limits,
                self._log,
                digest,
                self._hear,
                link.flush_ms,
                SenderStatus(peer, address),
                self._tls,
                stream_settings(link),
                links[peer],
                steer=self._steering(peer).run,
            )
            for peer, addresses in sorted(config.peer_addresses.items())
            for address in addresses
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            DwcpError: Kafka cannot be had or used, or a part of the node failed.
        """
        self._make_data_dir()
        async with contextlib.AsyncExitStack() as stack:
            if self._config.kafka.bootstrap is None:
                await stack.enter_async_context(self._own_broker())
            stack.push_async_callback(self._log.close)
            await self._prepare_topics()
            await self._replica.restore()
            producer = await stack.enter_async_context(self._producer())
            stack.push_async_callback(self._last_snapshot)
            await self._listen()
            stack.push_async_callback(self._receiver.stop)
            await stack.enter_async_context(self._app(producer))
            await self._until(stop)
        log.info("stopped", region=self._config.region)

    def status(self) -> dict[str, Any]:
        """Return what the node knows of itself, as JSON values."""
        replica = self._replica
        return {
            "region": self._config.region,
            "node": self._config.node_name,
            "is_ready": self._ready.is_set(),
            "uptime_s": round(time.monotonic() - self._began, 1),
            "kafka": self._bootstrap,
            **digest_json(replica.store.digest()),
            "changes_folded": dict(replica.changes_folded),
            "duplicates": dict(replica.duplicates),
            "deadletters": dict(replica.letters.written),
            "contradictions": dict(self._gossip.contradictions),
            "lag": self._gossip.lag(),
            "visible_ms": replica.visible.to_json(),
            "restored": _summed(replica.restored.values()),
            "encryption": {
                "is_plain": self._config.link.plain,
                "tls": self._tls and self._tls.to_json(),
            },
            "refused_requests": dict(self._guard.access.refused),
            "refused_connections": dict(self._receiver.refused),
            "links_out": [outgoing.status.to_json() for outgoing in self._senders],
            "links_in": [s.to_json() for _, s in sorted(self._receiver.status.items())],
        }

    def links(self) -> dict[str, Any]:
        """Return the last minutes of every link that we opened, as JSON values."""
        return {"links": [steering.to_json() for steering in self._steerings if steering.search]}

    def _steering(self, peer: str) -> LinkSteering:
        config = self._config
        steered = Steered(
            config.region, config.node_name, peer, self._log, stream_limits(config.link)
        )
        self._steerings.append(LinkSteering(steered))
        return self._steerings[-1]

    def _hear(self, peer: str, record: Record) -> None:
        for contradiction in self._gossip.hear(peer, record):
            log.error("state.contradiction", **contradiction._asdict())

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    @contextlib.asynccontextmanager
    async def _own_broker(self) -> AsyncIterator[None]:
        from connectors.embedded.broker import KafkaBroker  # noqa: PLC0415 - not with your own Kafka

        config = self._config
        broker = KafkaBroker(config.data_dir / "kafka", port=config.kafka.port)
        await broker.start()
        watching = asyncio.ensure_future(broker.wait_died())
        watching.add_done_callback(self._broker_ended)
        try:
            yield
        finally:
            watching.cancel()
            await broker.stop()

    def _broker_ended(self, watching: "asyncio.Future[BrokerDiedError]") -> None:
        if not watching.cancelled():
            self._fail(watching.exception() or watching.result())

    def _make_data_dir(self) -> None:
        folder = self._config.data_dir
        try:
            (folder / "faust").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("data_dir", str(folder), f"give a folder ({error})") from error

    async def _prepare_topics(self) -> None:
        state = self._config.state
        settings = TopicSettings(
            state.partition_count, state.replication_factor, state.retention_hours
        )
        for warning in await self._log.create_topics(topic_specs(settings)):
            log.warning("topic.weaker", text=warning)

    async def _listen(self) -> None:
        address = self._config.link.listen
        if not self._config.is_linked:
            log.info("link.closed", text="no peers and no link.listen: nobody can come in")
            return
        try:
            await self._receiver.start(address)
        except OSError as error:
            raise ConfigError("link.listen", address, f"choose a free one ({error})") from error

    def _producer(self) -> StateProducer:
        return StateProducer(
            self._log,
            region=self._config.region,
            name=f"{self._config.node_name}/http",
            partition_count=self._config.state.partition_count,
            settings=ProducerSettings(diff_bytes=self._config.web.diff_mib << 20),
        )

    @contextlib.asynccontextmanager
    async def _app(self, producer: StateProducer) -> AsyncIterator[None]:
        config = self._config
        settings = AppSettings(
            node=config.node_name,
            region=config.region,
            bootstrap=self._bootstrap,
            data_dir=str(config.data_dir / "faust"),
            web_bind=config.web.bind,
            web_port=config.web.port,
            snapshot_interval_s=config.state.snapshot_interval_s,
        )
        app = build_app(settings, self._replica, self._senders, self._fail)
        registry = CollectorRegistry()
        registry.register(StatusCollector(self.status))
        Routes(self._replica, producer, self.status, self.links, registry).add_to(app.web.web_app)
        self._guard.add_to(app.web)
        app.on_rebalance_complete.connect(self._on_assigned)
        try:
            await app.start()
        except OSError as error:
            address = f"{config.web.bind}:{config.web.port}"
            raise ConfigError("web.port", address, f"choose a free one ({error})") from error
        crashed = asyncio.ensure_future(app._crashed.wait())  # noqa: SLF001 - mode has no public way to wait for it
        crashed.add_done_callback(
            lambda done: (
                None
                if done.cancelled()
                else self._fail(DwcpError(f"a Faust service crashed: {app.crash_reason!r}"))
            )
        )
        try:
            yield
        finally:
            crashed.cancel()
            await app.stop()

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        if not self._ready.is_set():
            self._ready.set()
            log.info("ready", region=self._config.region, web=self._config.web.port)

    async def _until(self, stop: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stopping.cancel()

    async def _last_snapshot(self) -> None:
        try:
            await self._replica.snapshot()
        except LogError as error:
            # The log still has everything: the next start replays a little more.
            log.warning("snapshot.failed", error=str(error))


def _summed(restored: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return what all partitions' restores cost together."""
    total: dict[str, float] = {}
    for found in restored:
        for name, value in found.items():
            total[name] = round(total.get(name, 0) + value, 3)
    return total
