"""A configuration is refused by field, value and remedy, or means what it says."""

from pathlib import Path
from typing import Any

import pytest

from dwcp.config import RegionConfig, load_config, parse_config
from schemas.errors import ConfigError

Json = dict[str, Any]


def with_fields(**fields: Any) -> Json:
    return {"region": "eu-west", **fields}


ADDRESS = "write host:port, the port 1 to 65535, an IPv6 address in brackets"
REGION = "a region is named by 1-63 of a-z, 0-9 and inner hyphens"
UNKNOWN = "there is no such field: mend its name or remove it"

PLAIN = {"plain": True}

REFUSED: dict[str, tuple[Json, str, Any, str]] = {
    "no region": ({}, "region", None, "write this field"),
    "empty region": ({"region": ""}, "region", "", REGION),
    "region in capitals": ({"region": "EU-West"}, "region", "EU-West", REGION),
    "region too long": ({"region": "x" * 64}, "region", "x" * 64, REGION),
    "region ends in a hyphen": ({"region": "eu-"}, "region", "eu-", REGION),
    "region is a number": ({"region": 5}, "region", 5, "valid string"),
    "unknown field": (with_fields(regions="x"), "regions", "x", UNKNOWN),
    "unknown field below": (with_fields(link={"port": 1}), "link.port", 1, UNKNOWN),
    "empty cluster": (with_fields(cluster=""), "cluster", "", "at least 1 character"),
    "data_dir no path": (with_fields(data_dir=5), "data_dir", 5, "not a valid path"),
    "section no mapping": (with_fields(kafka=3), "kafka", 3, "valid dictionary"),
    "section empty": (with_fields(link=None), "link", None, "valid dictionary"),
    "bootstrap empty": (with_fields(kafka={"bootstrap": ""}), "kafka.bootstrap", "", ADDRESS),
    "bootstrap without port": (
        with_fields(kafka={"bootstrap": "a:1,b"}),
        "kafka.bootstrap",
        "a:1,b",
        ADDRESS,
    ),
    "Kafka port 0": (with_fields(kafka={"port": 0}), "kafka.port", 0, "equal to 1"),
    "Kafka port text": (with_fields(kafka={"port": "x"}), "kafka.port", "x", "valid integer"),
    "client no mapping": (with_fields(kafka={"client": 1}), "kafka.client", 1, "dictionary"),
    "no partitions": (
        with_fields(state={"partition_count": 0}),
        "state.partition_count",
        0,
        "equal to 1",
    ),
    "too many partitions": (
        with_fields(state={"partition_count": 1_025}),
        "state.partition_count",
        1_025,
        "equal to 1024",
    ),
    "no copies": (
        with_fields(state={"replication_factor": 0}),
        "state.replication_factor",
        0,
        "equal to 1",
    ),
    "no retention": (
        with_fields(state={"retention_hours": 0}),
        "state.retention_hours",
        0,
        "equal to 1",
    ),
    "snapshots never": (
        with_fields(state={"snapshot_interval_s": float("inf")}),
        "state.snapshot_interval_s",
        float("inf"),
        "finite number",
    ),
    "listen without port": (with_fields(link={"listen": "h"}), "link.listen", "h", ADDRESS),
    "listen port 0": (with_fields(link={"listen": "h:0"}), "link.listen", "h:0", ADDRESS),
    "listen port high": (
        with_fields(link={"listen": "h:65536"}),
        "link.listen",
        "h:65536",
        ADDRESS,
    ),
    "listen bare IPv6": (with_fields(link={"listen": "::1:70"}), "link.listen", "::1:70", ADDRESS),
    "listen two": (with_fields(link={"listen": "a,b:7"}), "link.listen", "a,b:7", ADDRESS),
    "heartbeat too often": (
        with_fields(link={"heartbeat_ms": 49}),
        "link.heartbeat_ms",
        49,
        "equal to 50",
    ),
    "silence too short": (
        with_fields(link={"heartbeat_ms": 2_000}),
        "link.silence_ms",
        5_000,
        "give at least three times link.heartbeat_ms, 6000",
    ),
    "no credit": (with_fields(link={"credit_mib": 0}), "link.credit_mib", 0, "equal to 1"),
    "level too high": (
        with_fields(hde={"compression_level": 20}),
        "hde.compression_level",
        20,
        "equal to 19",
    ),
    "flush backwards": (with_fields(link={"flush_ms": -1}), "link.flush_ms", -1, "equal to 0"),
    "web port": (with_fields(web={"port": 70_000}), "web.port", 70_000, "equal to 65535"),
    "peers a list": (with_fields(peers=["a"]), "peers", ["a"], "valid dictionary"),
    "peer's name": (with_fields(peers={"US_East": "h:1"}), "peers", "US_East", REGION),
    "peer's address": (with_fields(peers={"us-east": "h"}), "peers.us-east", "h", ADDRESS),
    "a path's address": (
        with_fields(peers={"us-east": ["h:1", "h"]}),
        "peers.us-east",
        ["h:1", "h"],
        ADDRESS,
    ),
    "no path": (with_fields(peers={"us-east": []}), "peers.us-east", [], "different ones"),
    "a path twice": (
        with_fields(peers={"us-east": ["h:1", "h:1"]}),
        "peers.us-east",
        ["h:1", "h:1"],
        "different ones",
    ),
    "peers and no word on encryption": (
        with_fields(peers={"us-east": "h:1"}),
        "link.tls",
        None,
        "`dwcp certs init`",
    ),
    "a door and no word on encryption": (
        with_fields(link={"listen": "127.0.0.1:7400"}),
        "link.tls",
        None,
        "`plain: true`",
    ),
    "encrypted and plain": (
        with_fields(link={"plain": True, "tls": {"ca": "a", "cert": "c", "key": "k"}}),
        "link.plain",
        True,
        "remove it, or link.tls",
    ),
    "a certificate without its key": (
        with_fields(link={"tls": {"ca": "a", "cert": "c"}}),
        "link.tls.key",
        None,
        "all three",
    ),
    "a web server for all": (
        with_fields(web={"bind": "10.0.0.1"}),
        "web.bind",
        "10.0.0.1",
        "web.read_token and web.write_token",
    ),
    "a web server under a name": (
        with_fields(web={"bind": "node.example.com"}),
        "web.bind",
        "node.example.com",
        "anybody could read",
    ),
    "a server's certificate without its key": (
        with_fields(web={"tls": {"cert": "c"}}),
        "web.tls.key",
        None,
        "cert and key",
    ),
    "a secret in the file itself": (
        with_fields(web={"read_token": "s3cr3t"}),
        "web.read_token",
        "***",
        "",
    ),
    "SASL without a name": (
        with_fields(kafka={"client": {"security_protocol": "SASL_SSL"}}),
        "kafka.client.username",
        "None",
        "SASL wants a name",
    ),
    "SASL without a password": (
        with_fields(kafka={"client": {"security_protocol": "SASL_SSL", "username": "u"}}),
        "kafka.client.password",
        None,
        "env or file",
    ),
    "a password without SASL": (
        with_fields(kafka={"client": {"username": "u", "password": {"env": "P"}}}),
        "kafka.client.security_protocol",
        "PLAINTEXT",
        "SASL_SSL has both",
    ),
    "an authority without TLS": (
        with_fields(kafka={"client": {"ca": "ca.pem"}}),
        "kafka.client.security_protocol",
        "PLAINTEXT",
        "SASL_SSL has both",
    ),
    "a mechanism nobody has": (
        with_fields(kafka={"client": {"sasl_mechanism": "MAGIC"}}),
        "kafka.client.sasl_mechanism",
        "MAGIC",
        "SCRAM-SHA-512",
    ),
    "a password in the file itself": (
        with_fields(kafka={"client": {"password": "s3cr3t"}}),
        "kafka.client.password",
        "***",
        "",
    ),
    "a password by aiokafka's name": (
        with_fields(kafka={"client": {"sasl_plain_password": "s3cr3t"}}),
        "kafka.client.sasl_plain_password",
        "***",
        UNKNOWN,
    ),
    "itself a peer": (
        with_fields(peers={"eu-west": "h:1"}, link={"plain": True}),
        "peers.eu-west",
        "h:1",
        "that is this region itself: remove it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_field_is_named_with_its_value_and_a_remedy(case: str) -> None:
    content, field, value, remedy = REFUSED[case]

    with pytest.raises(ConfigError) as caught:
        parse_config(content)

    assert (caught.value.field, caught.value.value) == (field, value)
    assert remedy in caught.value.remedy
    assert str(caught.value).startswith(f"{field} = {value!r}: ")
    assert "Value error" not in str(caught.value)


def test_every_field_but_the_region_has_a_default() -> None:
    config = parse_config({"region": "eu-west"})

    assert config.node_name == "eu-west-1"
    assert config.kafka.bootstrap is None
    assert config.link.silence_ms >= 3 * config.link.heartbeat_ms


def test_addresses_may_be_names_numbers_or_bracketed() -> None:
    peers = {"a": "link.example:7400", "b": "10.0.0.1:1", "c": "[::1]:65535"}
    link, kafka = PLAIN, {"bootstrap": "k1:9092,[::1]:9092"}
    config = parse_config(with_fields(peers=peers, link=link, kafka=kafka))

    assert config.peers == peers
    assert config.peer_addresses["a"] == ["link.example:7400"]
    assert config.kafka.bootstrap == "k1:9092,[::1]:9092"


def test_a_peer_may_have_several_addresses() -> None:
    config = parse_config(
        with_fields(peers={"us-east": ["a:1", "b:1"], "us-west": "c:1"}, link=PLAIN)
    )

    assert config.peer_addresses == {"us-east": ["a:1", "b:1"], "us-west": ["c:1"]}


def test_the_shared_hash_covers_what_must_be_equal_and_nothing_else() -> None:
    def hash_of(**fields: Any) -> str:
        return parse_config(with_fields(**fields)).shared_hash

    plain = hash_of()

    assert parse_config({"region": "us-east"}).shared_hash == plain
    assert hash_of(node="n", web={"port": 1}, hde={"compression_level": 9}) == plain
    assert hash_of(cluster="other") != plain
    assert hash_of(state={"partition_count": 8}) != plain
    assert hash_of(state={"retention_hours": 1}) != plain


def test_a_configuration_cannot_be_changed_behind_our_back() -> None:
    config = parse_config(with_fields())

    with pytest.raises(ValueError, match="frozen"):
        config.region = "other"  # type: ignore[misc] # that is the point


FILES = {
    "missing": (None, "give a readable file"),
    "not text": (b"region: \xff\xfe", "give a readable file"),
    "no YAML": (b"region: [", "mend the YAML"),
    "empty": (b"", "write fields, at least `region: <name>`"),
    "a list": (b"- region", "write fields, at least `region: <name>`"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    content, remedy = FILES[case]
    path = tmp_path / "region.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    assert (caught.value.field, caught.value.value) == ("--config", str(path))
    assert remedy in caught.value.remedy


def test_a_file_means_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "region.yaml"
    path.write_text(
        "region: eu-west\nlink: {listen: '0.0.0.0:7400', plain: true}\npeers: {us-east: 'b:7400'}\n"
    )
    config = load_config(path)

    assert isinstance(config, RegionConfig)
    assert (config.region, config.link.listen) == ("eu-west", "0.0.0.0:7400")
    assert config.peers == {"us-east": "b:7400"}


def test_most_data_streams_are_at_least_the_fewest() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_fields(link={"data_streams_min": 5}))

    assert caught.value.field == "link.data_streams_max"
    assert caught.value.remedy == "give at least link.data_streams_min, 5"


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_rights(bind: str) -> None:
    assert not parse_config(with_fields(web={"bind": bind})).web.has_rights


@pytest.mark.parametrize(
    "rights",
    [
        {"read_token": {"env": "T"}},
        {"write_token": {"file": "t"}},
        {"tls": {"ca": "a", "cert": "c", "key": "k"}},
    ],
)
def test_elsewhere_some_right_is_enough_to_start(rights: Json) -> None:
    assert parse_config(with_fields(web={"bind": "10.0.0.1", **rights})).web.has_rights


def test_a_token_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("f" * 32 + "\n")
    monkeypatch.setenv("DWCP_TEST_TOKEN", "e" * 32)
    tokens = {"read_token": {"file": str(path)}, "write_token": {"env": "DWCP_TEST_TOKEN"}}
    web = parse_config(with_fields(web=tokens)).web

    assert (web.token("read"), web.token("write")) == ("f" * 32, "e" * 32)
    assert parse_config(with_fields()).web.token("read") is None
    assert "e" * 32 not in str(web)


def test_a_token_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, empty = tmp_path / "short", tmp_path / "empty"
    short.write_text("secret")
    empty.write_text("\n")
    monkeypatch.delenv("DWCP_TEST_TOKEN", raising=False)
    refused: list[tuple[Json, str]] = [
        ({"file": str(short)}, "web.read_token"),
        ({"file": str(empty)}, "web.read_token.file"),
        ({"file": str(tmp_path / "none")}, "web.read_token.file"),
        ({"env": "DWCP_TEST_TOKEN"}, "web.read_token.env"),
        ({"env": "HOME", "file": str(short)}, "web.read_token"),
    ]
    for secret, field in refused:
        web = parse_config(with_fields(web={"read_token": secret})).web
        with pytest.raises(ConfigError) as caught:
            web.token("read")
        assert caught.value.field == field
        assert "secret" not in str(caught.value.value)
