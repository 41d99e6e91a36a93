"""Dialling while SYNs are lost, and connections that go on soon after a cut."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from schemas.errors import LinkClosedError, PeerSilentError
from tests.support.kafka import free_port
from transport.aio import connection, options
from transport.aio.connection import dial, pump_control
from transport.aio.options import RTO_MAX_MS_LEAST, keep_trying, rto_max_ms
from transport.aio.wire import Wire
from transport.session.control import ControlConnection
from transport.session.events import Identity, LinkSettings

RTO_MAX_MS = 44
WAIT_S = 10


class Attempts:
    """Attempts to connect, which the test lets through, fail or wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[int], bool]) -> None:
        self.sockets: list[socket.socket] = []
        self._outcome = outcome
        self._connect = asyncio.get_running_loop().sock_connect
        monkeypatch.setattr(connection, "ATTEMPT_S", 0.01)
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", self._wait_or_connect)

    async def _wait_or_connect(self, one: socket.socket, address: Any) -> None:
        self.sockets.append(one)
        if not self._outcome(len(self.sockets)):
            await asyncio.Event().wait()
        await self._connect(one, address)


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_another_attempt_begins_while_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, lambda number: number == 3)
    with listener() as server:
        wire = await dial(f"127.0.0.1:{server.getsockname()[1]}", WAIT_S)
    wire.close()
    assert len(attempts.sockets) == 3
    assert all(one.fileno() < 0 for one in attempts.sockets)


async def test_attempts_are_bounded_and_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, lambda _: False)
    with pytest.raises(PeerSilentError, match=r"did not answer within 0\.5 s"):
        await dial("127.0.0.1:1", 0.5)
    assert len(attempts.sockets) == connection.ATTEMPTS_MAX
    assert all(one.fileno() < 0 for one in attempts.sockets)


async def test_who_is_refused_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(monkeypatch, lambda _: True)
    with pytest.raises(LinkClosedError, match="failed"):
        await dial(f"127.0.0.1:{free_port()}", WAIT_S)
    assert len(attempts.sockets) == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="Linux's")
async def test_both_ends_repeat_lost_bytes_each_second() -> None:
    with listener() as server:
        if not _has_rto_max(server):
            pytest.skip("this kernel is older than 6.15: no TCP_RTO_MAX_MS")
        wire = await dial(f"127.0.0.1:{server.getsockname()[1]}", WAIT_S)
        accepted = Wire(server.accept()[0])
    found = [one.detach() for one in (wire, accepted)]
    for one in found:
        with one:
            assert one.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS) == RTO_MAX_MS_LEAST


def _has_rto_max(one: socket.socket) -> bool:
    try:
        one.setsockopt(socket.IPPROTO_TCP, RTO_MAX_MS, RTO_MAX_MS_LEAST)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("rtt_us", "deviation_us", "expected_ms"),
    [(0, 0, 1_000), (80_000, 10_000, 1_000), (900_000, 100_000, 2_600), (10_000_000, 0, 20_000)],
)
def test_long_round_trips_wait_for_two(rtt_us: int, deviation_us: int, expected_ms: int) -> None:
    assert rto_max_ms(rtt_us, deviation_us) == expected_ms


def test_where_the_kernel_cannot_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.close()
        keep_trying(one)
    monkeypatch.setattr(options, "_RTO_MAX_MS", None)
    with socket.socket() as one:
        before = _rto_max(one)
        keep_trying(one)
        assert _rto_max(one) == before


def _rto_max(one: socket.socket) -> int | None:
    try:
        return one.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS)
    except OSError:
        return None


async def test_nobody_waits_to_say_goodbye_to_a_silent_peer() -> None:
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    settings = LinkSettings(heartbeat_ms=10, silence_ms=50)
    identity = Identity("test", "iad", "iad-1", "", 1)
    session = ControlConnection(identity, settings, time.monotonic_ns())

    async def never(_: object) -> None:
        raise AssertionError("nothing came")

    with theirs:
        with pytest.raises(PeerSilentError):
            await pump_control(session, wire, lambda *_: [], never)
        assert wire.is_closing
