"""Sections of the configuration about getting in: files, secrets, rights."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import ConfigError

TOKEN_CHARACTERS_MIN = 16


class Section(BaseModel):
    """A part of the configuration: no unknown fields, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretConfig(Section):
    """Where a secret is; it never stands in the configuration itself."""

    env: str | None = Field(None, description="environment variable that holds it")
    file: Path | None = Field(None, description="or a file that holds it")

    @property
    def is_given(self) -> bool:
        """Whether there is one."""
        return self.env is not None or self.file is not None

    def read(self, name: str, environ: Mapping[str, str] = os.environ) -> str:
        """Return the secret.

        Args:
            name: The setting, for the error.
            environ: The environment.

        Raises:
            ConfigError: It is not there, or empty.
        """
        if self.env is not None and self.file is not None:
            raise ConfigError(name, str(self.file), "give either env or file")
        if self.env is not None:
            return _filled(f"{name}.env", self.env, environ.get(self.env, ""))
        try:
            text = (self.file or Path()).read_text()
        except (OSError, UnicodeDecodeError) as error:
            remedy = f"give a readable file ({error})"
            raise ConfigError(f"{name}.file", str(self.file), remedy) from error
        return _filled(f"{name}.file", str(self.file), text.strip())


def _filled(name: str, where: str, secret: str) -> str:
    if not secret:
        raise ConfigError(name, where, "put the secret there: it is empty or missing")
    return secret


class TlsConfig(Section):
    """PEM files of a link's encryption; `dwcp certs` makes them."""

    ca: Path | None = Field(None, description="authorities that we trust")
    cert: Path | None = Field(None, description="our region's certificate; read anew on change")
    key: Path | None = Field(None, description="its key, unencrypted, readable by us only")

    @property
    def is_given(self) -> bool:
        """Whether anything of it is configured."""
        return any((self.ca, self.cert, self.key))

    def check(self, section: str) -> None:
        """Raise `ConfigError` when only a part of it is given."""
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if self.is_given and path is None:
                raise ConfigError(f"{section}.{name}", None, "give all three: ca, cert and key")


class KafkaClientConfig(Section):
    """How to get into Kafka."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="as the listener's: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
    )
    ca: Path | None = Field(None, description="authorities of the brokers; none: the system's")
    cert: Path | None = Field(None, description="our certificate, if brokers want one")
    key: Path | None = Field(None, description="its key, unencrypted")
    check_hostname: bool = Field(
        default=True, description="whether a broker's certificate has to name its host"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"
    )
    username: str | None = Field(None, description="our name, for SASL")
    password: SecretConfig = SecretConfig()

    @property
    def is_sasl(self) -> bool:
        """Whether we show name and password."""
        return self.security_protocol.startswith("SASL")

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    @model_validator(mode="after")
    def _check(self) -> Self:
        remedies = {
            "username": (self.is_sasl and not self.username, "SASL wants a name"),
            "password": (self.is_sasl and not self.password.is_given, "give env or file"),
            "security_protocol": (
                (not self.is_sasl and (self.username or self.password.is_given))
                or (not self.is_encrypted and any((self.ca, self.cert, self.key))),
                "what else is given says another: SASL_SSL has both",
            ),
            "key": ((self.cert is None) != (self.key is None), "give cert and key"),
        }
        for name, (is_wrong, remedy) in remedies.items():
            if is_wrong:
                value = None if name == "password" else str(getattr(self, name))
                raise ConfigError(f"kafka.client.{name}", value, remedy)
        return self


class WebTlsConfig(Section):
    """PEM files of the web server's encryption."""

    ca: Path | None = Field(
        None, description="authorities of clients; given: a client's certificate gives rights"
    )
    cert: Path | None = Field(None, description="the server's certificate; read anew on change")
    key: Path | None = Field(None, description="its key, unencrypted")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, path in (("cert", self.cert), ("key", self.key)):
            if path is None and any((self.ca, self.cert, self.key)):
                raise ConfigError(f"web.tls.{name}", None, "give cert and key")
        return self


class WebConfig(Section):
    """Faust's web server: state, status and metrics."""

    bind: str = Field("127.0.0.1", description="address; anything but loopback demands rights")
    port: int = Field(6066, ge=1, le=65_535, description="port")
    diff_mib: int = Field(
        16,
        ge=0,
        le=4_096,
        description="posted documents remembered, so that only what changed is stored; 0: none",
    )
    advertise: str = Field(
        "",
        description="URL by which this region's nodes reach us; default <bind>:<port>, which must "
        "then be the certificate's name",
    )
    tls: WebTlsConfig = WebTlsConfig()
    read_token: SecretConfig = SecretConfig()
    write_token: SecretConfig = SecretConfig()
    connections_max: int = Field(256, ge=1, description="connections that have rights")
    reads_max: int = Field(64, ge=1, description="requests that read, at once; further get 429")
    writes_max: int = Field(32, ge=1, description="requests that write, at once; further get 429")

    @property
    def has_rights(self) -> bool:
        """Whether somebody has to show something."""
        return any((self.read_token.is_given, self.write_token.is_given, self.tls.ca))

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        if self.bind == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _check_rights(self) -> Self:
        if not self.is_local and not self.has_rights:
            remedy = (
                "anybody could read and write: give web.read_token and web.write_token, or "
                "web.tls with ca, or bind 127.0.0.1"
            )
            raise ConfigError("web.bind", self.bind, remedy)
        return self

    def token(self, right: Literal["read", "write"]) -> str | None:
        """Return the token of a right, None when there is none.

        Raises:
            ConfigError: It cannot be read, or is too short to be a secret.
        """
        name = f"web.{right}_token"
        secret = self.read_token if right == "read" else self.write_token
        if not secret.is_given:
            return None
        token = secret.read(name)
        if len(token) < TOKEN_CHARACTERS_MIN:
            remedy = f"make it {TOKEN_CHARACTERS_MIN} characters at least: openssl rand -hex 32"
            raise ConfigError(name, f"{len(token)} characters", remedy)
        return token
