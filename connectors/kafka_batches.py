"""Records in Kafka's batches: what is written, and taken or refused, as a whole."""

from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from connectors.log import NewRecord
from schemas.errors import OutcomeUnknownError

BATCH_BYTES: Final = 262_144  # less where a topic takes less; one larger record passes


def batch_bytes(record: NewRecord) -> int:
    """Return an upper bound of a batch with only this record, before compression."""
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(
        record.key, record.value, list(record.headers)
    )
    return size


def make_batches(
    producer: AIOKafkaProducer, records: Sequence[NewRecord], bytes_max: int
) -> list[BatchBuilder]:
    """Put records into as few batches as fit; a larger record has one of its own."""
    batches: list[BatchBuilder] = []
    for record in records:
        if not batches or batches[-1].size() + batch_bytes(record) > bytes_max:
            batches.append(producer.create_batch())
        added = batches[-1].append(
            timestamp=record.record_time_ms,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
        )
        assert added is not None, "a batch had less room than it said"
    for batch in batches:
        batch.close()
    return batches


def offsets_of(
    place: TopicPartition, batches: Sequence[BatchBuilder], firsts: Sequence[int]
) -> list[int]:
    """Return the offset of every record, given those of the batches' first ones."""
    if min(firsts) < 0:  # a repeated batch, and the broker forgot where the first one stands
        raise OutcomeUnknownError(f"append to {place.topic}/{place.partition}: it is there twice")
    return [
        first + index
        for first, batch in zip(firsts, batches, strict=True)
        for index in range(batch.record_count())
    ]
