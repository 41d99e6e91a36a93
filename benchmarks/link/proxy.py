"""The demo's TCP proxy as a process of its own: a rate and a delay, for machines without root.

python -m benchmarks.link.proxy TARGET_PORT RATE_MBIT_S RTT_MS
"""

import asyncio
import sys

from benchmarks.link.worker import answer_marks
from dwcp.demo.shaper import ShapedLink


async def main(target_port: int, rate_mbit_s: float, rtt_ms: float) -> None:
    """Run until the parent ends."""
    rate_bytes_per_s = rate_mbit_s * 1e6 / 8
    link = ShapedLink(
        "127.0.0.1", target_port, delay_ms=rtt_ms / 2, rate_bytes_per_s=rate_bytes_per_s
    )
    port = await link.start()
    answer_marks({"port": port}, dict)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
