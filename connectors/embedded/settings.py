"""What a broker is told: its properties, its log settings and its command lines. Pure."""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from connectors.embedded.host import LOOPBACK
from connectors.embedded.jars import KAFKA_VERSION
from connectors.embedded.java import Java
from schemas.errors import ConfigError

BROKER_CLASS: Final = "kafka.Kafka"
PROPERTIES_NAME: Final = "broker.properties"
LOG_SETTINGS_NAME: Final = "log4j2.properties"
DATA_NAME: Final = "log"
_CLUSTER_ID_BYTES: Final = 16
_LATIN_1_MAX: Final = 0xFF

DEFAULTS: Final[Mapping[str, str]] = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "num.partitions": "4",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # After a SIGKILL the controller waits for the dead node's session before it lets it in again.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Allocated at the start and touched: the shipped 128 MiB made half of an idle broker.
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}
"""Kafka's settings where a single small node wants others than the shipped ones."""

_OURS: Final = frozenset(
    {
        "process.roles",
        "node.id",
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
        "controller.listener.names",
        "inter.broker.listener.name",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
    }
)

_MORE: Final = ("listeners", "advertised.listeners", "listener.security.protocol.map")
"""What a caller gives of these comes on top of ours, so that the broker still reaches itself."""

LOG_SETTINGS: Final = """\
status = error
appender.file.type = RollingFile
appender.file.name = FILE
appender.file.fileName = logs/server.log
appender.file.filePattern = logs/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c{1})%n%rEx{6}
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 4MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = FILE
"""
"""12 MB of warnings at most; stack traces from their root, cut to six lines."""


class Listener(NamedTuple):
    """A way in for clients, on loopback; its protocol as Kafka names it."""

    port: int
    protocol: str


def new_cluster_id(random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make a cluster id as Kafka writes them: 16 random bytes in URL-safe base64, unpadded."""
    while True:
        text = base64.urlsafe_b64encode(random_bytes(_CLUSTER_ID_BYTES)).decode().rstrip("=")
        if not text.startswith("-"):  # StorageTool would take it for an option
            return text


def broker_properties(
    port: int,
    controller_port: int,
    settings: Mapping[str, str],
    data_name: str = DATA_NAME,
    more: Listener | None = None,
) -> str:
    """Write the properties of a single node, broker and controller in one, on loopback.

    The data folder is relative to the broker's working directory: no path of this machine is
    written, and none has to survive Java's Latin-1 and the commas of `log.dirs`.

    Args:
        port: Where clients come in.
        controller_port: Where the node talks to itself.
        settings: Kafka's settings over `DEFAULTS`. Of those that this module writes only the
            three of listeners may be among them; they add listeners to ours, see `front`.
        data_name: Name of the data folder.
        more: A second way in for clients.

    Raises:
        ConfigError: A setting is not the caller's to choose.
    """
    for key, value in settings.items():
        if key in _OURS:
            raise ConfigError(f"settings[{key}]", value, "is set by DWCP itself; leave it out")
    ways = {"PLAINTEXT": Listener(port, "PLAINTEXT")} | ({"SECURE": more} if more else {})
    clients = ",".join(f"{name}://{LOOPBACK}:{way.port}" for name, way in ways.items())
    protocols = ",".join(f"{name}:{way.protocol}" for name, way in ways.items())
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        # Static voters: the ports may be others at the next start, nothing on disk names them.
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{clients},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": clients,
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data_name,
        **DEFAULTS,
    }
    for key, value in settings.items():
        lines[key] = f"{lines[key]},{value}" if key in _MORE else value
    return "".join(f"{_escaped(key)}={_escaped(value)}\n" for key, value in lines.items())


def front(port: int, proxy_port: int) -> dict[str, str]:
    """Return settings that add a listener for clients that come through a proxy on loopback.

    Kafka's clients go on to the address that a broker advertises on the listener where they came
    in: a proxy is passed by unless that address is its own. Whoever comes in on the broker's own
    port (a checker; the broker itself, for its transactions' markers) never meets the proxy.

    Args:
        port: Where the proxy connects to.
        proxy_port: Where the proxy listens.
    """
    return {
        "listeners": f"FRONT://{LOOPBACK}:{port}",
        "advertised.listeners": f"FRONT://{LOOPBACK}:{proxy_port}",
        "listener.security.protocol.map": "FRONT:PLAINTEXT",
    }


def _escaped(text: str) -> str:
    """Escape as `java.util.Properties` reads it."""
    plain = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    units = plain.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(chr(code) if code <= _LATIN_1_MAX else f"\\u{code:04x}" for code in codes)


def format_command(java: Java, jars: Sequence[Path], cluster_id: str) -> list[str]:
    """Return the command that makes an empty data folder one of a cluster."""
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", PROPERTIES_NAME]
    return [*_java(java, jars), *tool]


def broker_command(java: Java, jars: Sequence[Path], data_folder: Path, port: int) -> list[str]:
    """Return the command that runs the broker, in `data_folder` as working directory.

    The three `dwcp` properties mean nothing to Kafka: by them `dwcp kafka` knows a broker of ours.
    """
    return [
        *_java(java, jars),
        "-Xms64M",
        "-Xmx256M",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:ErrorFile=logs/crash.log",
        *(f"-D{key}={value}" for key, value in identity(data_folder, port).items()),
        BROKER_CLASS,
        PROPERTIES_NAME,
    ]


def identity(data_folder: Path, port: int) -> dict[str, str]:
    """Return what a broker's command line says about itself, as Java system properties."""
    return {
        "dwcp.data": str(data_folder),
        "dwcp.port": str(port),
        "dwcp.kafka": KAFKA_VERSION,
    }


def _java(java: Java, jars: Sequence[Path]) -> list[str]:
    return [
        str(java.executable),
        *java.quiet_flags,
        # For a short start on few cores: no parallel collector, no optimising compiler.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={LOG_SETTINGS_NAME}",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]
