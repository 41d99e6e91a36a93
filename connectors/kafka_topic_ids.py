"""Topic ids: what tells a topic from another one of the same name that was there before.

aiokafka 0.14 speaks Metadata up to version 5; ids come with version 10. So version 12 stands here,
from the protocol guide of Apache Kafka.
"""

import uuid
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class _Uuid(Int32):  # type: ignore[misc] # aiokafka is untyped; any of its types will do as base
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _Metadata12Response(Response):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Metadata12(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _Metadata12Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIds(Request[_Metadata12]):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        nobody = uuid.UUID(int=0)
        rows: list[tuple[uuid.UUID, str, dict[int, bytes]]] = [
            (nobody, name, {}) for name in self._topics
        ]
        return request_struct_class(rows, False, False, {})  # noqa: FBT003 - by position only


async def topic_ids(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Return the id of each topic, as text; raises aiokafka's errors."""
    client = admin._client  # noqa: SLF001 - the admin client has no such question
    answer = await client.send(client.get_random_node(), _TopicIds(topics))
    found: dict[str, str] = {}
    for code, name, topic_id, *_ in answer.topics:
        if code:
            raise errors.for_code(code)(f"id of {name}")
        found[name] = topic_id.hex
    return found
