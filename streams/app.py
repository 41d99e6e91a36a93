"""The Faust application of a node: agents named for what they do, each a thin shell.

===================  =========================  ==========================================
agent                reads                      does
===================  =========================  ==========================================
`apply_deltas`       `dwcp.state`               folds our own region's changes
`merge`              `dwcp.replica.state`       folds the other regions' changes
`gossip_to_peers`    `dwcp.state`, per peer     ships our log and our digest to every peer
`take_snapshots`     a timer                    writes what changed to `dwcp.snapshots`
`watch_logs`         a timer                    stops partitions whose logs are not what they were
===================  =========================  ==========================================

Beside them `streams.agents.receiver` listens for peers and takes their logs into
`dwcp.replica.state`; it lives before and after the app, so that no peer meets a closed door. Which
partitions are folded and linked here, the consumer group says: `streams.agents.steward`.

All topics exist before the app starts: Faust ignores a topic that is missing when it subscribes,
and does not look again for minutes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import faust
import structlog

from connectors.log import LogRecord, plain_headers
from schemas.errors import DwcpError, LogError
from streams import topics
from streams.agents.assignor import SharingAssignor
from streams.agents.driver import PromptTransport
from streams.agents.holding import FOLDED
from streams.agents.outgoing import Outgoing
from streams.agents.replica import Replica
from streams.agents.sender import run_sender
from streams.agents.steward import Steward
from streams.kafka_access import group_of
from streams.sharing import Member, Owner

log = structlog.get_logger(__name__)

METADATA_MAX_AGE_MS: Final = 30_000  # a topic that is made again is found within it
WATCH_S: Final = 5.0  # between looks whether the logs are what they were
BODY_BYTES_MAX: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What the Faust app needs to know.

    Attributes:
        bootstrap: Kafka's `host:port`, comma-separated.
        data_dir: Folder of Faust's own files.
        web_bind: Address of the web server; web_port its port.
        web_url: Where other nodes of the region reach it.
        snapshot_interval_s: Time between snapshots.
        session_timeout_s: After how long without a heartbeat the group expels a node.
        heartbeat_s: Time between heartbeats; a move begins within it.
        rebalance_timeout_s: How long the group waits for a node in a move.
    """

    node: str
    region: str
    bootstrap: str
    data_dir: str
    web_bind: str
    web_port: int
    web_url: str
    snapshot_interval_s: float
    session_timeout_s: float
    heartbeat_s: float
    rebalance_timeout_s: float


def build_app(
    settings: AppSettings,
    replica: Replica,
    steward: Steward,
    senders: Sequence[Outgoing],
    fail: Callable[[BaseException], None],
) -> faust.App:
    """Build the app; `fail` is told of errors that must end the node."""
    app = faust.App(
        group_of(settings.region),
        broker=[f"kafka://{address}" for address in settings.bootstrap.split(",")],
        autodiscover=False,
        datadir=settings.data_dir,
        store="memory://",
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        stream_wait_empty=False,
        # Faust's own defaults hold partitions for a minute after a crash.
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(30.0, 2 * settings.rebalance_timeout_s),
        web_bind=settings.web_bind,
        web_host=settings.web_bind,
        web_port=settings.web_port,
        web_application_options={"client_max_size": BODY_BYTES_MAX},
        worker_redirect_stdouts=False,
        loghandlers=[],
    )
    app.transport = PromptTransport(app.conf.broker_consumer, app)
    app.transport.assignor = SharingAssignor(
        lambda: Member(settings.node, settings.web_url, steward.holds),
        replica.store.partition_count,
    )
    _follow_group(app, replica, steward, fail)
    _add_folds(app, replica, fail)
    _add_tasks(app, settings, replica, senders, fail)
    return app


def owners(app: faust.App) -> Mapping[int, Owner]:
    """Return who owns each partition, as of the group's last generation."""
    found: Mapping[int, Owner] = app.transport.assignor.owners
    return found


def watch_for_crash(app: faust.App, fail: Callable[[BaseException], None]) -> asyncio.Future[Any]:
    """Call `fail` when a service of a started app crashes; cancel the future to end it."""
    crashed: asyncio.Future[Any] = asyncio.ensure_future(app._crashed.wait())  # noqa: SLF001 - mode has no public way to wait for it
    crashed.add_done_callback(
        lambda done: (
            None
            if done.cancelled()
            else fail(DwcpError(f"a Faust service crashed: {app.crash_reason!r}"))
        )
    )
    return crashed


def _follow_group(
    app: faust.App, replica: Replica, steward: Steward, fail: Callable[[BaseException], None]
) -> None:
    async def on_revoked(_: Any, revoked: Any, **__: Any) -> None:
        replica.expect_again({place.partition for place in revoked})

    async def on_assigned(_: Any, assigned: Any, **__: Any) -> None:
        by_topic = [{p.partition for p in assigned if p.topic == topic} for topic in FOLDED]
        with _failing(fail):
            assert by_topic[0] == by_topic[1], f"topics shared out differently: {by_topic}"
            steward.assign(by_topic[0])

    app.on_partitions_revoked.connect(on_revoked)
    app.on_partitions_assigned.connect(on_assigned)


def _add_folds(app: faust.App, replica: Replica, fail: Callable[[BaseException], None]) -> None:
    def channel(name: str) -> Any:
        return app.topic(
            name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

    async def apply_deltas(stream: Any) -> None:
        await _fold_all(stream, replica.fold_state, fail)

    async def merge(stream: Any) -> None:
        await _fold_all(stream, replica.fold_replica, fail)

    app.agent(channel(topics.STATE), name="apply_deltas")(apply_deltas)
    app.agent(channel(topics.REPLICA), name="merge")(merge)


async def _fold_all(
    stream: Any,
    fold: Callable[[int, LogRecord], Awaitable[None]],
    fail: Callable[[BaseException], None],
) -> None:
    async for event in stream.events():
        message = event.message
        record = LogRecord(
            message.offset,
            round(message.timestamp * 1_000),  # Faust divided it by 1,000
            message.key,
            message.value,
            plain_headers(message.headers),
        )
        with _failing(fail):
            await fold(message.partition, record)


@contextlib.contextmanager
def _failing(fail: Callable[[BaseException], None]) -> Iterator[None]:
    """End the node on a bug of ours; Faust would restart an agent behind the record: a hole."""
    try:
        yield
    except LogError:
        raise
    except Exception as error:
        fail(error)
        raise


def _add_tasks(
    app: faust.App,
    settings: AppSettings,
    replica: Replica,
    senders: Sequence[Outgoing],
    fail: Callable[[BaseException], None],
) -> None:
    async def gossip_to_peers() -> None:
        with _failing(fail):
            async with asyncio.TaskGroup() as tasks:
                for outgoing in senders:
                    tasks.create_task(run_sender(outgoing))

    async def take_snapshots() -> None:
        for partition in sorted(replica.held):
            try:
                with _failing(fail):
                    await replica.snapshot_partition(partition)
            except LogError as error:
                log.warning("snapshot.failed", partition=partition, error=str(error))

    async def watch_logs() -> None:
        try:
            with _failing(fail):
                await replica.watch_logs()
        except LogError as error:
            log.warning("logs.unknown", error=str(error))

    app.timer(interval=WATCH_S)(watch_logs)
    app.task(gossip_to_peers)
    app.timer(interval=settings.snapshot_interval_s)(take_snapshots)
