"""What each step from raw sockets to our link costs on loopback: CPU of both ends, and goodput.

    python -m benchmarks.link.ladder [--repeat 5] [--seconds 2]

Every step has four streams with a thread each and does all that the one before it does; the last is
our own link. Repeats are interleaved.

    python -m benchmarks.link.ladder receive HOST STREAMS STEP
    python -m benchmarks.link.ladder send HOST PORT STREAMS STEP
"""

import argparse
import os
import socket
import statistics
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import xxhash

from benchmarks.link.raw import Count, give_all, take_all
from benchmarks.link.rivals import Figures, Window, measure_pair
from benchmarks.link.scenarios import SCENARIOS
from benchmarks.link.site import open_site
from benchmarks.link.worker import BLOCK_BYTES
from transport.aio.memory import keep_large_buffers
from transport.aio.options import SocketOptions, tune
from transport.frame import UNIT_FRAME_BYTES_MAX

STREAMS: Final = 4
BLOCKS: Final = "blocks"
LARGE: Final = "large"
FRESH: Final = "fresh"
TUNED: Final = "tuned"
HASHED: Final = "hashed"
HELD: Final = "held"
HELD_BUFFERS: Final = 4  # with us, frames ahead of their turn are held until it comes
STEPS: Final = {
    BLOCKS: "raw sockets, blocks of 256 KiB, one buffer a stream",
    LARGE: "blocks of 4 MiB, waited for as a whole",
    FRESH: "each into a buffer of its own",
    TUNED: "our socket options",
    HASHED: "xxh3-64 of each block on both ends",
    HELD: "the last four buffers of each stream are held",
}
OURS: Final = "our link"


def receive(host: str, stream_count: int, step: str) -> None:
    """Take blocks and count their bytes."""
    keep_large_buffers()

    def take(connection: socket.socket, count: Count) -> None:
        size = BLOCK_BYTES if step == BLOCKS else UNIT_FRAME_BYTES_MAX
        flags = 0 if step == BLOCKS else socket.MSG_WAITALL
        held: deque[memoryview] = deque(maxlen=HELD_BUFFERS if step == HELD else 0)
        buffer = np.empty(size, np.uint8).data
        while got := connection.recv_into(buffer, 0, flags):
            count(got)
            if step in (HASHED, HELD):
                xxhash.xxh3_64_intdigest(buffer)
            held.append(buffer)
            if step not in (BLOCKS, LARGE):
                buffer = np.empty(size, np.uint8).data

    take_all(host, stream_count, take)


def send(host: str, port: int, stream_count: int, step: str) -> None:
    """Send as fast as it goes."""
    block = os.urandom(BLOCK_BYTES if step == BLOCKS else UNIT_FRAME_BYTES_MAX)
    connections = [socket.create_connection((host, port)) for _ in range(stream_count)]

    def give(connection: socket.socket) -> None:
        while True:
            if step in (HASHED, HELD):
                xxhash.xxh3_64_intdigest(block)
            connection.sendall(block)

    if step in (TUNED, HASHED, HELD):
        for connection in connections:
            tune(connection, SocketOptions(congestion_control=()))
    give_all(connections, give)


def measure(step: str, seconds: float) -> Figures:
    """Measure one step once."""
    (loopback,) = (one for one in SCENARIOS if one.shape is None)
    window = Window(0.5, seconds)
    with open_site(loopback) as site:
        if step == OURS:
            words = (STREAMS, loopback.control)
            return measure_pair(site, "benchmarks.link.ours", (STREAMS,), words, window)
        words = (STREAMS, step)
        return measure_pair(site, "benchmarks.link.ladder", words, words, window)


def run(repeats: int, seconds: float, told: Callable[[str], None]) -> None:
    """Measure all steps and tell a line for each."""
    found: dict[str, list[Figures]] = {step: [] for step in (*STEPS, OURS)}
    for _ in range(repeats):
        for step, figures in found.items():
            figures.append(measure(step, seconds))
    for step, figures in found.items():
        goodput = [one["goodput_mbit_s"] for one in figures]
        cpu = statistics.median(one["cpu_s_per_gb"] for one in figures)
        rates = f"{statistics.median(goodput):7,.0f} ({min(goodput):,.0f} to {max(goodput):,.0f})"
        told(f"{STEPS.get(step, step):52} {rates} Mbit/s  {cpu:.3f} CPU s/GB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    words = parser.parse_args()
    run(words.repeat, words.seconds, print)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive", host, streams, step]:
            receive(host, int(streams), step)
        case ["send", host, port, streams, step]:
            send(host, int(port), int(streams), step)
        case _:
            main()
