"""Does the emulated WAN keep to what it is told?

    python -m benchmarks.wan.check [--seconds S] [--json]

Round trip by UDP echo on the idle path, rate and loss by a UDP flood a little above the line's
rate, and what one TCP stream of each congestion control makes of it. Asked and measured stand
beside each other, and how many packets the emulator itself was too slow for.
"""

import argparse
import contextlib
import json
import socket
import statistics
import sys
import threading
import time
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.wan.emulator import A_ADDRESS, B_ADDRESS, EmulatedWan, LinkShape, why_missing
from dwcp.machine import machine

SHAPES: Final = (
    LinkShape(10, 100),
    LinkShape(100, 20, loss=0.01),
    LinkShape(400, 80, loss=0.001),
    LinkShape(400, 80, burst_enter=0.0002, burst_leave=0.2, burst_loss=0.5),
    LinkShape(800, 200),
)
HEADER_BYTES: Final = 28  # IP and UDP
DATAGRAM_BYTES: Final = 1_472
PROBES: Final = 30
CONTROLS: Final = ("bbr", "cubic")

console = Console(stderr=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = why_missing()
    if missing is not None:
        sys.exit(missing)
    rows = [measure(shape, options.seconds) for shape in SHAPES]
    console.print(_table(rows))
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine(), "rows": rows}) + "\n")


def measure(shape: LinkShape, seconds: float) -> dict[str, Any]:
    """Return what a shape asks for and what is seen."""
    with EmulatedWan(shape) as wan:
        row = {
            "rate_mbit_s": shape.rate_mbit_s,
            "rtt_ms": shape.rtt_ms,
            "loss": _expected_loss(shape),
            "rtt_ms_seen": _round_trip_ms(wan),
            **_flood(wan, shape, seconds),
        }
        for control in CONTROLS:
            row[f"tcp_{control}_mbit_s"] = _tcp(wan, control, seconds)
        counters = wan.counters()
        row["too_slow_packets"] = sum(
            counters[way][name] for way in counters for name in ("overruns", "refused")
        )
    return row


def _expected_loss(shape: LinkShape) -> float:
    entering, leaving = shape.burst_enter, shape.burst_leave
    bad = entering / (entering + leaving) if entering else 0.0
    return bad * shape.burst_loss + (1 - bad) * shape.loss


def _round_trip_ms(wan: EmulatedWan) -> float:
    here, there = wan.socket("a", socket.SOCK_DGRAM), wan.socket("b", socket.SOCK_DGRAM)
    times: list[float] = []
    with here, there:
        there.bind((B_ADDRESS, 7_000))
        here.bind((A_ADDRESS, 7_000))
        here.settimeout(1)
        there.settimeout(1)
        while len(times) < PROBES:
            began = time.perf_counter()
            here.sendto(b"probe", (B_ADDRESS, 7_000))
            with contextlib.suppress(TimeoutError):  # a lost probe is sent again
                there.sendto(there.recv(100), (A_ADDRESS, 7_000))
                here.recv(100)
                times.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(times), 2)


def _flood(wan: EmulatedWan, shape: LinkShape, seconds: float) -> dict[str, float]:
    """Send 5 % more than the line takes, and count at the relay."""
    with wan.socket("a", socket.SOCK_DGRAM) as sender:
        datagram = bytes(DATAGRAM_BYTES)
        per_s = shape.rate_mbit_s * 1e6 / 8 / (DATAGRAM_BYTES + HEADER_BYTES) * 1.05
        before, began, sent = wan.counters()["ab"], time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            while sent < passed * per_s:
                sender.sendto(datagram, (B_ADDRESS, 9))
                sent += 1
            time.sleep(0.0005)
        after, passed = wan.counters()["ab"], time.perf_counter() - began
    seen = {name: after[name] - before[name] for name in after}
    return {
        "rate_mbit_s_seen": round(seen["bytes"] * 8e-6 / passed, 2),
        "loss_seen": round(seen["loss_drops"] / max(1, seen["packets"]), 6),
    }


def _tcp(wan: EmulatedWan, control: str, seconds: float) -> float:
    """Return what one stream delivers in the second half of the time."""
    with wan.socket("b") as listener, wan.socket("a") as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((B_ADDRESS, 7_001))
        listener.listen()
        sender.connect((B_ADDRESS, 7_001))
        receiver, _ = listener.accept()
        sending = threading.Thread(target=_send_all, args=(sender,), daemon=True)
        sending.start()
        with receiver:
            _receive(receiver, seconds)
            began = time.perf_counter()
            received = _receive(receiver, seconds)
            passed = time.perf_counter() - began
        sending.join()
    return round(received * 8e-6 / passed, 1)


def _send_all(sender: socket.socket) -> None:
    block = bytes(1 << 18)
    with contextlib.suppress(ConnectionError):  # the receiver closes when its time is over
        while True:
            sender.sendall(block)


def _receive(receiver: socket.socket, seconds: float) -> int:
    buffer, received = bytearray(1 << 18), 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        received += receiver.recv_into(buffer)
    return received


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, title="asked / seen", title_justify="left")
    names = ("rate Mbit/s", "RTT ms", "loss %", "TCP bbr", "TCP cubic", "emulator too slow")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['rate_mbit_s']:g} / {row['rate_mbit_s_seen']:g}",
            f"{row['rtt_ms']:g} / {row['rtt_ms_seen']:g}",
            f"{row['loss'] * 100:.3g} / {row['loss_seen'] * 100:.3g}",
            f"{row['tcp_bbr_mbit_s']:g}",
            f"{row['tcp_cubic_mbit_s']:g}",
            f"{row['too_slow_packets']} packets",
        )
    return table


if __name__ == "__main__":
    main()
