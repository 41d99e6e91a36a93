"""Pacing and shares are shown and changed over HTTP and by command, while links run."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from dwcp.cli.link import link
from dwcp.config import LinkConfig
from dwcp.link_settings import link_shape
from streams.agents.outgoing import PeerLinks
from streams.web.routes import errors_as_json
from streams.web.shaping import add_routes
from transport.amst.traffic import Traffic

SHARES = {"state": 8, "catch_up": 4, "bulk": 1}
AS_CONFIGURED = {"pacing_mbit_s": 20.0, "shares": SHARES}


class Node:
    """The routes over links to two peers."""

    def __init__(
        self, client: "TestClient[web.Request, web.Application]", links: dict[str, PeerLinks]
    ) -> None:
        self.client = client
        self.links = links

    async def post(self, body: bytes) -> tuple[int, Any]:
        async with self.client.post("/links/shape", data=body) as answer:
            return answer.status, await answer.json()

    async def command(self, *arguments: str) -> tuple[int, Any]:
        """Run `dwcp link shape`; returns exit code and what it says to machines."""
        url = str(self.client.make_url("")).rstrip("/")
        line = ["shape", "--url", url, "--json", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, link, line)
        return done.exit_code, json.loads(done.stdout.splitlines()[-1])


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[Node]:
    app = web.Application(middlewares=[errors_as_json])
    shape = link_shape(LinkConfig(pacing_mbit_s=20))
    links = {peer: PeerLinks(shape) for peer in ("iad", "fra")}
    add_routes(app, links)
    async with TestClient(TestServer(app)) as client:
        yield Node(client, links)


async def test_a_link_begins_as_configured(node: Node) -> None:
    code, found = await node.command()

    assert code == 0
    assert found == {"shapes": [{"peer": p, **AS_CONFIGURED} for p in ("fra", "iad")]}
    _, found = await node.command("--peer", "iad")
    assert [one["peer"] for one in found["shapes"]] == ["iad"]


async def test_what_is_named_changes_and_the_rest_stays(node: Node) -> None:
    code, found = await node.command("--peer", "iad", "--share", "bulk=3", "--share", "state=9")

    assert code == 0
    shares = SHARES | {"bulk": 3, "state": 9}
    assert found == {"shapes": [{"peer": "iad", "pacing_mbit_s": 20.0, "shares": shares}]}
    assert node.links["iad"].shape.bytes_per_s == 2.5e6
    assert node.links["iad"].shape.shares[Traffic.BULK] == 3
    assert node.links["fra"].shape.to_json() == AS_CONFIGURED

    await node.command("--mbit-s", "0")
    assert [one.shape.bytes_per_s for one in node.links.values()] == [None, None]
    assert node.links["iad"].shape.shares[Traffic.BULK] == 3


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"peer": "ams"}', "peer = 'ams': peers are fra, iad"),
        (b'{"peer": ["iad"]}', "peer"),
        (b'{"rate": 1}', "rate = 1: known are pacing_mbit_s, shares"),
        (b'{"pacing_mbit_s": -1}', "pacing_mbit_s = -1"),
        (b'{"pacing_mbit_s": NaN}', "pacing_mbit_s = nan"),
        (b'{"pacing_mbit_s": true}', "pacing_mbit_s = True"),
        (b'{"pacing_mbit_s": "5"}', "pacing_mbit_s = '5'"),
        (b'{"shares": 1}', "shares = 1"),
        (b'{"shares": {"log": 1}}', "classes are state, catch_up, bulk"),
        (b'{"shares": {"bulk": 0}}', "shares.bulk = 0"),
        (b'{"shares": {"bulk": 1.5}}', "shares.bulk = 1.5"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_changes(
    node: Node, body: bytes, what: str
) -> None:
    status, answer = await node.post(body)

    assert status == 400
    assert what in answer["error"]["message"]
    assert all(one.shape.to_json() == AS_CONFIGURED for one in node.links.values())


@pytest.mark.parametrize("arguments", [("--share", "bulk"), ("--share", "bulk=much")])
async def test_a_share_that_is_no_number_is_refused(node: Node, arguments: tuple[str, ...]) -> None:
    code, found = await node.command(*arguments)

    assert code != 0
    assert "write it as bulk=4" in found["error"]["message"]
