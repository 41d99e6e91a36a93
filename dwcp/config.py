"""A region's configuration: the only reader of the YAML file.

Every field has a default but `region`; `dwcp config show` prints the effective values.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from dwcp.config_access import KafkaClientConfig, Section, TlsConfig, WebConfig
from dwcp.config_baselines import BaselineConfig
from dwcp.config_group import GroupConfig
from schemas.errors import ConfigError
from schemas.ids import check_region
from streams.agents.shaping import SHARE_MAX

_PORT_MAX = 65_535


def _check_address(value: str) -> str:
    match = re.fullmatch(r"([^\s:,]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})", value)
    if match is None or not 0 < int(match[2]) <= _PORT_MAX:
        raise ValueError("write host:port, the port 1 to 65535, an IPv6 address in brackets")
    return value


def _check_addresses(value: str) -> str:
    for address in value.split(","):
        _check_address(address)
    return value


def _check_peer(value: object) -> str | list[str]:
    addresses = [value] if isinstance(value, str) else value
    if (
        not isinstance(addresses, list)
        or not addresses
        or len(set(map(str, addresses))) < len(addresses)
    ):
        raise ValueError("write host:port, or a list of different ones")
    for address in addresses:
        _check_address(str(address))
    return value if isinstance(value, str) else list(addresses)


Port = Annotated[int, Field(ge=1, le=_PORT_MAX)]
Address = Annotated[str, AfterValidator(_check_address)]
Addresses = Annotated[str, AfterValidator(_check_addresses)]
Peer = Annotated[str | list[str], PlainValidator(_check_peer)]

# A secret in the wrong place must not come out in an error.
_SECRET = ("password", "token", "secret")

# What pydantic says of these names no remedy.
_REMEDIES = {
    "missing": "write this field",
    "extra_forbidden": "there is no such field: mend its name or remove it",
}


class KafkaConfig(Section):
    """Where the region's Kafka is."""

    bootstrap: Addresses | None = Field(
        None, description="host:port[,host:port]; none: a broker of our own is started"
    )
    port: Port = Field(9092, description="port of our own broker")
    client: KafkaClientConfig = KafkaClientConfig()


class StateConfig(Section):
    """The state topics; equal in all regions."""

    partition_count: int = Field(4, ge=1, le=1_024, description="partitions of dwcp.state")
    replication_factor: int = Field(1, ge=1, le=15, description="copies of every topic")
    retention_hours: int = Field(
        168, ge=1, description="how long a region may be away and still catch up from the log"
    )
    snapshot_interval_s: float = Field(
        30.0, ge=1, allow_inf_nan=False, description="seconds between snapshots"
    )


class SharesConfig(Section):
    """Weights of the classes of traffic that share a link; control and log go before them."""

    state: int = Field(8, ge=1, le=SHARE_MAX, description="weight of state changes on a link")
    catch_up: int = Field(4, ge=1, le=SHARE_MAX, description="of those older than the session")
    bulk: int = Field(1, ge=1, le=SHARE_MAX, description="of bulk objects, as baselines are")


class LinkConfig(Section):
    """The links to other regions."""

    listen: Address = Field("127.0.0.1:7400", description="where peers reach us, host:port")
    tls: TlsConfig = TlsConfig()
    plain: bool = Field(
        default=False,
        description="true: no encryption and no proof of who a peer is; never on a WAN",
    )
    heartbeat_ms: int = Field(1_000, ge=50, description="time between heartbeats")
    silence_ms: int = Field(
        5_000, ge=150, description="silence that ends a session; at least three heartbeats"
    )
    credit_mib: int = Field(
        8, ge=1, le=1_024, description="raw MiB under way per incoming link; bounds memory"
    )
    flush_ms: int = Field(25, ge=0, le=10_000, description="least time between units of a link")
    data_streams_min: int = Field(
        1,
        ge=1,
        le=16,
        description="least data streams of a session; the link finds how many it wants",
    )
    data_streams_max: int = Field(
        4, ge=1, le=16, description="most data streams of a session; 8 for many nodes, 16 far away"
    )
    congestion_control: str = Field(
        "bbr", description="asked for each data stream; cubic where it is missing; empty: system's"
    )
    pacing_mbit_s: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="rate to a peer's nodes together; 0: no limit"
    )
    shares: SharesConfig = SharesConfig()
    connect_ms: int = Field(5_000, ge=100, description="from dialling to the peer's answer")
    drain_ms: int = Field(
        2_000, ge=0, description="what is under way when a node stops is waited for so long"
    )
    stall_ms: int = Field(
        60_000, ge=1_000, description="a data stream that does not move for so long is replaced"
    )

    @model_validator(mode="after")
    def _check_silence(self) -> Self:
        if self.silence_ms < 3 * self.heartbeat_ms:
            remedy = f"give at least three times link.heartbeat_ms, {3 * self.heartbeat_ms}"
            raise ConfigError("link.silence_ms", self.silence_ms, remedy)
        return self

    @model_validator(mode="after")
    def _check_streams(self) -> Self:
        if self.data_streams_min > self.data_streams_max:
            remedy = f"give at least link.data_streams_min, {self.data_streams_min}"
            raise ConfigError("link.data_streams_max", self.data_streams_max, remedy)
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        self.tls.check("link.tls")
        if self.plain and self.tls.is_given:
            raise ConfigError("link.plain", True, "remove it, or link.tls")  # noqa: FBT003 - the value
        return self


