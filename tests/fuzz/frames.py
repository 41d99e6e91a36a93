"""Feed damaged and hostile frames to whatever reads frames of a peer: `make fuzz-frames`.

    python -m tests.fuzz.frames [--count 10000000] [--seed N] [--json]

Four readers take turns: a data stream (decoder and reassembler, units and an object), an inbound
and an outbound session, and the first frame of a connection. Most frames have a right header check,
so that they get behind it. Allowed are our own protocol errors; each ends what was fed, as it would
end a connection, and a fresh one goes on. Another exception, a frame that takes longer than a
second, or buffers beyond their limits end the run with exit code 1.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

import xxhash

from schemas.errors import PeerRefusedError, ProtocolError
from tests.support.sessions import established, outbound
from transport.amst.decoder import StreamDecoder
from transport.amst.limits import FRAMES_AHEAD_MAX
from transport.amst.objects import IncomingObject, OutgoingObject
from transport.amst.reassembly import FlowLimits, Reassembler
from transport.frame import (
    FLAG_LAST,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    PAYLOAD_BYTES_MAX,
    UNIT_FRAME_BYTES_MAX,
    Frame,
    FrameType,
    Header,
    encode_frame,
    encode_header,
)
from transport.session.handshake import Greeting
from transport.session.objects import IncomingObjects, Shelf

FLOW: Final = 1
OBJECT: Final = 16
WINDOW_BYTES: Final = 4_096
UNIT_BYTES_MAX: Final = 2_048
FRAME_S_MAX: Final = 1.0
ROUND: Final = 64  # frames of one connection at most
Feed = Callable[[bytes], None]


@dataclass
class FuzzReport:
    """What came of it; `wrong` is empty when nothing was."""

    frames: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    buffered_bytes_max: int = 0
    wrong: list[str] = field(default_factory=list)


class Maker:
    """Makes frames: right ones, right ones with one thing changed, and noise."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._next = 0
        out, into = established()
        thing = OutgoingObject(bytes(16), "x", bytes(9_000), 4_096)
        out.offer(thing)
        out.tell_sum(OBJECT, thing.sum())
        out.send_heartbeat(None, 0, 0)
        into.want(OBJECT, [(0, 4_096)])
        into.take_object(OBJECT, is_whole=True)
        into.send_heartbeat(None, 0, 0)
        self._said = [outbound().control_to_send(), out.attach(3)]
        self._said += [out.control_to_send(), into.control_to_send()]

    def frame(self) -> bytes:
        """Return the bytes of one frame, or of some that belong together."""
        kind = self._dice.random()
        if kind < 0.45:
            data = self._unit()
        elif kind < 0.6:
            data = self._chunk()
        elif kind < 0.8:
            data = self._dice.choice(self._said)
        elif kind < 0.95:
            data = self._hostile()
        else:
            data = self._dice.randbytes(self._dice.randint(1, 200))
        return self._damaged(data) if self._dice.random() < 0.08 else data

    def begin(self) -> None:
        """Begin a connection."""
        self._next = 0

    def _unit(self) -> bytes:
        step = self._dice.choice((0, 0, 0, 0, 1, 2, -1, 40))
        sequence = max(0, self._next + step)
        self._next += step == 0
        flags = self._dice.choice((FLAG_LAST, FLAG_LAST, 0))
        return encode_frame(Frame(FrameType.UNIT, self._payload(), FLOW, sequence, flags))

    def _chunk(self) -> bytes:
        offset = self._dice.choice((0, 4_096, 8_192, 8_192, 4_095, 1 << 63))
        size = self._dice.choice((4_096, 4_096, 808, 1))
        return encode_frame(Frame(FrameType.CHUNK, bytes(size), OBJECT, offset))

    def _hostile(self) -> bytes:
        """Any header that has a right check, before any payload; often not all of it."""
        dice = self._dice
        payload = self._payload()
        length = dice.choice(
            (len(payload), len(payload), PAYLOAD_BYTES_MAX, 1 << 20, 1 << 22, (1 << 32) - 1)
        )
        digest = dice.choice((xxhash.xxh3_64_intdigest(payload), 0))
        number = dice.choice((0, self._next, FRAMES_AHEAD_MAX, (1 << 64) - 1, dice.getrandbits(64)))
        kind = dice.choice((*FrameType, 0, 99))
        if not isinstance(kind, FrameType):
            bare = HEADER.pack(MAGIC, 1, kind, 0, 0, 0, length, 0, 0)
            check = xxhash.xxh3_64_intdigest(bare) & 0xFFFF
            return HEADER.pack(MAGIC, 1, kind, 0, check, 0, length, 0, 0)
        flow = dice.choice((FLOW, OBJECT, 0, (1 << 32) - 1))
        flags = dice.choice((0, 1, 0xFFFF))
        return encode_header(Header(kind, flags, flow, length, number, digest)) + payload

    def _payload(self) -> bytes:
        return self._dice.randbytes(self._dice.choice((0, 1, 16, 60, 60, 300, 1_500)))

    def _damaged(self, data: bytes) -> bytes:
        changed = bytearray(data)
        place = self._dice.randrange(self._dice.choice((min(HEADER_BYTES, len(data)), len(data))))
        changed[place] ^= 1 << self._dice.randrange(8)
        return bytes(changed[: self._dice.choice((len(changed), len(changed), place + 1))])


