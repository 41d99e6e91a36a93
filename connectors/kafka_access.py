"""What a Kafka lets us do: asked for at the start, so that what is missing is named at once.

Kafka tells a client which operations it may do on a topic or group (KIP-430); of transactional ids
it does not, so those are found out by the first writer.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn

from connectors.kafka_errors import mapped
from connectors.kafka_operations import GroupOperations, TopicOperations

Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
# Codes of org.apache.kafka.common.acl.AclOperation: bits in what the broker answers.
_CODES: Final[Mapping[Operation, int]] = {
    "READ": 3,
    "WRITE": 4,
    "CREATE": 5,
    "DESCRIBE": 8,
    "DESCRIBE_CONFIGS": 10,
}
COORDINATOR_S: Final = 30.0
COORDINATOR_POLL_S: Final = 0.1
_NO_COORDINATOR_YET: Final = (
    errors.GroupCoordinatorNotAvailableError,
    errors.GroupLoadInProgressError,
    errors.NotCoordinatorForGroupError,
)
_CONNECTION: Final = (
    "request_timeout_ms",
    "ssl_context",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to do with a resource.

    Attributes:
        kind: What the resource is, as Kafka's tools name it.
        name: Its name, or what it begins with.
        operations: What is done with it.
        is_prefix: Whether `name` is only a beginning.
    """

    kind: Literal["topic", "group", "transactional-id"]
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False

    def __str__(self) -> str:
        return f"{', '.join(self.operations)} on {self.kind} {self.name}{'*' * self.is_prefix}"


async def probe(client: Mapping[str, Any]) -> None:
    """Connect to a broker once, to hear why it may not let us in; clients would only try again.

    Raises:
        KafkaAccessError: It does not: certificate, mechanism, name or password.
        LogUnavailableError: None is there.
    """
    settings = {name: client[name] for name in _CONNECTION if name in client}
    *others, last = client["bootstrap_servers"].split(",")
    for address in others:
        try:
            await _connect(address, settings)
        except OSError:
            continue
        return
    with mapped(f"connect to {last}"):
        await _connect(last, settings)


async def _connect(address: str, settings: Mapping[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    connection = await create_conn(host.strip("[]"), int(port), client_id="dwcp", **settings)
    connection.close()


async def missing_access(admin: AIOKafkaAdminClient, wanted: Sequence[Access]) -> list[Access]:
    """Return what of the wanted we may not do; transactional ids are not looked at."""
    topics = [one for one in wanted if one.kind == "topic" and not one.is_prefix]
    groups = [one for one in wanted if one.kind == "group"]
    return [*await _missing_topics(admin, topics), *await _missing_groups(admin, groups)]


async def _missing_topics(admin: AIOKafkaAdminClient, wanted: Sequence[Access]) -> list[Access]:
    answer = await admin._send_request(TopicOperations([one.name for one in wanted]))  # noqa: SLF001 - its own asks an older version
    found = {topic[1]: (topic[0], topic[-1]) for topic in answer.topics}
    missing: list[Access] = []
    for one in wanted:
        code, allowed = found[one.name]
        if code == errors.UnknownTopicOrPartitionError.errno:
            continue  # it is to be created, and then looked at
        if code == errors.TopicAuthorizationFailedError.errno:
            allowed = 0
        missing += _lacking(one, allowed)
    return missing


async def _missing_groups(admin: AIOKafkaAdminClient, wanted: Sequence[Access]) -> list[Access]:
    missing: list[Access] = []
    for one in wanted:
        try:
            async with asyncio.timeout(COORDINATOR_S):
                allowed = await _group_operations(admin, one.name)
        except errors.GroupAuthorizationFailedError:
            allowed = 0
        missing += _lacking(one, allowed)
    return missing


async def _group_operations(admin: AIOKafkaAdminClient, group: str) -> int:
    """Ask the group's coordinator; a new cluster makes one at the first question."""
    while True:
        try:
            node = await admin.find_coordinator(group)
            answer = await admin._send_request(GroupOperations(group), node)  # noqa: SLF001 - its own reads no answer to that
            code, *_, allowed = answer.groups[0]
            if not code:
                return int(allowed)
            raise errors.for_code(code)(group)
        except _NO_COORDINATOR_YET:
            await asyncio.sleep(COORDINATOR_POLL_S)


def _lacking(one: Access, allowed: int) -> Iterator[Access]:
    lacking = tuple(name for name in one.operations if not allowed >> _CODES[name] & 1)
    if lacking:
        yield Access(one.kind, one.name, lacking, one.is_prefix)


def named(missing: Iterable[Access]) -> str:
    """Return a text that says what is missing."""
    return "; ".join(map(str, missing))
