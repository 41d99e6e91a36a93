"""A sending process to be killed: its log is the same in every life.

python -m tests.support.giver ADDRESS COUNT STREAMS BYTES_PER_S
"""

import asyncio
import sys
from random import Random

from connectors.log import NewRecord
from streams import topics
from streams.agents.outgoing import PeerLinks
from streams.agents.shaping import Shape
from tests.support.links import PARTITION_COUNT, Region, shipping
from transport.aio.keeper import StreamSettings

VALUE_BYTES = 2_000


def record(partition: int, number: int) -> NewRecord:
    """Return a record that its place decides, and that does not shrink."""
    key = b"%d/%d" % (partition, number)
    return NewRecord(key, Random(key).randbytes(VALUE_BYTES))


async def give(address: str, count: int, streams: int, bytes_per_s: float) -> None:
    """Ship the log until the process is killed."""
    ams = Region("ams")
    for partition in range(PARTITION_COUNT):
        records = [record(partition, number) for number in range(count)]
        await ams.log.append(topics.STATE, partition, records)
    links = PeerLinks(Shape(bytes_per_s or None))
    async with shipping(ams, "iad", address, links=links, streams=StreamSettings(count=streams)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(give(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