class DataStream:
    """A data stream's reader, with the bounds that it must keep."""

    def __init__(self, report: FuzzReport) -> None:
        self._report = report
        self._taking = Reassembler({FLOW: FlowLimits(WINDOW_BYTES, UNIT_BYTES_MAX)})
        self._taking.open_object(OBJECT, IncomingObject("x", 9_000, 4_096))
        self._decoder = StreamDecoder(partial(self._taking.place, 1))

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        for header, payload in self._decoder.feed(data):
            self._taking.land(1, header, payload)
        self._taking.report()
        flow = self._taking._flows[FLOW]
        held = flow._ahead_bytes + flow._parts_bytes
        limit = WINDOW_BYTES + UNIT_FRAME_BYTES_MAX + UNIT_BYTES_MAX
        self._report.buffered_bytes_max = max(held, self._report.buffered_bytes_max)
        if held > limit or len(flow._ahead) > FRAMES_AHEAD_MAX:
            self._report.wrong.append(f"{held:,} bytes in {len(flow._ahead)} frames are held")


def inbound_session() -> Feed:
    """Return what reads the control connection of an inbound session, objects included."""
    _, into = established()
    objects = IncomingObjects(into, Reassembler({}), Shelf(1 << 16), lambda _: None)

    def feed(data: bytes) -> None:
        for event in into.receive_control(data, 0, 0):
            match type(event).__name__:
                case "Offered":
                    objects.on_offered(event)  # type: ignore[arg-type]
                case "SumKnown":
                    objects.on_sum(event)  # type: ignore[arg-type]
        into.control_to_send()

    return feed


def outbound_session() -> Feed:
    """Return what reads the control connection of an outbound session."""
    out, _ = established()

    def feed(data: bytes) -> None:
        out.receive_control(data, 0, 0)
        out.control_to_send()

    return feed


def first_frame() -> Feed:
    """Return what reads the first frame of a connection."""
    greeting = Greeting()

    def feed(data: bytes) -> None:
        greeting.feed(data)

    return feed


def run(seed: int, count: int, report: FuzzReport) -> None:
    """Feed frames to readers that are made anew whenever they refuse."""
    dice = Random(seed)
    maker = Maker(dice)
    readers: list[Callable[[], Feed]] = [
        *[lambda: DataStream(report).feed] * 6,
        inbound_session,
        outbound_session,
        first_frame,
    ]
    end = report.frames + count
    while report.frames < end and not report.wrong:
        feed = dice.choice(readers)()
        maker.begin()
        for _ in range(min(ROUND, end - report.frames)):
            report.frames += 1
            if not _is_taken(feed, maker.frame(), report):
                break


def _is_taken(feed: Feed, data: bytes, report: FuzzReport) -> bool:
    began = time.perf_counter()
    try:
        feed(data)
    except (ProtocolError, PeerRefusedError) as error:
        report.refused[error.reason] += 1
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        report.wrong.append(f"{type(error).__name__}: {error} by {data[:80].hex()}")
        return False
    finally:
        took_ms = (time.perf_counter() - began) * 1_000
        report.slowest_ms = max(took_ms, report.slowest_ms)
    return True


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report, seed, began = FuzzReport(), options.seed, time.monotonic()
    run(seed, min(10_000, options.count), report)  # what is imported late is not growth
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while report.frames < options.count and not report.wrong:
        seed += 1
        run(seed, min(10_000, options.count - report.frames), report)
    if report.slowest_ms > FRAME_S_MAX * 1_000:
        report.wrong.append(f"a frame took {report.slowest_ms:.0f} ms")
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    result: dict[str, Any] = {
        "frames": report.frames,
        "refused": dict(sorted(report.refused.items())),
        "wrong": len(report.wrong),
        "first_wrong": report.wrong[:3],
        "slowest_ms": round(report.slowest_ms, 3),
        "buffered_bytes_max": report.buffered_bytes_max,
        "peak_memory_grew_mib": round(grown_mib, 1),
        "seconds": round(time.monotonic() - began, 1),
        "seeds": [options.seed, seed],
    }
    sys.stderr.write(f"{result}\n")
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
