"""Which partition an entity belongs to: Java's default partitioner.

All producers must agree on it, or changes of one entity lose their order. The Java client,
aiokafka and our SDK do; librdkafka needs `partitioner=murmur2_random`, sarama a custom one.

Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`.
"""

import functools

_M = 0x5BD1E995
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Hash a key as Kafka's Java client does; 32 bits, unsigned."""
    length = len(key)
    whole = length & ~3
    h = _SEED ^ length
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@functools.lru_cache(maxsize=65_536)  # murmur2 in Python costs more than the rest of a put
def partition_of(entity_id: str, partition_count: int) -> int:
    """Return the partition of an entity.

    Example:
        >>> partition_of("vm-17", 4)
        2
    """
    return (murmur2(entity_id.encode()) & 0x7FFFFFFF) % partition_count
