"""Throw nonsense at an encrypted door, as a stranger and as a region that was let in.

    python -m tests.fuzz.door [--frames 10000000] [--seconds S] [--seed N] [--json]

A process of a stranger says nonsense without a certificate; one of a certified region shakes hands
and then sends frames on control and data connections: random bytes in right frames, damaged frames,
right messages with random contents. All the while an honest peer ships records through the same
door, and is timed before and during it. Ends with exit code 1 when the honest peer lost its session
or a record, when a connection ended for a reason that is no word of ours, or when connections or
memory passed their bounds.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil

from schemas import access_errors, errors
from schemas.errors import DwcpError
from tests.support.attacks import trusting
from tests.support.certs import Certificates
from tests.support.links import (
    PARTITION_COUNT,
    SETTINGS,
    Link,
    Region,
    assert_same,
    has_all,
    shipping,
)
from tests.support.waiting import until
from transport.aio.connection import split_address
from transport.aio.door import CONNECTIONS_MAX, HALF_OPEN_MAX
from transport.aio.tls import TlsFiles
from transport.frame import Frame, FrameType, encode_frame
from transport.messages import message_frame
from transport.session.events import Identity
from transport.session.outbound import OutboundSession

PATIENT: Final = replace(SETTINGS, silence_ms=5_000)
FRA: Final = Identity("test", "fra", "fra-1", "hash", PARTITION_COUNT)
GROWTH_MIB_MAX: Final = 128
FRAMES_PER_CONNECTION: Final = 200
_PACE_S: Final = 0.1
_WAIT_S: Final = 30.0


@dataclass
class Seen:
    """What the honest peer's records took, and the most that the door held."""

    before_ms: list[float] = field(default_factory=list)
    during_ms: list[float] = field(default_factory=list)
    open_most: int = 0
    memory_most_mib: float = 0.0


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=0.0, help="end earlier; 0 is never")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(fuzz(options.frames, options.seconds or float("inf"), options.seed))
    sys.stderr.write(f"{result}\n")
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 1 if result["wrong"] else 0


async def fuzz(frames: int, seconds: float, seed: int) -> dict[str, Any]:
    """Attack a door until so many frames were sent, or so long."""
    with tempfile.TemporaryDirectory(prefix="dwcp-fuzz-") as folder:
        certificates = Certificates(Path(folder))
        iad, ams = Region("iad"), Region("ams")
        iad.tls, ams.tls = certificates.tls("iad"), certificates.tls("ams")
        files = certificates.files("fra")
        async with (
            iad.listening(PATIENT) as receiver,
            shipping(ams, "iad", iad.address, settings=PATIENT) as link,
        ):
            await until(lambda: link.status.state == "up", _WAIT_S, "the honest link")
            seen = Seen()
            watched = (receiver._door, link, seen)
            await _time_records(ams, iad, seen.before_ms, lambda: len(seen.before_ms) >= 50)
            before_mib = seen.memory_most_mib = _memory_mib()
            began_s = time.monotonic()
            with _attackers(iad.address, files, seed) as counts:

                def is_over() -> bool:
                    _note(*watched)
                    too_long = time.monotonic() - began_s > seconds
                    return too_long or counts[0] + counts[2] >= frames

                await _time_records(ams, iad, seen.during_ms, is_over)
            took_s = time.monotonic() - began_s
            wrong = _wrong(ams, iad, receiver.refused, watched, before_mib)
            return {
                "frames": {"stranger": counts[0], "certified": counts[2]},
                "connections": {"stranger": counts[1], "certified": counts[3]},
                "seconds": round(took_s, 1),
                "refused": dict(receiver.refused),
                "honest_records": iad.count("dwcp.replica.state"),
                "honest_sessions": link.status.sessions,
                "before_ms": _quantiles(seen.before_ms),
                "during_ms": _quantiles(seen.during_ms),
                "open_connections_most": seen.open_most,
                "memory_mib": {
                    "before": round(before_mib, 1),
                    "most": round(seen.memory_most_mib, 1),
                },
                "wrong": wrong,
            }


async def _time_records(ams: Region, iad: Region, times_ms: list[float], is_over: Any) -> None:
    """Ship some records ten times a second, and note how long they took; looked at every 20 ms.

    Both logs are in memory and keep them: some 1.6 KiB a record of what the memory grows by.
    """
    while not is_over():
        began_s = time.monotonic()
        await ams.produce(1)
        await until(has_all(iad, ams), _WAIT_S, "the honest peer's records")
        times_ms.append((time.monotonic() - began_s) * 1_000)
        await until(lambda: time.monotonic() - began_s > _PACE_S, _WAIT_S, "the next")  # noqa: B023 - called at once


def _note(door: Any, _: Link, seen: Seen) -> None:
    seen.open_most = max(seen.open_most, door.open_count)
    seen.memory_most_mib = max(seen.memory_most_mib, _memory_mib())


