"""The load: stock Kafka producers and HTTP clients, who note what they were told.

Each writer has entities of its own and shares some with all others, so that regions overwrite each
other. A change is made once; nobody repeats one whose outcome is unknown.
"""

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from confluent_kafka import KafkaError, Message, Producer

from tests.kills import topics
from tests.kills.history import Operation, Write

KINDS: Final = ("vm", "pod")
SHARED_ENTITIES: Final = 40
OWN_ENTITIES: Final = 60
HTTP_CHANGES_MAX: Final = 8
HTTP_TIMEOUT_S: Final = 20.0
_DELIVERY_MS: Final = 60_000
_FLUSH_S: Final = 90.0
_BAD_REQUEST: Final = range(400, 500)


@dataclass(frozen=True, slots=True)
class Draft:
    """A change before it is sent."""

    write: Write
    entity_type: str
    document: dict[str, Any] | None
    patch: dict[str, Any] | None


def drafts(name: str, region: str, via: str, dice: random.Random) -> Iterator[Draft]:
    """Draw changes for ever: six puts, three patches and one delete in ten."""
    number = 0
    while True:
        number += 1
        token = f"w:{name}:{number}"
        is_shared = dice.random() < 0.5
        entity = (
            f"shared-{dice.randrange(SHARED_ENTITIES)}"
            if is_shared
            else f"{name}-{dice.randrange(OWN_ENTITIES)}"
        )
        operation: Operation = dice.choices(("put", "patch", "delete"), (6, 3, 1))[0]
        write = Write(token, region, via, operation, entity)  # type: ignore[arg-type] # our two callers' literals
        load = dice.randrange(1_000)
        document = {"token": token, "load": load, "text": "x" * dice.randrange(300)}
        yield Draft(
            write,
            dice.choice(KINDS),
            document if operation == "put" else None,
            {"/token": token, "/load": load} if operation == "patch" else None,
        )


class KafkaWriter(threading.Thread):
    """A stock producer: librdkafka, idempotent, acks=all, Java's partitioner.

    Args:
        name: Of the writer; part of all tokens.
        region: Where it writes.
        bootstrap: That region's Kafka.
        rate_per_s: Changes a second.
        seed: Of its dice.

    Attributes:
        writes: What it did and was told.
    """

    def __init__(
        self, name: str, region: str, bootstrap: str, rate_per_s: float, seed: int
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.writes: list[Write] = []
        self._region = region
        self._address = bootstrap
        self._pause_s = 1 / rate_per_s
        self._drafts = drafts(name, region, "kafka", random.Random(seed))
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Write until asked to stop, then wait for the answers."""
        producer = Producer(
            {
                "bootstrap.servers": self._address,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "delivery.timeout.ms": _DELIVERY_MS,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )
        while not self._stop_asked.wait(self._pause_s):
            self._send(producer, next(self._drafts))
            producer.poll(0)
        producer.flush(_FLUSH_S)

    def stop(self) -> None:
        """Ask it to stop; `join` waits for the answers."""
        self._stop_asked.set()

    def _send(self, producer: Producer, draft: Draft) -> None:
        write = draft.write
        value = topics.encode(_state_change(draft))

        def told(error: KafkaError | None, message: Message) -> None:
            if error is None:
                write.outcome = "acknowledged"
                write.place = (message.partition(), message.offset())

        self.writes.append(write)
        try:
            producer.produce(topics.STATE, value, write.entity, on_delivery=told)
        except BufferError:  # its queue is full: never sent
            write.outcome = "refused"


def _state_change(draft: Draft) -> dict[str, Any]:
    deltas = [
        {"path": path, "operation": "set", "value": value}
        for path, value in (draft.patch or {}).items()
    ]
    return {
        "change_id": draft.write.token,
        "entity_id": draft.write.entity,
        "entity_type": draft.entity_type,
        "operation": draft.write.operation,
        "document": None if draft.document is None else json.dumps(draft.document),
        "deltas": deltas,
        "hybrid_timestamp": None,
        "origin_region": draft.write.region,
    }


class HttpWriter:
    """An HTTP client that posts a few changes at a time to any node of its region.

    Args:
        name: Of the writer; part of all tokens.
        region: Where it writes.
        urls: Of the region's nodes.
        rate_per_s: Posts a second.
        seed: Of its dice.
    """

    def __init__(
        self, name: str, region: str, urls: Sequence[str], rate_per_s: float, seed: int
    ) -> None:
        self.writes: list[Write] = []
        self._dice = random.Random(seed)
        self._urls = urls
        self._pause_s = 1 / rate_per_s
        self._drafts = drafts(name, region, "http", self._dice)

    async def run(self, stop: asyncio.Event) -> None:
        """Post until asked to stop."""
        timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not stop.is_set():
                began_s = time.monotonic()
                await self._post(session)
                left_s = began_s + self._pause_s - time.monotonic()
                if left_s > 0:
                    await _pause(stop, left_s)

    async def _post(self, session: aiohttp.ClientSession) -> None:
        posted = [next(self._drafts) for _ in range(self._dice.randint(1, HTTP_CHANGES_MAX))]
        self.writes += (draft.write for draft in posted)
        body = {"changes": [_posted(draft) for draft in posted]}
        try:
            async with session.post(f"{self._dice.choice(self._urls)}/state", json=body) as answer:
                status, said = answer.status, await answer.json()
        except aiohttp.ClientConnectorError:  # nobody was there to hear it
            _settle(posted, "refused")
            return
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return
        if status in _BAD_REQUEST:
            _settle(posted, "refused")
        elif status == 200:
            for draft, dot in zip(posted, said["stored"], strict=True):
                draft.write.outcome = "acknowledged"
                draft.write.place = (dot["partition"], dot["offset"])
                draft.write.index = dot["index"]


def _posted(draft: Draft) -> dict[str, Any]:
    one = {"entity": draft.write.entity, "type": draft.entity_type}
    if draft.patch is not None:
        return {**one, "patch": draft.patch}
    return {**one, "document": draft.document}


def _settle(posted: Sequence[Draft], outcome: Any) -> None:
    for draft in posted:
        draft.write.outcome = outcome


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
