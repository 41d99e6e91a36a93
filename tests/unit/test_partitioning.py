"""Entities go where Kafka's Java client would put them."""

import random

import pytest
from aiokafka.partitioner import murmur2 as oracle

from schemas.partitioning import murmur2, partition_of


@pytest.mark.parametrize("size", range(18))
def test_the_hash_is_kafkas_for_every_length_of_the_last_word(size: int) -> None:
    dice = random.Random(size)
    keys = [dice.randbytes(size) for _ in range(20)]

    assert [murmur2(key) for key in keys] == [oracle(key) & 0xFFFFFFFF for key in keys]


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_own_tests(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


def test_the_partition_is_the_positive_hash_modulo_their_number() -> None:
    names = [f"vm-{i}" for i in range(200)]

    for count in (1, 4, 7):
        expected = [(oracle(name.encode()) & 0x7FFFFFFF) % count for name in names]
        assert [partition_of(name, count) for name in names] == expected


def test_names_are_hashed_as_utf_8() -> None:
    assert partition_of("é", 1_024) == (oracle(b"\xc3\xa9") & 0x7FFFFFFF) % 1_024
