"""The HTTP face on a plain aiohttp server: state in and out, watching, errors, metrics."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connectors.log import NewRecord
from connectors.memory import MemoryCluster, MemoryLog
from connectors.producer import StateProducer
from schemas.errors import LogUnavailableError, OutcomeUnknownError
from schemas.ids import Version
from streams import topics
from streams.agents.replica import Replica
from streams.state.entity import Entity
from streams.web import watching
from streams.web.metrics import StatusCollector
from streams.web.routes import Routes
from tests.support.waiting import until

BODY_BYTES_MAX = 200_000
Json = Any


class FailingLog(MemoryLog):
    """Fails appends with `error`, once there is one."""

    error: Exception | None = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[int]:
        if self.error is not None:
            raise self.error
        return await super().append(topic, partition, records)


@dataclass
class Node:
    """A node's HTTP face and what stands behind it."""

    client: "TestClient[web.Request, web.Application]"
    replica: Replica
    log: FailingLog
    producer: StateProducer
    status: dict[str, Json]

    async def post(self, body: Json) -> tuple[int, Json]:
        async with self.client.post("/state", json=body) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def write(self, *changes: Json) -> list[Json]:
        """Post changes and wait until they are folded."""
        status, body = await self.post({"changes": changes})
        assert status == 200
        await until(lambda: all(map(self._is_folded, body["stored"])), 5, "the fold")
        stored: list[Json] = body["stored"]
        return stored

    def _is_folded(self, dot: Json) -> bool:
        vector = self.replica.store.partitions[dot["partition"]].vector
        return bool(vector.get("eu-west", 0) > dot["offset"])

    async def get(self, path: str) -> tuple[int, Json]:
        async with self.client.get(path) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    def unsent_bytes(self) -> int:
        """Return what the server's connections have written and not sent."""
        runner = self.client.server.runner
        assert runner is not None
        assert runner.server is not None
        transports = (connection.transport for connection in runner.server.connections)
        return sum(each.get_write_buffer_size() for each in transports if each is not None)

    async def lines(self, path: str) -> list[Json]:
        async with self.client.get(path) as response:
            assert (response.status, response.content_type) == (200, "application/x-ndjson")
            return [json.loads(line) for line in (await response.text()).splitlines()]


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[Node]:
    cluster = MemoryCluster(lambda: time.time_ns() // 1_000_000)
    log = FailingLog(cluster)
    await log.create_topics(topics.topic_specs(topics.TopicSettings()))
    replica = Replica("eu-west", 4, log)
    await replica.restore()
    status: dict[str, Json] = {"region": "eu-west"}
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: status))
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    async with StateProducer(log, region="eu-west", name="http", partition_count=4) as producer:
        Routes(replica, producer, lambda: status, lambda: {"links": []}, registry).add_to(app)
        folding = asyncio.ensure_future(fold(log, replica))
        async with TestClient(TestServer(app)) as client:
            yield Node(client, replica, log, producer, status)
        folding.cancel()
        await asyncio.gather(folding, return_exceptions=True)


async def fold(log: MemoryLog, replica: Replica) -> None:
    async with contextlib.aclosing(log.tail(topics.STATE, dict.fromkeys(range(4), 0))) as tail:
        async for ranges in tail:
            for part in ranges:
                for record in part.records:
                    await replica.fold_state(part.partition, record)


def put(entity: str, document: Json, kind: str = "vm") -> Json:
    return {"entity": entity, "type": kind, "document": document}


async def test_an_entity_is_put_patched_and_deleted(node: Node) -> None:
    (dot,) = await node.write(put("vm-17", {"power": "on", "n": 1}))
    status, body = await node.get("/state/vm-17")

    assert status == 200
    assert (body["entity"], body["type"]) == ("vm-17", "vm")
    assert body["document"] == {"power": "on", "n": 1}
    version = body["version"]
    assert (version["region"], version["offset"], version["index"]) == (
        "eu-west",
        dot["offset"],
        dot["index"],
    )
    assert abs(version["wall_ms"] - time.time() * 1_000) < 60_000

    await node.write({"entity": "vm-17", "patch": {"/power": "off", "/a/b": [1]}, "remove": ["/n"]})
    assert (await node.get("/state/vm-17"))[1]["document"] == {"power": "off", "a": {"b": [1]}}

    await node.write(put("vm-17", None))
    status, body = await node.get("/state/vm-17")
    assert (status, body["error"]["reason"]) == (404, "NotFound")


