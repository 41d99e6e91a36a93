"""What a configuration says about Kafka reaches aiokafka and Faust's own clients alike."""

import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from dwcp.config import parse_config
from dwcp.securing import kafka_client
from schemas.errors import ConfigError
from streams.agents.credentials import use_credentials
from tests.support.certs import Certificates

SECRET = "never a real one"  # noqa: S105 - of this test only


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    certificates = Certificates(tmp_path)
    found = certificates.files("eu-west")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    return {name: str(getattr(found, name)) for name in ("ca", "cert", "key")} | {
        "password": str(tmp_path / "password")
    }


def settings(client: dict[str, Any]) -> dict[str, Any]:
    config = {"region": "eu-west", "kafka": {"bootstrap": "k:1", "client": client}}
    return kafka_client(parse_config(config).kafka)


def of_faust(client: dict[str, Any]) -> dict[str, Any]:
    app = faust.App("credentials", autodiscover=False, store="memory://")
    use_credentials(app, client)
    return dict(credentials_to_aiokafka_auth(app.conf.broker_credentials, app.conf.ssl_context))


def sasl(files: dict[str, str], protocol: str, mechanism: str) -> dict[str, Any]:
    return {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "username": "node",
        "password": {"file": files["password"]},
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_name_and_password(files: dict[str, str], protocol: str, mechanism: str) -> None:
    client = sasl(files, protocol, mechanism)
    found = settings(client | ({"ca": files["ca"]} if protocol == "SASL_SSL" else {}))

    assert found["sasl_plain_password"] == SECRET
    assert found["sasl_mechanism"] == mechanism
    assert isinstance(found.get("ssl_context"), ssl.SSLContext) == (protocol == "SASL_SSL")
    expected = {"ssl_context": None, **found}
    del expected["bootstrap_servers"]
    assert of_faust(found) == expected


def test_a_certificate_instead(files: dict[str, str]) -> None:
    pem = {name: files[name] for name in ("ca", "cert", "key")}
    found = settings({"security_protocol": "SSL", **pem, "check_hostname": False})

    assert found["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert not found["ssl_context"].check_hostname
    assert of_faust(found) == {"security_protocol": "SSL", "ssl_context": found["ssl_context"]}


def test_nothing_is_plain() -> None:
    found = settings({})

    assert found == {"bootstrap_servers": "k:1", "security_protocol": "PLAINTEXT"}
    assert of_faust(found) == {"security_protocol": "PLAINTEXT"}


def test_a_file_that_cannot_be_used_is_named(files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="readable PEM"):
        settings({"security_protocol": "SSL", "ca": files["password"]})
    with pytest.raises(ConfigError, match=r"kafka\.client\.password\.env"):
        settings(
            {
                "security_protocol": "SASL_PLAINTEXT",
                "username": "node",
                "password": {"env": "DWCP_TEST_NOWHERE"},
            }
        )
