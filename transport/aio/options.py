"""What we ask of the kernel for our sockets; what it does not have, we do without.

=========================  =======================================  ==========================
asked for                  why                                      where it is missing
=========================  =======================================  ==========================
TCP_NODELAY                frames are whole: nothing is waited for  nowhere
TCP_NOTSENT_LOWAT          priorities stay in the application       a full send buffer goes first
SO_SNDBUF                  one stream fills more of a far path      more streams do
TCP_CONGESTION             bbr keeps its rate under loss            the system's default
TCP_USER_TIMEOUT           a dead path is noticed                   `stall_ms` notices it later
SO_MAX_PACING_RATE         a rate without bursts                    no pacing
TCP_RTO_MAX_MS             after a cut, lost bytes come soon again  up to the cut's length later
SO_RCVLOWAT                a large frame's reader wakes less often  it wakes for every packet
=========================  =======================================  ==========================

All but the first are Linux's (TCP_NOTSENT_LOWAT is macOS's, too); TCP_RTO_MAX_MS is of Linux 6.15,
and asked for every socket of a link, by `keep_trying`. The others are for data streams. SO_SNDBUF
ends the kernel's own growing of the buffer (tcp(7)), so it is asked for only where that ends
earlier; SO_RCVLOWAT would limit it, so only where it has grown, by `wake_at`.
"""

import contextlib
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_CONGESTION: Final = getattr(socket, "TCP_CONGESTION", None)
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)
_MAX_PACING_RATE: Final = 47 if hasattr(socket, "SO_PEERCRED") else None  # Linux; 3.11 lacks it
_INFO: Final = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_WAKE_BYTES: Final = getattr(socket, "SO_RCVLOWAT", None) if sys.platform == "linux" else None
_GROWN_TIMES: Final = 4  # the kernel's buffer is twice what it holds; twice that is ample
_RTO_MAX_MS: Final = 44 if sys.platform == "linux" else None  # include/uapi/linux/tcp.h
_RTT_AT: Final = 68  # of `tcpi_rtt` and `tcpi_rttvar`, u32 each, us; see `transport.aio.tcp_info`
_NEAR_RTT_US: Final = 1_000
_MIN_RTT_AT: Final = 148  # of `tcpi_min_rtt`, u32, us; the greatest number before the first one
_WMEM: Final = Path("/proc/sys/net/ipv4/tcp_wmem")
_WMEM_MAX: Final = Path("/proc/sys/net/core/wmem_max")
_GROWN_BYTES_MAX: Final = 4 << 20  # Linux' default, where it cannot be read
RTO_MAX_MS_LEAST: Final = 1_000  # also the kernel's own least value
_UNPACED: Final = (1 << 64) - 1
_RATE_BYTES: Final = 8
_BEGIN_GAIN: Final = 2.885  # of bbr while it doubles: 2 / ln 2
_CONGESTION_NAME_BYTES: Final = 16
_ALWAYS_THERE: Final = "reno"


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What to ask for.

    Attributes:
        congestion_control: Names in the order of preference; empty leaves the system's.
        unsent_bytes: What may wait in the kernel, behind what is in flight.
        near_unsent_bytes: The same where a round trip takes less than a millisecond. Little: it is
            still in the processor's caches when it is copied the second time. On a longer path
            so little lets bbr lose more, and find a lower rate later.
        dead_ms: Bytes that are not acknowledged for so long end the connection.
    """

    congestion_control: tuple[str, ...] = ("bbr", "cubic")
    unsent_bytes: int = 131_072
    near_unsent_bytes: int = 65_536
    dead_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Granted:
    """What a socket got: the congestion control in use, and the names of what it did not get."""

    congestion_control: str
    missing: tuple[str, ...]


def tune(connection: socket.socket, options: SocketOptions) -> Granted:
    """Ask for all options; none of them is needed."""
    tcp = socket.IPPROTO_TCP
    wanted = (
        ("TCP_NODELAY", socket.TCP_NODELAY, 1),
        ("TCP_NOTSENT_LOWAT", _NOTSENT_LOWAT, _unsent_bytes(connection, options)),
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT, options.dead_ms),
    )
    missing = [
        name
        for name, option, value in wanted
        if option is None or not _set(connection, tcp, option, value)
    ]
    askable = askable_send_buffer_bytes()
    if askable > grown_send_buffer_bytes_max():
        _set(connection, socket.SOL_SOCKET, socket.SO_SNDBUF, askable // 2)
    if not any(_set_congestion(connection, name) for name in options.congestion_control):
        missing += ["TCP_CONGESTION"] if options.congestion_control else []
    if _MAX_PACING_RATE is None:
        missing.append("SO_MAX_PACING_RATE")
    return Granted(congestion_control(connection), tuple(missing))


def send_buffer_bytes_max() -> int:
    """Return how large a data stream's send buffer is at most, the kernel's overhead included."""
    return max(askable_send_buffer_bytes(), grown_send_buffer_bytes_max())


def grown_send_buffer_bytes_max() -> int:
    """Return up to where the kernel lets a send buffer grow by itself: `tcp_wmem`'s most."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(_WMEM.read_text().split()[2])
    return _GROWN_BYTES_MAX


