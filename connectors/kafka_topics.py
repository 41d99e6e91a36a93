"""Topics of a Kafka cluster: created, waited for, compared with what is asked for.

Everything here raises aiokafka's errors and `TopicMismatchError`; `connectors.kafka` maps them.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connectors.log import TopicSpec, check_topic
from schemas.access_errors import KafkaAccessError
from schemas.errors import TopicMismatchError

TOPICS_READY_S: Final = 30.0
TOPICS_POLL_S: Final = 0.05


async def create_and_check(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Create what is missing, wait until the cluster knows it, and return warnings.

    Raises:
        TopicMismatchError: A topic is, or would have to be, other than asked for.
        TimeoutError: The brokers do not know a new topic after `TOPICS_READY_S`.
    """
    await _create(admin, specs)
    async with asyncio.timeout(TOPICS_READY_S):
        await _wait_until_known(admin, specs)
    return await _check(admin, specs)


async def topic_settings(
    admin: AIOKafkaAdminClient, topics: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return all settings of topics, by topic and name."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, text, _, name, entries in answer.resources:
            if code:
                raise errors.for_code(code)(f"settings of {name}: {text}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    existing = set(await admin.list_topics())
    missing = [
        NewTopic(
            spec.name,
            spec.partition_count,
            spec.replication_factor,
            topic_configs=dict(spec.settings),
        )
        for spec in specs
        if spec.name not in existing
    ]
    if not missing:
        return
    answer = await admin.create_topics(missing)
    for name, code, *text in answer.topic_errors:
        kind = errors.for_code(code)
        if kind is errors.TopicAuthorizationFailedError:
            raise KafkaAccessError(f"Kafka does not allow us CREATE on topic {name}")
        if kind not in (errors.NoError, errors.TopicAlreadyExistsError):
            raise TopicMismatchError(f"{name} could not be created: {kind.__name__} {text}")


async def _wait_until_known(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """Wait until the broker that answers has heard of new topics from the controller."""
    names = [spec.name for spec in specs]
    while True:
        topics = await admin.describe_topics(names)
        if all(not topic["error_code"] and topic["partitions"] for topic in topics):
            with contextlib.suppress(errors.UnknownTopicOrPartitionError):
                await topic_settings(admin, names)
                return
        await asyncio.sleep(TOPICS_POLL_S)


async def _check(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    names = [spec.name for spec in specs]
    described = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
    settings = await topic_settings(admin, names)
    warnings: list[str] = []
    for spec in specs:
        partitions = described[spec.name]["partitions"]
        copies = min(len(p["replicas"]) for p in partitions)
        warnings += check_topic(spec, len(partitions), copies, settings[spec.name])
    return warnings
