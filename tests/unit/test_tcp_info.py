"""`TCP_INFO` is read as far as the kernel gives it."""

import socket
import struct
import sys

import pytest

from transport.aio.tcp_info import parse_tcp_info, read_tcp_info
from transport.amst.samples import StreamReading


def structure(length: int) -> bytes:
    """Return a structure with known numbers at the places of linux/tcp.h, cut to a length."""
    content = bytearray(256)
    for at, value in {16: 1_448, 68: 84_000, 80: 100, 100: 7, 144: 5_000, 148: 80_000}.items():
        struct.pack_into("=I", content, at, value)
    for at, value in {120: 1 << 40, 168: 900, 176: 90, 184: 450, 200: 2 << 40, 208: 14_480}.items():
        struct.pack_into("=Q", content, at, value)
    return bytes(content[:length])


def test_a_whole_structure_gives_everything() -> None:
    assert parse_tcp_info(structure(256), "bbr") == StreamReading(
        congestion_control="bbr",
        acked_bytes=1 << 40,
        sent_bytes=2 << 40,
        repeated_bytes=14_480,
        rtt_us=84_000,
        min_rtt_us=80_000,
        congestion_window_bytes=144_800,
        unsent_bytes=5_000,
        busy_us=900,
        send_buffer_limited_us=450,
        receive_window_limited_us=90,
    )


def test_an_older_kernel_s_shorter_structure_gives_what_it_has() -> None:
    """Linux 4.8 had neither busy time nor bytes sent: segments times their size stand in."""
    reading = parse_tcp_info(structure(160))

    assert (reading.rtt_us, reading.acked_bytes, reading.sent_bytes) == (84_000, 1 << 40, 1 << 40)
    assert reading.repeated_bytes == 7 * 1_448
    assert reading.busy_us == 0


@pytest.mark.parametrize("length", range(256))
def test_no_length_is_too_short(length: int) -> None:
    assert parse_tcp_info(structure(length)).rtt_us in (0, 84_000)


def test_a_round_trip_that_was_never_measured_is_unknown() -> None:
    content = bytearray(structure(256))
    struct.pack_into("=I", content, 148, 0xFFFFFFFF)

    assert parse_tcp_info(bytes(content)).min_rtt_us == 0


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO as here is Linux' own")
def test_a_live_connection_is_read_and_a_closed_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        sender.sendall(b"x" * 10_000)
        assert receiver.recv(10_000, socket.MSG_WAITALL)
        reading = read_tcp_info(sender)
        sender.close()
        receiver.close()

    assert reading is not None
    assert reading.acked_bytes >= 10_000
    assert reading.sent_bytes >= 10_000
    assert reading.congestion_control
    assert read_tcp_info(sender) is None