async def test_places_come_back_in_the_order_of_the_changes(node: Node) -> None:
    changes = [put(f"vm-{n}", {"n": n}) for n in range(200)]
    stored = await node.write(*changes)
    versions = [(await node.get(f"/state/vm-{n}"))[1]["version"] for n in range(0, 200, 20)]

    assert len(stored) == 200
    assert [(v["offset"], v["index"]) for v in versions] == [
        (dot["offset"], dot["index"]) for dot in stored[::20]
    ]
    assert {dot["region"] for dot in stored} == {"eu-west"}


@pytest.mark.parametrize("entity", ["a/b/c", "größe ß", "50%", "q?x=1&y", "#", "..", "/", "a//b"])
async def test_any_name_of_an_entity_can_be_asked_for(node: Node, entity: str) -> None:
    await node.write(put(entity, {"is": entity}))
    quoted = "".join(f"%{byte:02X}" for byte in entity.encode())
    url = node.client.make_url("/").with_path(f"/state/{quoted}", encoded=True)
    async with node.client.session.get(url) as response:
        body = await response.json()

    assert (response.status, body.get("document")) == (200, {"is": entity})


async def test_all_entities_are_listed_by_prefix_and_type(node: Node) -> None:
    await node.write(
        put("vm-1", {"a": "ß"}),
        put("vm-2", {"b": 1}),
        put("job-1", {"c": 1}, "job"),
        put("vm-3", {"gone": True}),
    )
    await node.write(put("vm-3", None), {"entity": "vm-2", "type": "vm", "patch": {"/b": 2}})

    def line(entity: str, document: Json, kind: str = "vm") -> Json:
        return {"entity": entity, "type": kind, "document": document}

    def by_name(lines: list[Json]) -> list[Json]:
        return sorted(lines, key=lambda one: str(one["entity"]))

    job = line("job-1", {"c": 1}, "job")
    first, second = line("vm-1", {"a": "ß"}), line("vm-2", {"b": 2})
    assert by_name(await node.lines("/state")) == [job, first, second]
    assert by_name(await node.lines("/state?prefix=vm-")) == [first, second]
    assert by_name(await node.lines("/state?type=job")) == [job]
    assert by_name(await node.lines("/state?prefix=vm-&type=job")) == []


async def test_a_long_list_is_complete(node: Node) -> None:
    names = [f"vm-{n:04}" for n in range(999)]
    await node.write(*(put(name, {"text": "x" * 100}) for name in names))

    assert sorted(line["entity"] for line in await node.lines("/state")) == names


async def next_lines(response: aiohttp.ClientResponse, count: int) -> list[Json]:
    """Read lines that say something."""
    found: list[Json] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            line = await response.content.readline()
            assert line, "the watch ended"
            if line.strip():
                found.append(json.loads(line))
    return found


async def test_a_watch_tells_of_changes_as_they_come(node: Node) -> None:
    await node.write(put("vm-1", {"n": 0}))
    async with node.client.get("/watch?prefix=vm-") as response:
        assert response.content_type == "application/x-ndjson"
        await node.write(put("vm-1", {"n": 1}), put("job-1", {}), put("vm-2", {"n": 2}))
        first = await next_lines(response, 2)
        await node.write(put("vm-1", None))
        (last,) = await next_lines(response, 1)

    assert sorted(first, key=lambda one: str(one["entity"])) == [
        put("vm-1", {"n": 1}),
        put("vm-2", {"n": 2}),
    ]
    assert last == put("vm-1", None)