def askable_send_buffer_bytes() -> int:
    """Return what SO_SNDBUF gives at most: twice `wmem_max` (socket(7)); 0 if unknown."""
    with contextlib.suppress(OSError, ValueError):
        return 2 * int(_WMEM_MAX.read_text())
    return 0


def keep_trying(connection: socket.socket) -> None:
    """Let lost bytes be sent again each second, or each two round trips where those are longer.

    The kernel doubles the time between repetitions up to two minutes, so that a connection that
    outlives a cut stays silent for as long again. Call it now and then: round trips change, and a
    limit below them would repeat what is only late.
    """
    if _RTO_MAX_MS is None or _INFO is None:
        return
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _INFO, _RTT_AT + 8)
    except OSError:
        return  # it is over
    rtt_us, deviation_us = struct.unpack_from("=II", info, _RTT_AT)
    _set(connection, socket.IPPROTO_TCP, _RTO_MAX_MS, rto_max_ms(rtt_us, deviation_us))


def wake_at(connection: socket.socket, size_bytes: int) -> bool:
    """Let who waits for bytes be woken when there are so many; False where that cannot be had.

    Where the receive buffer is not far larger yet, the kernel would make it so, and then not let it
    grow: `tcp_set_rcvlowat` sets `window_clamp`. The end of a connection wakes at once, and so does
    a buffer that is full.
    """
    if _WAKE_BYTES is None:
        return False
    buffer_bytes = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size_bytes * _GROWN_TIMES <= buffer_bytes and _set(
        connection, socket.SOL_SOCKET, _WAKE_BYTES, size_bytes
    )


def rto_max_ms(rtt_us: int, deviation_us: int) -> int:
    """Return how long a repetition may wait at most: twice what RFC 6298 waits for the first."""
    return max(RTO_MAX_MS_LEAST, 2 * (rtt_us + 4 * deviation_us) // 1_000)


def _unsent_bytes(connection: socket.socket, options: SocketOptions) -> int:
    try:
        info = (
            b""
            if _INFO is None
            else connection.getsockopt(socket.IPPROTO_TCP, _INFO, _MIN_RTT_AT + 4)
        )
    except OSError:  # it is over
        info = b""
    is_told = len(info) == _MIN_RTT_AT + 4
    least_us = struct.unpack_from("=I", info, _MIN_RTT_AT)[0] if is_told else 0
    return options.near_unsent_bytes if 0 < least_us < _NEAR_RTT_US else options.unsent_bytes


def expected_control(options: SocketOptions) -> str:
    """Return the congestion control that a socket tuned so gets on this machine."""
    with socket.socket() as trial:
        return tune(trial, options).congestion_control


def congestion_control(connection: socket.socket) -> str:
    """Return the congestion control in use, empty where the system does not say."""
    if _CONGESTION is None:
        return ""
    try:
        name: bytes = connection.getsockopt(socket.IPPROTO_TCP, _CONGESTION, _CONGESTION_NAME_BYTES)
    except OSError:
        return ""
    return name.rstrip(b"\0").decode()


def pace(connection: socket.socket, bytes_per_s: float | None) -> bool:
    """Limit what a socket sends; None for no limit. False where that cannot be had."""
    if _MAX_PACING_RATE is None:
        return False
    rate = _UNPACED if bytes_per_s is None else max(1, int(bytes_per_s))
    return _set(
        connection, socket.SOL_SOCKET, _MAX_PACING_RATE, rate.to_bytes(_RATE_BYTES, "little")
    )


def begin_anew(connection: socket.socket, delivered_bytes_per_s: float) -> None:
    """Let a stream's congestion control forget what it knows, and find the path's rate again.

    The kernel ignores that the one in use is asked for, so another one is in between for a moment.
    bbr would begin at its window in 0.35 of a round trip, some six times what is delivered, and
    while it looks for the rate it never sends slower than before. That empties the send buffer at
    once, and for a stream that has nothing to send bbr looks on for ever. So it begins at the rate
    that its first round trip would give.

    Args:
        connection: The socket.
        delivered_bytes_per_s: What it delivers now.
    """
    name = congestion_control(connection)
    if not name or not _set_congestion(connection, _ALWAYS_THERE):
        return
    _set_congestion(connection, name)
    if _MAX_PACING_RATE is not None:
        limit = connection.getsockopt(socket.SOL_SOCKET, _MAX_PACING_RATE, _RATE_BYTES)
        pace(connection, _BEGIN_GAIN * delivered_bytes_per_s)  # what is set now is lowered, too
        _set(connection, socket.SOL_SOCKET, _MAX_PACING_RATE, limit)


def _set_congestion(connection: socket.socket, name: str) -> bool:
    return _CONGESTION is not None and _set(
        connection, socket.IPPROTO_TCP, _CONGESTION, name.encode()
    )


def _set(connection: socket.socket, level: int, option: int, value: int | bytes) -> bool:
    try:
        connection.setsockopt(level, option, value)
    except OSError:
        return False
    return True