def _wrong(
    ams: Region, iad: Region, refused: dict[str, int], watched: Any, before_mib: float
) -> list[str]:
    _, link, seen = watched
    wrong = []
    try:
        assert_same(iad, ams)
    except AssertionError:
        wrong.append("the honest peer's records are not what it shipped")
    if link.status.sessions != 1:
        wrong.append(f"the honest peer needed {link.status.sessions} sessions: {link.status.error}")
    unknown = refused.keys() - _reasons()
    if unknown:
        wrong.append(f"connections ended for {sorted(unknown)}")
    if seen.open_most > CONNECTIONS_MAX + HALF_OPEN_MAX:
        wrong.append(f"{seen.open_most} connections were open")
    if seen.memory_most_mib - before_mib > GROWTH_MIB_MAX:
        wrong.append(f"memory grew by {seen.memory_most_mib - before_mib:.0f} MiB")
    return wrong


def _reasons() -> set[str]:
    kinds = [*vars(errors).values(), *vars(access_errors).values()]
    ours = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, DwcpError)}
    return {kind.__name__.removesuffix("Error") for kind in ours} | {"NotAccepted"}


def _quantiles(times_ms: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times_ms, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "samples": len(times_ms)}


def _memory_mib() -> float:
    return float(psutil.Process().memory_info().rss) / (1 << 20)


@contextlib.contextmanager
def _attackers(address: str, files: TlsFiles, seed: int) -> Iterator[Any]:
    """Run two processes of attackers; yields frames and connections of each, as they count."""
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 4, lock=False)
    processes = [
        context.Process(target=attack, args=(address, files, seed + at, counts, at), daemon=True)
        for at in range(2)
    ]
    for process in processes:
        process.start()
    try:
        yield counts
    finally:
        for process in processes:
            process.kill()
            process.join()


def attack(address: str, files: TlsFiles, seed: int, counts: Any, at: int) -> None:
    """Attack for ever: the first process as a stranger, the second as a certified region."""
    dice = random.Random(seed)
    context = trusting(files) if at else None
    while True:
        with contextlib.suppress(OSError), _connected(address, context) as connection:
            sent = _as_region(dice, connection, address, context) if context else 0
            sent += _burst(dice, connection)
            counts[2 * at] += sent
        counts[2 * at + 1] += 1


@contextlib.contextmanager
def _connected(address: str, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    with socket.create_connection(split_address(address), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            yield connection
        else:
            with context.wrap_socket(connection) as encrypted:
                yield encrypted


def _as_region(
    dice: random.Random, control: socket.socket, address: str, context: ssl.SSLContext
) -> int:
    """Shake hands as fra does, mostly, and send frames on a data connection, too."""
    if dice.random() < 0.2:
        return 0
    session = OutboundSession(FRA, "iad", PATIENT, time.monotonic_ns())
    control.sendall(session.control_to_send())
    while not session.is_established:
        data = control.recv(1 << 16)
        if not data:
            return 1
        session.receive_control(data, time.monotonic_ns(), 0)
    control.sendall(b"".join(_heartbeat(dice) for _ in range(FRAMES_PER_CONNECTION)))
    if dice.random() < 0.5:
        return 1 + FRAMES_PER_CONNECTION
    with _connected(address, context) as data_connection:
        data_connection.sendall(session.attach(1))
        return 2 + FRAMES_PER_CONNECTION + _burst(dice, data_connection, FrameType.UNIT)


def _heartbeat(dice: random.Random) -> bytes:
    """A right message of random contents."""
    names = ("sent_ms", "echo_ms", "echo_delay_ms", "wall_ms")
    record = {name: dice.getrandbits(63) - (1 << 62) for name in names}
    return encode_frame(message_frame(FrameType.HEARTBEAT, {**record, "digest": None}))


def _burst(dice: random.Random, connection: socket.socket, kind: FrameType | None = None) -> int:
    """Send frames until the door hangs up; returns how many went out."""
    frames = [_frame(dice, kind) for _ in range(dice.randrange(1, FRAMES_PER_CONNECTION))]
    connection.sendall(b"".join(frames))
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 16):
        pass
    return len(frames)


def _frame(dice: random.Random, kind: FrameType | None) -> bytes:
    choice = dice.random()
    if choice < 0.1:
        return dice.randbytes(dice.randrange(1, 300))
    chosen = kind or dice.choice(list(FrameType))
    payload = dice.randbytes(dice.choice((0, 1, 16, 40, 300)))
    flow, sequence = dice.choice((0, 1, dice.getrandbits(32))), dice.choice((0, 1, 2, 1 << 63))
    frame = bytearray(encode_frame(Frame(chosen, payload, flow, sequence, dice.randrange(4))))
    if choice < 0.3:
        frame[dice.randrange(len(frame))] ^= 1 << dice.randrange(8)
    return bytes(frame)


if __name__ == "__main__":
    sys.exit(main())
