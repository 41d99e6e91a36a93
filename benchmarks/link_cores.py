"""How many small messages a second go through the cores of a link, on one core?

    python -m benchmarks.link_cores [--messages N] [--bytes 200] [--flush 320] [--json]

Both ends in one thread, no sockets: messages are joined per flush into a unit, encoded, cut into
frames, scheduled, decoded, reassembled, checked against the credit, reported, acknowledged and
taken apart again. The rival sends every message as a frame of its own, through the same frame
codec alone. Median of the repeats, and the spread.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from transport.amst.decoder import StreamDecoder
from transport.amst.packing import pack, unpack
from transport.amst.reassembly import Reassembler
from transport.amst.scheduler import SendScheduler
from transport.amst.traffic import Traffic
from transport.frame import Frame, FrameDecoder, FrameType, encode_frame
from transport.hde.settings import FlowSettings
from transport.session.control import STATE_FLOW
from transport.session.events import Identity, LinkSettings, Reported
from transport.session.inbound import InboundSession, flow_limits
from transport.session.outbound import OutboundSession

REPEATS = 5
REPORT_EVERY = 16  # units; a real receiver reports every 20 ms
console = Console(stderr=True)


class Pair:
    """Both ends of a session, established."""

    def __init__(self, level: int) -> None:
        settings = LinkSettings(flow=FlowSettings(level))
        self.out = OutboundSession(Identity("b", "a", "a-1", "h", 1), "b", settings, 0)
        self.into = InboundSession(Identity("b", "b", "b-1", "h", 1), settings, bytes(16), 0)
        self.into.receive_control(self.out.control_to_send(), 0, 0)
        self.into.welcome({0: 0})
        self.scheduler = SendScheduler()
        self.scheduler.open_flow(STATE_FLOW, 1 << 62)
        self.scheduler.open_stream(1, 0)
        self.decoder = StreamDecoder()
        self.reassembler = Reassembler(flow_limits(settings))
        self.answer()

    def ship(self, unit: bytes) -> list[bytes]:
        """Carry one unit from end to end, and return its messages."""
        encoded = self.out.encode_unit(unit)
        self.scheduler.submit(STATE_FLOW, Traffic.STATE, encoded)
        messages: list[bytes] = []
        while (piece := self.scheduler.take(1, 0)) is not None:
            data = b"".join((piece.header(), piece.payload))
            for header, payload in self.decoder.feed(data):
                for whole in self.reassembler.land(1, header, payload):
                    found = self.into.take_unit(whole.payload)
                    raw = self.into.decode(found)
                    assert raw is not None, "no epoch was refused"
                    messages += unpack(raw)
                    self.into.acknowledge([found], {0: found.sequence})
        return messages

    def answer(self) -> None:
        """Carry reports, acknowledgements and credit back."""
        self.into.report(self.reassembler.report())
        for event in self.out.receive_control(self.into.control_to_send(), 0, 0):
            if isinstance(event, Reported):
                for flow, before, ranges in event.reports:
                    self.scheduler.on_report(flow, before, ranges, 0)


def through_the_link(messages: list[bytes], flush: int, level: int) -> int:
    """Send all messages through both ends, and return how many came out."""
    pair, count = Pair(level), 0
    for number, start in enumerate(range(0, len(messages), flush)):
        count += len(pair.ship(pack(messages[start : start + flush])))
        if number % REPORT_EVERY == 0:
            pair.answer()
    return count


def frame_by_frame(messages: list[bytes], flush: int) -> int:
    """Send every message in a frame of its own; only written and read together."""
    decoder, count = FrameDecoder(), 0
    for start in range(0, len(messages), flush):
        frames = [
            encode_frame(Frame(FrameType.UNIT, message, 1, start + number))
            for number, message in enumerate(messages[start : start + flush])
        ]
        count += len(decoder.feed(b"".join(frames)))
    return count


def rate_of(action: Callable[[], int], count: int) -> dict[str, float]:
    """Return messages a second of CPU time: median, least and most of the repeats."""
    rates = []
    for _ in range(REPEATS):
        began = time.process_time()
        assert action() == count, "all messages came out"
        rates.append(count / (time.process_time() - began))
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=400_000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--flush", type=int, default=320, help="messages in one unit")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    dice = Random(1)
    messages = [dice.randbytes(options.bytes) for _ in range(options.messages)]
    ways: dict[str, Callable[[], int]] = {
        "joined, raw": lambda: through_the_link(messages, options.flush, 0),
        "joined, level 3": lambda: through_the_link(messages, options.flush, 3),
        "rival: a frame each": lambda: frame_by_frame(messages, options.flush),
    }
    table = Table("way", "messages/s", "from", "to", box=None)
    rows: list[dict[str, Any]] = []
    for name, action in ways.items():
        rate = rate_of(action, options.messages)
        rows.append(
            {
                "name": name,
                "messages_per_s": round(rate["median"]),
                "min": round(rate["min"]),
                "max": round(rate["max"]),
            }
        )
        table.add_row(name, *(f"{rate[key]:,.0f}" for key in ("median", "min", "max")))
    console.print(table)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}",
        "messages": options.messages,
        "bytes": options.bytes,
        "flush": options.flush,
        "rows": rows,
    }
    console.print(report["machine"])
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
