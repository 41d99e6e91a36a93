"""Consumers of ours that end while the broker is away."""

import asyncio

import pytest
from aiokafka import TopicPartition, errors

from connectors.embedded.broker import KafkaBroker
from connectors.kafka_consumers import running_consumer
from tests.support.clusters import OnKafka, new_topic

pytestmark = pytest.mark.broker


async def test_a_consumer_whose_fetch_waits_to_try_again_ends_without_cancelling_anybody(
    kafka_broker: KafkaBroker,
) -> None:
    """The library cancels the fetch and lets the cancellation out, into whoever closes."""
    cluster = OnKafka(kafka_broker.bootstrap)
    place = TopicPartition(await new_topic(cluster.log), 0)
    await cluster.close()
    client = {"bootstrap_servers": kafka_broker.bootstrap}
    is_refused = asyncio.Event()

    async def refuse(*_: object, **_kinds: object) -> None:
        is_refused.set()
        raise errors.NodeNotReadyError

    async with running_consumer(client, {"retry_backoff_ms": 60_000}, "read") as consumer:
        await consumer._client._wait_on_metadata(place.topic)
        consumer._client.send = refuse
        consumer.assign([place])
        consumer.seek(place, 0)
        await is_refused.wait()

    assert not [conn for conn in consumer._client._conns.values() if conn.connected()]
