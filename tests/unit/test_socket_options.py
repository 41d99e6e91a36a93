"""The send buffer is asked for only where asking gives more than the kernel's own growing."""

import socket
import sys
from pathlib import Path

import pytest

from transport.aio import options
from transport.aio.options import SocketOptions, send_buffer_bytes_max, tune

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux' limits")


def tuned_buffer_bytes() -> tuple[int, int]:
    """Return a socket's send buffer before and after it was tuned."""
    with socket.socket() as connection:
        before = connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        tune(connection, SocketOptions())
        return before, connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def limits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, askable_bytes: int, grown_bytes: int
) -> None:
    (folder / "wmem_max").write_text(f"{askable_bytes}\n")
    (folder / "tcp_wmem").write_text(f"4096\t16384\t{grown_bytes}\n")
    monkeypatch.setattr(options, "_WMEM_MAX", folder / "wmem_max")
    monkeypatch.setattr(options, "_WMEM", folder / "tcp_wmem")


def test_a_larger_buffer_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits(tmp_path, monkeypatch, 100_000, 150_000)

    assert send_buffer_bytes_max() == 200_000
    assert tuned_buffer_bytes()[1] == 200_000


@pytest.mark.parametrize("askable_bytes", [212_992, 2_097_152])
def test_a_buffer_that_grows_further_by_itself_is_left_alone(
    askable_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits(tmp_path, monkeypatch, askable_bytes, 4_194_304)
    before, after = tuned_buffer_bytes()

    assert send_buffer_bytes_max() == 4_194_304
    assert before == after


def test_limits_that_cannot_be_read_leave_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "_WMEM_MAX", tmp_path / "none")
    monkeypatch.setattr(options, "_WMEM", tmp_path / "none")
    before, after = tuned_buffer_bytes()

    assert send_buffer_bytes_max() == 4 << 20
    assert before == after


def test_less_waits_in_the_kernel_on_a_near_path() -> None:
    wanted = SocketOptions(unsent_bytes=200_000, near_unsent_bytes=100_000)

    def unsent_bytes(connection: socket.socket) -> int:
        tune(connection, wanted)
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    with socket.socket() as unconnected:
        assert unsent_bytes(unconnected) == 200_000
    unconnected.close()
    assert options._unsent_bytes(unconnected, wanted) == 200_000
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        assert unsent_bytes(near) == 100_000
