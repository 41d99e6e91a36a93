"""Pacing: the less of what is configured and what lets a queue drain; what the kernel is told."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from transport.aio import pacing
from transport.aio.options import SocketOptions, begin_anew, congestion_control, pace, tune
from transport.aio.pacing import Pacer
from transport.amst.samples import StreamReading
from transport.amst.stream_count import Reason

TENTH_NS = 100_000_000


@dataclass(eq=False)
class Stream:
    connection: socket.socket
    path: str


class Kernel:
    """What a kernel would say, and what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.readings: dict[socket.socket, StreamReading] = {}
        self.rates: dict[socket.socket, float | None] = {}
        self.anew: list[tuple[socket.socket, float]] = []
        monkeypatch.setattr(pacing, "read_tcp_info", self.readings.get)
        monkeypatch.setattr(pacing, "pace", self._pace)
        monkeypatch.setattr(pacing, "begin_anew", lambda *what: self.anew.append(what))

    def _pace(self, connection: socket.socket, rate: float | None) -> bool:
        self.rates[connection] = rate
        return True

    def say(self, stream: Stream, rate: int, rtt_ms: int, control: str = "bbr") -> None:
        self.readings[stream.connection] = StreamReading(
            congestion_control=control,
            rtt_us=rtt_ms * 1_000,
            min_rtt_us=80_000,
            unsent_bytes=1,
            delivered_bytes_per_s=rate,
        )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def streams() -> Iterator[list[Stream]]:
    """Two by one path, one by another."""
    made = [Stream(socket.socket(), path) for path in ("one", "one", "two")]
    yield made
    for stream in made:
        stream.connection.close()


def watch(pacer: Pacer, streams: list[Stream], tenths: range) -> None:
    for tenth in tenths:
        pacer.watch(streams, tenth * TENTH_NS)


def fall(kernel: Kernel, pacer: Pacer, streams: list[Stream], control: str = "bbr") -> None:
    """Let the first path fall to a tenth, with a queue."""
    for stream in streams:
        kernel.say(stream, 10_000_000, 80, control)
    watch(pacer, streams, range(10))
    for stream in streams[:2]:
        kernel.say(stream, 1_000_000, 800, control)
    watch(pacer, streams, range(10, 12))


def rates(kernel: Kernel, streams: list[Stream]) -> list[float | None]:
    return [kernel.rates.get(stream.connection) for stream in streams]


def test_a_path_whose_rate_fell_sends_half_and_others_are_left_alone(
    kernel: Kernel, streams: list[Stream]
) -> None:
    pacer = Pacer()
    fall(kernel, pacer, streams)

    assert rates(kernel, streams) == [500_000, 500_000, None]
    assert [made.reason for made in pacer.decisions] == [Reason.DRAIN]


@pytest.mark.parametrize(("configured", "expected"), [(600_000, 200_000), (9_000_000, 500_000)])
def test_the_less_of_both_limits_counts(
    kernel: Kernel, streams: list[Stream], configured: float, expected: float
) -> None:
    pacer = Pacer()
    pacer.bytes_per_s = configured
    fall(kernel, pacer, streams)

    assert rates(kernel, streams) == [expected, expected, configured / 3]


def test_what_is_configured_comes_back_when_the_queue_is_gone(
    kernel: Kernel, streams: list[Stream]
) -> None:
    pacer = Pacer()
    pacer.bytes_per_s = 9_000_000
    fall(kernel, pacer, streams)
    for stream in streams[:2]:
        kernel.say(stream, 1_000_000, 90)
    watch(pacer, streams, range(12, 30))

    assert rates(kernel, streams) == [3_000_000] * 3
    assert [made.reason for made in pacer.decisions] == [Reason.DRAIN, Reason.DRAINED]


def test_others_than_bbr_are_left_alone(kernel: Kernel, streams: list[Stream]) -> None:
    pacer = Pacer()
    fall(kernel, pacer, streams, "cubic")

    assert not pacer.decisions
    assert not kernel.rates


def test_the_oldest_stream_of_a_path_that_has_risen_begins_anew(
    kernel: Kernel, streams: list[Stream]
) -> None:
    pacer = Pacer()
    for stream in streams:
        kernel.say(stream, 1_000_000, 80)
    watch(pacer, streams, range(40))
    kernel.say(streams[2], 2_000_000, 80)
    watch(pacer, streams, range(40, 45))

    assert kernel.anew == [(streams[2].connection, 2_000_000)]
    assert [made.reason for made in pacer.decisions] == [Reason.ANEW]


def test_a_stream_that_joins_is_no_rise(kernel: Kernel, streams: list[Stream]) -> None:
    pacer = Pacer()
    for stream in streams:
        kernel.say(stream, 1_000_000, 80)
    watch(pacer, streams[:1], range(40))
    watch(pacer, streams[:2], range(40, 45))

    assert not pacer.decisions


def test_a_path_without_streams_is_forgotten(kernel: Kernel, streams: list[Stream]) -> None:
    pacer = Pacer()
    fall(kernel, pacer, streams)
    watch(pacer, [streams[2]], range(12, 13))
    pacer.apply(streams)

    assert rates(kernel, streams) == [None] * 3


def pacing_rates(connection: socket.socket) -> tuple[int, int]:
    """Return `tcpi_pacing_rate` and `tcpi_max_pacing_rate`, bytes a second."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 120)
    rate, most = struct.unpack_from("=QQ", info, 104)
    return rate, most


@pytest.mark.parametrize("limit", [None, 3_000_000])
def test_a_socket_that_begins_anew_keeps_its_congestion_control_and_its_limit(
    limit: float | None,
) -> None:
    with socket.socket() as connection:
        granted = tune(connection, SocketOptions())
        pace(connection, limit)
        _, before = pacing_rates(connection)
        begin_anew(connection, 1_000_000)

        assert congestion_control(connection) == granted.congestion_control
        assert pacing_rates(connection)[1] == before


def test_a_stream_begins_anew_near_the_rate_that_is_delivered() -> None:
    """Not at what its window allows: a stream that empties its send buffer never ends its start."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with connection, accepted:
            if tune(connection, SocketOptions(("bbr",))).missing:
                pytest.skip("this kernel has no bbr")
            connection.sendall(b"x" * 10_000)
            assert accepted.recv(10_000, socket.MSG_WAITALL)
            begin_anew(connection, 1_000_000)

            assert pacing_rates(connection)[0] <= 3_000_000
