"""Our own link: a session, its data streams, framed and checksummed; without log and codec.

    python -m benchmarks.link.ours receive HOST
    python -m benchmarks.link.ours send HOST PORT STREAMS CONTROL [LOAD ...]

Units are submitted as a codec would give them out, and counted where one would take them in. With 0
streams the link finds their number itself, as in a node. LOAD is `full` (the default), `bulk`,
`objects` of 32 MiB one after the other, or CLASS:PER_SECOND:BYTES, all in parallel. The receiver
keeps how long each unit of the latter kind took: both ends read one clock. Commands: of the sender
`block BYTES`, `pace BYTES_PER_S`; of the receiver `await BYTES` (received since its start),
`latencies` since the last time.
"""

import sys

import structlog

from benchmarks.link.encryption import link_tls
from benchmarks.link.receiving_end import Receiver
from benchmarks.link.sending_end import Sender
from transport.aio.loop import run


async def main(role: str, *words: str) -> None:
    """Run one end."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if role == "receive":
        await Receiver(link_tls("b")).run(words[0])
    else:
        host, port, streams, control, *loads = words
        sender = Sender(int(streams), control, loads or ["full"], link_tls("a"))
        await sender.run(f"{host}:{port}")


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
