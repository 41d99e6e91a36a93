"""A broker that asks who comes (SASL over TLS) and what they may do (its authorizer)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.host import free_port
from connectors.embedded.settings import Listener
from connectors.kafka_access import Access
from dwcp.certs import Authority

NODE, NODE_PASSWORD = "dwcp-node", "the node's password, never a real one"
PLAIN, PLAIN_PASSWORD = "plain-user", "a plain password"
_PLAIN_MODULE: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM_MODULE: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
_KINDS: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


class SecuredKafka:
    """The broker, and what only its administrator does.

    Attributes:
        ca: PEM file of the authority that signed its certificate.
        bootstrap: Address of the way in that asks.
    """

    def __init__(self, broker: KafkaBroker, secure_port: int, ca: Path) -> None:
        self.broker = broker
        self.ca = ca
        self.bootstrap = f"localhost:{secure_port}"
        # Over the open way in, whose nameless user is a super user here.
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})

    async def allow(self, wanted: Iterable[Access], user: str = NODE) -> None:
        """Let a user do exactly this, and nothing else any more."""
        bindings = [binding for one in wanted for binding in _bindings(one, user)]
        await self._settled(self._admin.delete_acls([_all_of(user)]))
        if bindings:
            await self._settled(self._admin.create_acls(bindings))

    async def add_users(self) -> None:
        """Make users who show what they know by SCRAM."""
        secret = NODE_PASSWORD.encode()
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            info = ScramCredentialInfo(mechanism, 4_096)
            made = UserScramCredentialUpsertion(NODE, info, secret)
            await self._settled(self._admin.alter_user_scram_credentials([made]))

    def config(self, password: Path, **client: Any) -> dict[str, Any]:
        """Return the section `kafka` of a node that comes in by SCRAM."""
        return {
            "bootstrap": self.bootstrap,
            "client": {
                "security_protocol": "SASL_SSL",
                "ca": str(self.ca),
                "username": NODE,
                "password": {"file": str(password)},
                **client,
            },
        }

    @staticmethod
    async def _settled(futures: dict[Any, Any]) -> None:
        for future in futures.values():
            await asyncio.to_thread(future.result, 20)


@contextlib.asynccontextmanager
async def secured_kafka(folder: Path) -> AsyncIterator[SecuredKafka]:
    """Run a broker with its authorizer on."""
    authority = Authority(folder / "certs")
    ca = authority.init("kafka").path
    cert = authority.issue("broker", hosts=["localhost", "127.0.0.1"]).path
    store = folder / "broker-keystore.pem"
    store.write_text(cert.with_suffix(".key").read_text() + cert.read_text())
    port = free_port()
    way = "listener.name.secure"
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{way}.plain.sasl.jaas.config": (
            f'{_PLAIN_MODULE} required user_{PLAIN}="{PLAIN_PASSWORD}";'
        ),
        f"{way}.scram-sha-256.sasl.jaas.config": f"{_SCRAM_MODULE} required;",
        f"{way}.scram-sha-512.sasl.jaas.config": f"{_SCRAM_MODULE} required;",
        f"{way}.ssl.keystore.type": "PEM",
        f"{way}.ssl.keystore.location": str(store),
        f"{way}.ssl.truststore.type": "PEM",
        f"{way}.ssl.truststore.location": str(ca),
    }
    more = Listener(port, "SASL_SSL")
    broker = KafkaBroker(folder / "kafka", port=free_port(), settings=settings, more=more)
    async with broker:
        kafka = SecuredKafka(broker, port, ca)
        await kafka.add_users()
        yield kafka


def _bindings(one: Access, user: str) -> list[AclBinding]:
    pattern = ResourcePatternType.PREFIXED if one.is_prefix else ResourcePatternType.LITERAL
    return [
        AclBinding(
            _KINDS[one.kind],
            one.name,
            pattern,
            f"User:{user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for operation in one.operations
    ]


def _all_of(user: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
