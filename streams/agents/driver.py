"""Faust's Kafka driver: committed records only, a shorter fetch wait, an assignor of ours.

Faust reads uncommitted records unless it runs its own transactions. A record of a transaction that
is aborted later would advance our vector: the origin would never be asked for it again.

faust-streaming 0.15.3 asks the broker to hold a fetch for up to 1,500 ms, and offers no setting.
A fetch that names only idle partitions then hides new records of the others for that long: it
showed as produce-to-visible times of 1.5 s. The private attributes below are aiokafka 0.14's; both
versions are pinned, and `tests/broker/test_node.py` notices when they stop working.
"""

from typing import Any, Final

from faust.transport.drivers import aiokafka as faust_driver

FETCH_WAIT_MS: Final = 100


class _Thread(faust_driver.AIOKafkaConsumerThread):  # type: ignore[misc] # faust is untyped
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - see above
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._partition_assignment_strategy = [transport.assignor]  # noqa: SLF001
        return consumer


class _Consumer(faust_driver.Consumer):  # type: ignore[misc] # faust is untyped
    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class PromptTransport(faust_driver.Transport):  # type: ignore[misc] # faust is untyped
    """Faust's transport whose consumer hears of new, committed records within 100 ms.

    Attributes:
        assignor: Shares partitions out; set it before the app starts.
    """

    Consumer = _Consumer
    assignor: Any = None
