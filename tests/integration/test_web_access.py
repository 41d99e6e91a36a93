"""Who may read and write over HTTP, and how much is served at once: real sockets."""

import asyncio
import contextlib
import gzip
import resource
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streams.web import bounds, site
from streams.web.access import AccessSettings, Right, client_uri, rights_of
from streams.web.bounds import WebLimits
from streams.web.guard import Guard, GuardSettings
from tests.support.attacks import silent
from tests.support.certs import CLUSTER, Certificates
from tests.support.kafka import free_port
from tests.support.waiting import until

WAIT_S = 10
BODY_BYTES_MAX = 100_000
READ, WRITE = "r" * 32, "w" * 32
TOKENS = {Right.READ: READ, Right.WRITE: WRITE}


class Server:
    """A guarded application with a page of ours, a page as of Faust, and a slow one."""

    def __init__(self, guard: Guard, url: str) -> None:
        self.guard, self.url = guard, url
        self.slow = asyncio.Event()
        self.app = web.Application(client_max_size=BODY_BYTES_MAX)
        for path in ("/state", "/table", "/"):
            self.app.router.add_get(path, self.answer)
        self.app.router.add_post("/state", self.answer)
        self.app.router.add_get("/slow", self.wait)
        self.app.router.add_post("/slow", self.wait)

    @property
    def address(self) -> str:
        return self.url.partition("//")[2]

    async def answer(self, request: web.Request) -> web.Response:
        return web.json_response({"bytes": len(await request.read())})

    async def wait(self, _: web.Request) -> web.Response:
        await self.slow.wait()
        return web.json_response({})

    async def ask(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= options.pop("headers", {})
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers, **options) as answer,
        ):
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def serving(
    access: AccessSettings,
    limits: WebLimits | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    port = free_port()
    context_of = None if context is None else lambda: context
    settings = GuardSettings(("127.0.0.1", port), access, limits or WebLimits(), context_of)
    guard = Guard(settings)
    server = Server(guard, f"{'http' if context is None else 'https'}://127.0.0.1:{port}")
    driver = SimpleNamespace(web_app=server.app)
    guard.add_to(driver)
    await driver._runner.setup()
    await driver._transport_handlers["tcp"]().start()
    try:
        yield server
    finally:
        server.slow.set()
        await driver._runner.cleanup()


GUARDED = AccessSettings(CLUSTER, TOKENS)
CASES = [
    ("GET", "/state", READ, 200),
    ("HEAD", "/state", READ, 200),
    ("POST", "/state", WRITE, 200),
    ("GET", "/table", READ, 200),  # as Faust's own pages
    ("GET", "/", READ, 200),
    ("GET", "/nowhere", READ, 404),
    ("POST", "/state", READ, 403),
    ("PUT", "/table", READ, 403),
    ("DELETE", "/nowhere", READ, 403),
    ("GET", "/state", WRITE, 403),
    ("GET", "/table", WRITE, 403),
    ("GET", "/state", None, 401),
    ("GET", "/table", None, 401),
    ("GET", "/nowhere", None, 401),
    ("POST", "/state", None, 401),
    ("GET", "/state", "", 401),
    ("GET", "/state", "wrong" * 7, 401),
    ("GET", "/state", READ + "x", 401),
    ("GET", "/state", READ[:-1], 401),
]


@pytest.mark.parametrize(("method", "path", "token", "status"), CASES)
async def test_each_page_asks_for_its_right(
    method: str, path: str, token: str | None, status: int
) -> None:
    async with serving(GUARDED) as server, aiohttp.ClientSession() as session:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with session.request(method, server.url + path, headers=headers) as answer:
            assert answer.status == status
            if status in (401, 403) and method != "HEAD":
                reason = "Unauthorized" if status == 401 else "Forbidden"
                assert (await answer.json())["error"]["reason"] == reason
                assert server.guard.access.refused == {reason: 1}
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
async def test_a_token_comes_as_bearer_only(scheme: str) -> None:
    async with serving(GUARDED) as server:
        headers = {"Authorization": f"{scheme} {READ}".strip()}
        assert (await server.ask("GET", "/state", headers=headers))[0] == 401


async def test_one_token_may_have_both_rights_and_one_may_be_missing() -> None:
    async with serving(AccessSettings(CLUSTER, dict.fromkeys(Right, READ))) as server:
        assert (await server.ask("GET", "/state", READ))[0] == 200
        assert (await server.ask("POST", "/state", READ))[0] == 200
    async with serving(AccessSettings(CLUSTER, {Right.READ: READ})) as server:
        assert (await server.ask("POST", "/state", READ))[0] == 403


async def test_a_node_that_is_open_is_so_for_its_machine_only() -> None:
    """Not for a web page that a browser on the machine shows."""
    foreign: dict[str, dict[str, str]] = {
        "a name that was made to point here": {"Host": "compute.example.com"},
        "a form of another page": {"Origin": "http://compute.example.com"},
        "a page of no origin": {"Origin": "null"},
    }
    async with serving(AccessSettings(CLUSTER, {})) as server:
        assert (await server.ask("POST", "/state", data=b"{}"))[0] == 200
        own = {"Origin": server.url, "Host": server.address}
        assert (await server.ask("POST", "/state", headers=own))[0] == 200
        local = {"Host": "localhost:1"}
        assert (await server.ask("GET", "/state", headers=local))[0] == 200
        for headers in foreign.values():
            assert (await server.ask("POST", "/state", headers=headers))[0] == 403


async def test_a_certificate_gives_the_rights_that_it_names(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    authority = certificates.authority
    server_files = authority.issue("iad", hosts=["127.0.0.1"]).path
    reader = authority.issue_client("dashboard", [Right.READ]).path
    both = authority.issue_client("operator", list(Right)).path
    stranger = certificates.stranger().issue_client("dashboard", list(Right)).path
    expected = {
        reader: (200, 403),
        both: (200, 200),
        authority.issue("ams").path: (401, 401),  # a region is no client
    }
    access = AccessSettings(CLUSTER, {Right.READ: READ}, takes_certificates=True)
    async with serving(access, context=server_context(authority.ca_path, server_files)) as server:
        for path, statuses in expected.items():
            context = client_context(authority.ca_path, path)
            assert (await server.ask("GET", "/state", ssl=context))[0] == statuses[0]
            assert (await server.ask("POST", "/state", ssl=context))[0] == statuses[1]
        nobody = ssl.create_default_context(cafile=authority.ca_path)
        assert (await server.ask("GET", "/state", READ, ssl=nobody))[0] == 200
        assert (await server.ask("GET", "/state", ssl=nobody))[0] == 401
        with pytest.raises(aiohttp.ClientError):
            await server.ask("GET", "/state", ssl=client_context(authority.ca_path, stranger))
        with pytest.raises(aiohttp.ClientError):  # plain HTTP at an HTTPS port
            await Server(server.guard, f"http://{server.address}").ask("GET", "/state")


def server_context(ca: Path, cert: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, cert.with_suffix(".key"))
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(ca: Path, cert: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, cert.with_suffix(".key"))
    return context


def test_only_well_formed_uris_of_our_federation_give_rights() -> None:
    good = [client_uri("a b", "x", right) for right in Right]
    bad = [
        client_uri("other", "x", Right.READ),
        "dwcp://a%20b/client/x",
        "dwcp://a%20b/client/x/read/more",
        "dwcp://a%20b/region/read/read",
        "dwcp://a%20b/client/x/admin",
        "other://a%20b/client/x/read",
    ]
    assert rights_of(good, "a b") == set(Right)
    assert rights_of(bad, "a b") == set()


async def test_a_body_over_the_limit_is_refused_also_when_it_is_packed() -> None:
    """A bomb: 200 MB of zeros in 200 kB; memory does not grow by a tenth of that."""
    bomb = gzip.compress(bytes(200_000_000), 1)
    packed = {"Content-Encoding": "gzip"}
    async with serving(GUARDED) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for body, headers in ((bytes(BODY_BYTES_MAX + 1), {}), (bomb, packed)):
            status, answer = await server.ask("POST", "/state", WRITE, data=body, headers=headers)
            assert (status, answer["error"]["reason"]) == (413, "BodyTooLarge")
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 20_000
        small = gzip.compress(bytes(1_000))
        answer = await server.ask("POST", "/state", WRITE, data=small, headers=packed)
        assert answer == (200, {"bytes": 1_000})
        status, answer = await server.ask("POST", "/state", WRITE, data=b"no gzip", headers=packed)
        assert status == 400


async def test_a_body_that_takes_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_S", 0.2)

    async def drip() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async with serving(GUARDED) as server:
        try:
            status, answer = await server.ask("POST", "/state", WRITE, data=drip())
        except aiohttp.ClientError:
            pass  # it was still sending when the connection was closed
        else:
            assert (status, answer["error"]["reason"]) == (408, "BodyTooSlow")
        assert (await server.ask("POST", "/state", WRITE))[0] == 200


async def test_more_requests_than_allowed_are_told_to_come_later() -> None:
    limits = WebLimits(reads_max=3, writes_max=2)
    async with serving(GUARDED, limits) as server:
        reads = [asyncio.ensure_future(server.ask("GET", "/slow", READ)) for _ in range(3)]
        writes = [asyncio.ensure_future(server.ask("POST", "/slow", WRITE)) for _ in range(2)]

        async def is_full() -> bool:
            answers = [
                await server.ask("GET", "/state", READ),
                await server.ask("POST", "/state", WRITE),
            ]
            return [status for status, _ in answers] == [429, 429]

        await until(is_full, WAIT_S, "the limit")
        status, answer = await server.ask("GET", "/state", READ)
        assert (status, answer["error"]["reason"]) == (429, "TooManyRequests")
        server.slow.set()
        assert {status for status, _ in await asyncio.gather(*reads, *writes)} == {200}
        assert (await server.ask("GET", "/state", READ))[0] == 200


async def test_a_thousand_silent_connections_keep_nobody_out() -> None:
    async with serving(GUARDED) as server, silent(server.address, 1_000):
        assert (await server.ask("GET", "/state", READ))[0] == 200
        assert (await server.ask("POST", "/state", WRITE))[0] == 200


async def test_a_connection_that_says_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "WAITING_S", 0.1)
    async with serving(GUARDED) as server:
        host, port = server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTT")
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        writer.transport.abort()


async def test_connections_with_rights_are_bounded() -> None:
    limits = WebLimits(connections_max=2)
    async with serving(GUARDED, limits) as server:
        held = [asyncio.ensure_future(server.ask("GET", "/slow", READ)) for _ in range(2)]

        async def is_full() -> bool:
            return (await server.ask("GET", "/state", READ))[0] == 503

        await until(is_full, WAIT_S, "the limit")
        status, answer = await server.ask("GET", "/state", READ)
        assert (status, answer["error"]["reason"]) == (503, "TooManyConnections")
        server.slow.set()
        await asyncio.gather(*held)

        async def has_room() -> bool:
            return (await server.ask("GET", "/state", READ))[0] == 200

        await until(has_room, WAIT_S, "room")
