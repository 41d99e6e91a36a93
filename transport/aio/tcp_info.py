"""What the kernel knows of a TCP connection: Linux' `TCP_INFO`, read by length.

Older kernels give a shorter structure: what they do not know stays 0. Other systems have no
`TCP_INFO` of this form, and the answer is None.

=======  ==========================  =====================================
at byte  `struct tcp_info`           here
=======  ==========================  =====================================
16       `tcpi_snd_mss` u32          to turn segments into bytes
68       `tcpi_rtt` u32, us          `rtt_us`
80       `tcpi_snd_cwnd` u32         `congestion_window_bytes`
100      `tcpi_total_retrans` u32    `repeated_bytes` of kernels before 4.19
120      `tcpi_bytes_acked` u64      `acked_bytes`
144      `tcpi_notsent_bytes` u32    `unsent_bytes`
148      `tcpi_min_rtt` u32, us      `min_rtt_us`
160      `tcpi_delivery_rate` u64    `delivered_bytes_per_s`
168      `tcpi_busy_time` u64, us    `busy_us`
176      `tcpi_rwnd_limited` u64     `receive_window_limited_us`
184      `tcpi_sndbuf_limited` u64   `send_buffer_limited_us`
200      `tcpi_bytes_sent` u64       `sent_bytes`
208      `tcpi_bytes_retrans` u64    `repeated_bytes`
=======  ==========================  =====================================

Source: include/uapi/linux/tcp.h, whose fields only ever grow at the end.
"""

import socket
import struct
import sys
from typing import Final

from transport.aio.options import congestion_control
from transport.amst.samples import StreamReading

_BYTES_MAX: Final = 512
_RTT_UNKNOWN: Final = 0xFFFFFFFF  # min_rtt before the first measurement
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None


def read_tcp_info(connection: socket.socket) -> StreamReading | None:
    """Return what the kernel knows; None where it does not tell, or the connection is gone."""
    if _TCP_INFO is None:
        return None
    try:
        content = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_MAX)
    except OSError:
        return None
    return parse_tcp_info(content, congestion_control(connection))


def parse_tcp_info(content: bytes, congestion_control: str = "") -> StreamReading:
    """Read the structure as far as it goes; see the table above."""
    mss_bytes = _u32(content, 16)
    sent, acked = _u64(content, 200), _u64(content, 120)
    min_rtt_us = _u32(content, 148)
    return StreamReading(
        congestion_control=congestion_control,
        acked_bytes=acked,
        sent_bytes=sent or acked,
        repeated_bytes=_u64(content, 208) or _u32(content, 100) * mss_bytes,
        rtt_us=_u32(content, 68),
        min_rtt_us=0 if min_rtt_us == _RTT_UNKNOWN else min_rtt_us,
        congestion_window_bytes=_u32(content, 80) * mss_bytes,
        unsent_bytes=_u32(content, 144),
        delivered_bytes_per_s=_u64(content, 160),
        busy_us=_u64(content, 168),
        send_buffer_limited_us=_u64(content, 184),
        receive_window_limited_us=_u64(content, 176),
    )


def _u32(content: bytes, at: int) -> int:
    return int(struct.unpack_from("=I", content, at)[0]) if len(content) >= at + 4 else 0


def _u64(content: bytes, at: int) -> int:
    return int(struct.unpack_from("=Q", content, at)[0]) if len(content) >= at + 8 else 0
