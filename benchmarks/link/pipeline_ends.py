"""What fills one region's log and looks at the other's node; each runs in its namespace.

python -m benchmarks.link.pipeline_ends fill BOOTSTRAP MIB
python -m benchmarks.link.pipeline_ends watch URL
"""

import asyncio
import base64
import json
import os
import sys
import time
import urllib.request
from typing import Any, Final

from benchmarks.link.worker import serve_marks
from connectors.kafka import KafkaLog
from connectors.log import NewRecord
from schemas.registry import encode_event
from streams import topics

CHANGES_PER_BATCH: Final = 500
DOCUMENT_BYTES: Final = 1_024
POOL: Final = 64  # different batches, 32 MiB: more than any window of the link
IN_FLIGHT: Final = 8


def make_batch(number: int) -> bytes:
    """Return a batch of documents that no codec makes much smaller: base64 of random bytes."""
    wall_ms = time.time_ns() // 1_000_000
    changes: list[dict[str, Any]] = []
    for index in range(CHANGES_PER_BATCH):
        blob = base64.b64encode(os.urandom(DOCUMENT_BYTES * 3 // 4)).decode()
        changes.append(
            {
                "change_id": "",
                "entity_id": f"vm-{number % 4}-{index}",
                "entity_type": "vm",
                "key_space": "default",
                "operation": "put",
                "document": json.dumps({"blob": blob}),
                "deltas": [],
                "base_version": None,
                "hybrid_timestamp": (wall_ms << 16) + number,
                "origin_region": "a",
                "trace_id": None,
            }
        )
    return encode_event("StateBatch", {"producer": "bench", "changes": changes})


async def fill(bootstrap: str, size_bytes: int) -> None:
    """Append batches to the one partition until they are so many bytes."""
    log = KafkaLog({"bootstrap_servers": bootstrap})
    pool = [make_batch(number) for number in range(POOL)]
    appended = 0
    try:
        while appended < size_bytes:
            batches = [pool[(appended + number) % POOL] for number in range(IN_FLIGHT)]
            records = [NewRecord(b"vm", batch) for batch in batches]
            await asyncio.gather(*(log.append(topics.STATE, 0, [one]) for one in records))
            appended += sum(map(len, batches))
    finally:
        await log.close()
    sys.stdout.write(json.dumps({"bytes": appended, "batch_bytes": len(pool[0])}) + "\n")


def status_of(url: str) -> dict[str, Any]:
    """Return a node's status; an empty one as long as it does not answer."""
    try:
        with urllib.request.urlopen(url + "/status", timeout=5) as answer:  # noqa: S310 - ours
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


if __name__ == "__main__":
    role, place, *words = sys.argv[1:]
    if role == "fill":
        asyncio.run(fill(place, int(words[0]) << 20))
    else:
        serve_marks({}, lambda: {"status": status_of(place)})