async def test_a_watcher_that_left_is_forgotten(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEEP_ALIVE_S", 0.02)
    async with node.client.get("/watch"):
        assert len(node.replica.watchers) == 1

    await until(lambda: not node.replica.watchers, 5, "the watcher's end")


async def test_too_many_watchers_are_told_so(node: Node) -> None:
    def watcher(_: object) -> None:
        pass

    others: list[Any] = [lambda entities, n=n: watcher((entities, n)) for n in range(64)]
    node.replica.watchers.update(others)
    status, body = await node.get("/watch")

    assert (status, body["error"]["reason"]) == (503, "TooManyWatchers")
    assert len(node.replica.watchers) == 64


async def test_a_watcher_that_reads_too_slowly_is_told_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads nothing while more is written than all buffers hold, and then 6 entities more."""
    monkeypatch.setattr(watching, "WATCH_PENDING_MAX", 5)
    async with node.client.get("/watch") as response:
        (watcher,) = node.replica.watchers
        document = json.dumps({"text": "x" * 5_000_000})
        watcher([entity(f"large-{n}", document) for n in range(5)])
        await until(lambda: node.unsent_bytes() > 1_000_000, 10, "a full buffer")
        watcher([entity(f"small-{n}", "{}") for n in range(6)])
        async with asyncio.timeout(20):
            lines = (await response.text()).splitlines()

    assert json.loads(lines[-1])["error"]["reason"] == "TooSlow"
    assert not node.replica.watchers


def entity(name: str, document: str) -> Entity:
    made = Entity(name, 0)
    made.put(document, Version(1, "eu-west", 0, 0))
    return made


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "send JSON"),
    "no JSON": (b"{", "send JSON"),
    "no UTF-8": (b'{"entity": "\xff"}', "send JSON"),
    "too deep": (b"[" * 50_000, "send JSON"),
    "a list": (b"[]", "send one change"),
    "a number": (b"5", "send one change"),
    "no changes": (b'{"changes": []}', "send one change"),
    "changes no list": (b'{"changes": {}}', "send one change"),
    "too many changes": (json.dumps({"changes": [{}] * 1_001}).encode(), "1 to 1000"),
    "change no object": (b'{"changes": [5]}', "send an object"),
    "no entity": (b'{"document": {}}', "name the entity"),
    "entity a number": (b'{"entity": 5, "document": {}}', "wrong type"),
    "entity empty": (b'{"entity": "", "document": {}}', "1 to 1,024 bytes"),
    "entity half a pair": (b'{"entity": "\\ud800", "document": {}}', "valid Unicode"),
    "type half a pair": (b'{"entity": "e", "type": "\\ud800", "document": {}}', "valid Unicode"),
    "unknown field": (b'{"entity": "e", "documents": {}}', "known are entity, type"),
    "neither": (b'{"entity": "e"}', "either document, or patch"),
    "both": (b'{"entity": "e", "document": {}, "patch": {"/a": 1}}', "either document, or patch"),
    "document a list": (b'{"entity": "e", "document": []}', "wrong type"),
    "document NaN": (b'{"entity": "e", "document": {"a": NaN}}', "what JSON can hold"),
    "patch empty": (b'{"entity": "e", "patch": {}}', "at least one field"),
    "path no pointer": (b'{"entity": "e", "patch": {"a": 1}}', "JSON Pointer"),
    "path half a pair": (b'{"entity": "e", "patch": {"/\\ud800": 1}}', "valid Unicode"),
    "remove a number": (b'{"entity": "e", "remove": [5]}', "JSON Pointer"),
    "value infinite": (b'{"entity": "e", "patch": {"/a": Infinity}}', "a finite one"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_body_is_refused_with_a_remedy_and_does_no_harm(node: Node, case: str) -> None:
    body, remedy = BAD_BODIES[case]
    async with node.client.post("/state", data=body) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["reason"]) == (400, "InvalidChange")
    assert remedy in answer["error"]["message"]
    assert len(answer["error"]["message"]) < 1_000
    assert await node.write(put("after", {}))
    assert [line["entity"] for line in await node.lines("/state")] == ["after"]


@pytest.mark.parametrize(
    "bad",
    [
        {"entity": "e", "patch": {"a": 1}},
        {"entity": "", "document": {}},
        {"entity": "e", "remove": ["x"]},
        {"entity": "e", "document": {"a": "\ud800"}},
    ],
)
async def test_of_several_changes_all_are_taken_or_none(node: Node, bad: Json) -> None:
    status, _ = await node.post({"changes": [put("good", {}), bad, put("good too", {})]})
    await node.producer.flush()

    assert status == 400
    assert await node.log.end_offsets(topics.STATE) == dict.fromkeys(range(4), 0)


async def test_a_body_in_a_charset_nobody_knows_is_json_all_the_same(node: Node) -> None:
    headers = {"Content-Type": "application/json; charset=klingon"}
    body = json.dumps(put("vm-1", {})).encode()
    async with node.client.post("/state", data=body, headers=headers) as response:
        assert response.status == 200


async def test_a_body_over_the_limit_is_refused(node: Node) -> None:
    status, body = await node.post(put("vm-1", {"text": "x" * BODY_BYTES_MAX}))

    assert (status, body["error"]["reason"]) == (413, "BodyTooLarge")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_an_unknown_route_is_an_error_in_json(node: Node, method: str) -> None:
    async with node.client.request(method, "/nowhere") as response:
        body = await response.json()

    assert (response.status, body["error"]["reason"]) == (404, "NotFound")
    assert "/nowhere" in body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/state", "GET,HEAD,POST"),
        ("DELETE", "/state/vm-1", "GET,HEAD"),
        ("POST", "/watch", "GET,HEAD"),
        ("POST", "/metrics", "GET,HEAD"),
    ],
)
async def test_a_wrong_method_is_an_error_in_json(
    node: Node, method: str, path: str, allowed: str
) -> None:
    async with node.client.request(method, path) as response:
        body = await response.json()

    assert (response.status, body["error"]["reason"]) == (405, "MethodNotAllowed")
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LogUnavailableError("no broker"), "LogUnavailable"),
        (OutcomeUnknownError("no answer"), "OutcomeUnknown"),
    ],
)
async def test_a_log_that_fails_is_an_answer_to_try_later(
    node: Node, error: Exception, reason: str
) -> None:
    node.log.error = error
    status, body = await node.post(put("vm-1", {}))
    node.log.error = None

    assert (status, body) == (503, {"error": {"reason": reason, "message": str(error)}})
    assert await node.write(put("vm-1", {}))


async def test_a_change_too_large_for_the_log_is_refused_for_good(node: Node) -> None:
    """The body limit is larger than the topic's in production."""
    cluster = MemoryCluster(lambda: 0)
    small = {"max.message.bytes": "1000", "message.timestamp.type": "LogAppendTime"}
    spec = topics.topic_specs(topics.TopicSettings())[0]
    cluster.create(type(spec)(spec.name, spec.partition_count, settings=small))
    node.log._cluster = cluster
    status, body = await node.post(put("vm-1", {"text": "x" * 2_000}))

    assert (status, body["error"]["reason"]) == (413, "RecordTooLarge")


async def test_the_status_is_what_the_node_says(node: Node) -> None:
    node.status["größe"] = [1, None]

    assert await node.get("/status") == (200, {"region": "eu-west", "größe": [1, None]})


LEVEL_UNITS = ("units", "raw_bytes", "encoded_bytes", "cpu_seconds")
FLOW: Json = {
    "key_units": 1,
    "delta_units": 9,
    "dictionary_hits": 1,
    "baseline_refreshes": 0,
    "nacks": 2,
    "forgotten": 3,
    "window_restarts": 1,
    "levels": {"H4": {"units": 10, "raw_bytes": 1_000, "encoded_bytes": 100, "cpu_s": 0.25}},
    "choices": {"cost": 9, "try": 1},
    "zstd_levels": {"3": 7, "9": 3},
}
LINK: Json = {
    "peer": 'us-"east"\n',
    "address": "h:1",
    "state": "up",
    "error": "",
    "sessions": 2,
    "rewinds": 1,
    "units": 10,
    "raw_bytes": 1_000,
    "encoded_bytes": 100,
    "wire_bytes": 132,
    "flows": {"dwcp.state": FLOW},
    "rate_bytes_s": 5e6,
    "rtt_ms": 12.5,
    "clock_ahead_ms": None,
    "acked": {"0": 5},
}
STATUS: Json = {
    "entities": 7,
    "uptime_s": 1.5,
    "changes_folded": {"eu-west": 3, "us-east": 4},
    "duplicates": {"us-east": 1},
    "deadletters": {"UnknownSchema": 2},
    "contradictions": {},
    "refused_connections": {"BadFrame": 1},
    "refused_requests": {"Unauthorized": 3},
    "encryption": {"is_plain": False, "tls": {"expires_in_s": 86_400}},
    "ownership": {
        "holds": [0, 2],
        "troubles": {"3": {"reason": "LogTruncated", "message": "it ends at 5"}},
    },
    "lag": {"us-east": 9},
    "visible_ms": {"count": 1, "p50": 1.0, "p99": 2.0, "buckets": {}},
    "links_out": [LINK, LINK | {"peer": "ap", "state": "down", "rtt_ms": None}],
    "links_in": [],
    "baselines": {
        "held": [{"region": "eu-west", "bytes": 5}] * 2,
        "evicted_by_peers": [],
    },
}


ZSTD_SAMPLES: dict[tuple[str, ...], float] = {
    ("dwcp_hde_zstd_units_total", "out", level, peer, "dwcp.state"): count
    for level, count in FLOW["zstd_levels"].items()
    for peer in (LINK["peer"], "ap")
}


async def test_the_metrics_are_what_prometheus_reads(node: Node) -> None:
    node.status.update(STATUS)
    async with node.client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        families = list(text_string_to_metric_families(await response.text()))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }

    expected: dict[tuple[str, ...], float] = {
        ("dwcp_hde_held_bytes", "eu-west"): 10,
        ("dwcp_entities",): 7,
        ("dwcp_uptime_seconds",): 1.5,
        ("dwcp_changes_folded_total", "eu-west"): 3,
        ("dwcp_changes_folded_total", "us-east"): 4,
        ("dwcp_duplicates_total", "us-east"): 1,
        ("dwcp_deadletters_total", "UnknownSchema"): 2,
        ("dwcp_refused_connections_total", "BadFrame"): 1,
        ("dwcp_refused_requests_total", "Unauthorized"): 3,
        ("dwcp_certificate_expires_seconds",): 86_400,
        ("dwcp_partitions_held",): 2,
        ("dwcp_partition_trouble", "3", "LogTruncated"): 1,
        ("dwcp_lag_offsets", "us-east"): 9,
        ("dwcp_visible_milliseconds", "0.5"): 1,
        ("dwcp_visible_milliseconds", "0.99"): 2,
        ("dwcp_link_up", "h:1", LINK["peer"]): 1,
        ("dwcp_link_up", "h:1", "ap"): 0,
        ("dwcp_link_rtt_milliseconds", "h:1", LINK["peer"]): 12.5,
        ("dwcp_link_rate_bytes", "h:1", LINK["peer"]): 5e6,
        ("dwcp_link_rate_bytes", "h:1", "ap"): 5e6,
        **{
            (f"dwcp_link_{name}_total", "h:1", peer): LINK[name]
            for name in ("units", "raw_bytes", "encoded_bytes", "wire_bytes", "sessions", "rewinds")
            for peer in (LINK["peer"], "ap")
        },
        **{
            (f"dwcp_hde_{name}_total", "out", peer, "dwcp.state"): value
            for name, value in FLOW.items()
            if name not in ("levels", "choices", "zstd_levels")
            for peer in (LINK["peer"], "ap")
        },
        **{
            (f"dwcp_hde_level_{unit}_total", "out", "H4", peer, "dwcp.state"): value
            for unit, value in zip(LEVEL_UNITS, FLOW["levels"]["H4"].values(), strict=True)
            for peer in (LINK["peer"], "ap")
        },
        **{
            ("dwcp_hde_choices_total", "out", peer, "dwcp.state", why): count
            for why, count in FLOW["choices"].items()
            for peer in (LINK["peer"], "ap")
        },
        **ZSTD_SAMPLES,
    }
    assert samples == expected
    assert all(family.documentation for family in families)
