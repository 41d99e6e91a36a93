"""The producer process of `benchmarks.cut`: a steady rate, and how long each change took.

    python -m benchmarks.cut_producer REGION BOOTSTRAP RATE SEED OUT

Writes until SIGTERM, waits for its answers, and leaves pairs of monotonic seconds and milliseconds.
"""

import array
import json
import random
import signal
import sys
import threading
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from schemas.registry import encode_event
from streams.topics import STATE

ENTITIES = 2_000
FLUSH_S = 60.0


def main() -> None:
    """Write until asked to stop."""
    region, bootstrap, rate, seed, out = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    took = array.array("d")
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 5,
        }
    )
    dice, pause_s, due_s = random.Random(int(seed)), 1 / float(rate), time.monotonic()
    while not stop.is_set():
        send(producer, region, dice, took)
        producer.poll(0)
        due_s += pause_s
        stop.wait(max(0.0, due_s - time.monotonic()))
    assert producer.flush(FLUSH_S) == 0, "changes without an answer"
    Path(out).write_bytes(took.tobytes())


def send(producer: Producer, region: str, dice: random.Random, took: "array.array[float]") -> None:
    """Send one document of about 1.5 KB, a third of it new."""
    number = dice.randrange(ENTITIES)
    began_s = time.monotonic()

    def told(error: KafkaError | None, _: Message) -> None:
        assert error is None, error
        took.extend((began_s, (time.monotonic() - began_s) * 1_000))

    document = {"power": "on", "load": dice.random(), "note": "a quiet machine " * 60}
    document["trace"] = dice.randbytes(256).hex()
    change = {
        "change_id": f"{region}/{began_s}",
        "entity_id": f"{region}-vm-{number}",
        "entity_type": "vm",
        "operation": "put",
        "document": json.dumps(document),
        "origin_region": region,
    }
    producer.produce(
        STATE, encode_event("StateChange", change), change["entity_id"], on_delivery=told
    )


def read_latencies(path: Path) -> list[tuple[float, float]]:
    """Read what a producer left: seconds of the monotonic clock, and milliseconds."""
    took = array.array("d")
    took.frombytes(path.read_bytes())
    return list(zip(took[::2], took[1::2], strict=True))


if __name__ == "__main__":
    main()
