"""One region's node: builds the adapters, hands them to the cores, starts and stops the tree."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from connectors.kafka import KafkaLog
from connectors.producer import ProducerSettings, StateProducer
from dwcp.app_settings import app_settings
from dwcp.baseline_lane import join_app
from dwcp.config import RegionConfig
from dwcp.link_settings import link_shape, session_settings, stream_limits, stream_settings
from dwcp.own_broker import own_broker
from dwcp.preparing import make_data_dir, prepare_topics
from dwcp.securing import kafka_client, link_tls, neighbour_context, web_guard
from dwcp.statuses import ownership_json, summed
from schemas.errors import ConfigError
from schemas.registry import Record
from streams.agents.baselines import Baselines
from streams.agents.credentials import use_credentials
from streams.agents.dictionaries import DictionaryDirectory
from streams.agents.encoding import training
from streams.agents.incoming import Incoming
from streams.agents.moves import Moves
from streams.agents.outgoing import Outgoing, PeerLinks
from streams.agents.receiver import Receiver
from streams.agents.replica import Replica
from streams.agents.status import SenderStatus
from streams.agents.steering import LinkSteering, Steered
from streams.agents.steward import Steward
from streams.app import build_app, owners, watch_for_crash
from streams.node import Gossip, digest_json
from streams.sharing import Owner
from streams.web.forwarding import Neighbours
from streams.web.metrics import StatusCollector
from streams.web.routes import Routes
from streams.web.shaping import add_routes as add_shaping
from transport.hde.dictionary import Dictionaries
from transport.session.events import Identity, LinkSettings
from transport.session.objects import Shelf

log = structlog.get_logger(__name__)

SHELF_BYTES: Final = 64 << 20  # bulk objects of all peers on their way in
HAND_OVER_S: Final = 10.0  # for the last snapshots; the logs still have everything


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
        self._is_assigned = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = kafka_client(config.kafka)
        self._bootstrap: str = self._client["bootstrap_servers"]
        timeout_ms = round(config.group.transaction_timeout_s * 1_000)
        self._log = KafkaLog(self._client, transaction_timeout_ms=timeout_ms)
        self._replica = Replica(
            config.region,
            config.state.partition_count,
            self._log,
            is_fenced=config.group.exactly_once,
        )
        self._moves = Moves()
        self._faust: Any = None
        self._steward = Steward(self._replica, self._on_moved, self._fail)
        self._gossip = Gossip(self._replica.store)
        dictionaries = Dictionaries(config.hde.dictionary_size)
        limits = session_settings(config.link, config.hde, dictionaries)
        self._tls = link_tls(config)
        self._guard = web_guard(config)
        self._senders = senders = list[Outgoing]()
        own = (config.node_name, self._log)
        self._dictionaries = DictionaryDirectory(dictionaries, config.region, *own)
        self._baselines = Baselines(
            self._replica, *own, senders, config.baselines.limits, self._dictionaries
        )
        self._receiver = Receiver(
            Incoming(
                self._identity,
                limits,
                self._log,
                self._replica,
                self._gossip.digest,
                self._hear,
                self._tls,
                Shelf(SHELF_BYTES),
                self._baselines.on_object,
                find=self._baselines.directory.find,
            )
        )
        self._steerings: list[LinkSteering] = []
        self._links = {peer: PeerLinks(link_shape(config.link)) for peer in config.peers}
        senders += self._make_senders(limits)

    def _make_senders(self, limits: LinkSettings) -> Iterator[Outgoing]:
        link = self._config.link
        for peer, addresses in sorted(self._config.peer_addresses.items()):
            for address in addresses:
                yield Outgoing(
                    self._identity,
                    limits,
                    self._log,
                    self._gossip.digest,
                    self._hear,
                    link.flush_ms,
                    SenderStatus(peer, address),
                    self._tls,
                    stream_settings(link),
                    self._links[peer],
                    moves=self._moves,
                    steer=self._steering(peer).run,
                    baseline=self._baselines.baseline,
                )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            DwcpError: Kafka cannot be had or used, or a part of the node failed.
        """
        make_data_dir(self._config)
        async with contextlib.AsyncExitStack() as stack:
            if self._config.kafka.bootstrap is None:
                await stack.enter_async_context(own_broker(self._config, self._fail))
            stack.push_async_callback(self._log.close)
            await prepare_topics(self._config, self._log)
            producer = await stack.enter_async_context(self._producer())
            stack.push_async_callback(self._steward.close)
            await stack.enter_async_context(training(self._dictionaries))
            await self._listen()
            stack.push_async_callback(self._receiver.stop)
            await stack.enter_async_context(self._app(producer))
            stack.push_async_callback(self._hand_over)
            await self._until(stop)
        log.info("stopped", region=self._config.region)

    @property
    def is_ready(self) -> bool:
        """Whether the group gave us partitions, if only none, and all of them are held."""
        return self._is_assigned and self._steward.is_settled

    def status(self) -> dict[str, Any]:
        """Return what the node knows of itself, as JSON values."""
        replica = self._replica
        return {
            "region": self._config.region,
            "node": self._config.node_name,
            "is_ready": self.is_ready,
            "uptime_s": round(time.monotonic() - self._began, 1),
            "kafka": self._bootstrap,
            **digest_json(replica.store.digest()),
            "ownership": ownership_json(self._steward, self._owners()),
            "changes_folded": dict(replica.changes_folded),
            "duplicates": dict(replica.duplicates),
            "deadletters": dict(replica.letters.written),
            "contradictions": dict(self._gossip.contradictions),
            "lag": self._gossip.lag(),
            "visible_ms": replica.visible.to_json(),
            "restored": summed(replica.restored.values()),
            "encryption": {
                "is_plain": self._config.link.plain,
                "tls": self._tls and self._tls.to_json(),
            },
            "refused_requests": dict(self._guard.access.refused),
            "refused_connections": dict(self._receiver.refused),
            "baselines": self._baselines.to_json(),
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

    def _owners(self) -> Mapping[int, Owner]:
        return {} if self._faust is None else owners(self._faust)

    def _identity(self) -> Identity:
        config = self._config
        return Identity(
            config.cluster,
            config.region,
            config.node_name,
            config.shared_hash,
            config.state.partition_count,
            partitions=tuple(sorted(self._steward.holds)),
        )

    def _on_moved(self) -> None:
        holds = sorted(self._steward.holds)
        log.info("partitions.held", region=self._config.region, holds=holds)
        self._moves.happened()
        self._receiver.end_all()

    def _hear(self, peer: str, record: Record) -> None:
        for contradiction in self._gossip.hear(peer, record):
            log.error("state.contradiction", **contradiction._asdict())

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

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
        settings = app_settings(config, self._bootstrap)
        app = build_app(settings, self._replica, self._steward, self._senders, self._fail)
        join_app(app, self._baselines, self._log, config.baselines.seconds, self._fail)
        self._faust = app
        registry = CollectorRegistry()
        registry.register(StatusCollector(self.status))
        neighbours = Neighbours(
            config.node_name,
            self._owners,
            self._moves,
            config.web.token("read"),
            neighbour_context(config.web),
        )
        routes = Routes(self._replica, producer, self.status, self.links, registry, neighbours)
        routes.add_to(app.web.web_app)
        add_shaping(app.web.web_app, self._links)
        self._guard.add_to(app.web)
        use_credentials(app, self._client)
        app.on_rebalance_complete.connect(self._on_assigned)
        try:
            await app.start()
        except OSError as error:
            address = f"{config.web.bind}:{config.web.port}"
            raise ConfigError("web.port", address, f"choose a free one ({error})") from error
        crashed = watch_for_crash(app, self._fail)
        try:
            yield
        finally:
            crashed.cancel()
            await app.stop()
            await routes.close()

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        if not self._is_assigned:
            self._is_assigned = True
            log.info("joined", region=self._config.region, web=self._config.web.port)

    async def _until(self, stop: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stopping.cancel()

    async def _hand_over(self) -> None:
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self._steward.hand_over()
        except TimeoutError:
            log.warning("handover.late", seconds=HAND_OVER_S)