class HdeConfig(Section):
    """How links encode what they carry; see docs/encoding.md."""

    enabled: bool = Field(default=True, description="false: everything travels raw")
    compression_level: int = Field(
        3, ge=0, le=19, description="Highest zstd level; 0: as not enabled"
    )
    typed: bool = Field(default=True, description="typed deltas where they pay, not only zstd")
    memory_mib: int = Field(
        95, ge=1, le=4_096, description="what an end of a flow may remember; peers refuse more"
    )
    dictionary_size: int = Field(
        102_400, ge=0, le=262_144, description="bytes of a trained dictionary; 0: none"
    )
    rate_mbit_s: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="upper bound of the rate that a link is taken to have; 0: as measured",
    )


class RegionConfig(Section):
    """One node of one region."""

    region: str = Field(description="this region's id, a DNS label")
    cluster: str = Field("novacron", min_length=1, description="federation; equal everywhere")
    node: str = Field("", description="this node's name; default <region>-1")
    data_dir: Path = Field(Path("dwcp-data"), description="folder of our files; made if missing")
    kafka: KafkaConfig = KafkaConfig()
    state: StateConfig = StateConfig()
    group: GroupConfig = GroupConfig()
    link: LinkConfig = LinkConfig()
    hde: HdeConfig = HdeConfig()
    baselines: BaselineConfig = BaselineConfig()
    web: WebConfig = WebConfig()
    peers: dict[str, Peer] = Field(
        {}, description="link address of every other region, or a list: of its nodes and paths"
    )

    @field_validator("region")
    @classmethod
    def _check_region(cls, value: str) -> str:
        return check_region("region", value)

    @model_validator(mode="after")
    def _check_peers(self) -> Self:
        for peer, address in self.peers.items():
            check_region("peers", peer)
            if peer == self.region:
                raise ConfigError(f"peers.{peer}", address, "that is this region itself: remove it")
        return self

    @model_validator(mode="after")
    def _check_link(self) -> Self:
        if self.is_linked and not (self.link.plain or self.link.tls.is_given):
            remedy = (
                "links are encrypted: give ca, cert and key (`dwcp certs init`, then "
                "`dwcp certs issue`), or say `plain: true` where nobody else can reach them"
            )
            raise ConfigError("link.tls", None, remedy)
        return self

    @property
    def is_linked(self) -> bool:
        """Whether this node has to do with others: else its link port stays closed."""
        return bool(self.peers) or "listen" in self.link.model_fields_set

    @property
    def peer_addresses(self) -> dict[str, list[str]]:
        """Link addresses of every other region."""
        return {
            peer: [written] if isinstance(written, str) else written
            for peer, written in self.peers.items()
        }

    @property
    def node_name(self) -> str:
        """Name of this node."""
        return self.node or f"{self.region}-1"

    @property
    def web_url(self) -> str:
        """Where the region's other nodes reach this one's HTTP face."""
        web = self.web
        scheme = "http" if web.tls.cert is None else "https"
        return web.advertise.rstrip("/") or f"{scheme}://{web.bind}:{web.port}"

    @property
    def shared_hash(self) -> str:
        """Hash of what should be equal in all regions; travels in the handshake."""
        shared = {
            "cluster": self.cluster,
            "partition_count": self.state.partition_count,
            "retention_hours": self.state.retention_hours,
        }
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]


def load_config(path: Path) -> RegionConfig:
    """Read a region's YAML file.

    Raises:
        ConfigError: The file cannot be read, or a field is wrong: which, its value, the remedy.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--config", str(path), f"give a readable file ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigError("--config", str(path), f"mend the YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError("--config", str(path), "write fields, at least `region: <name>`")
    return parse_config(content)


def parse_config(content: dict[str, Any]) -> RegionConfig:
    """Check a region's configuration; see `load_config`."""
    try:
        return RegionConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "configuration"
        value = None if first["type"] == "missing" else first["input"]
        if any(word in field.lower() for word in _SECRET):
            value = "***"
        remedy = _REMEDIES.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise ConfigError(field, value, remedy) from error
