"""Records cross the link byte by byte, once, and without a hole."""

import pytest

from connectors.log import LogRecord, NewRecord, RecordRange
from schemas.errors import BadUnitError, MalformedMessageError, MissingOriginError
from streams.replication import (
    Origin,
    decode_batch,
    encode_batch,
    origin_headers,
    read_origin,
    replica_records,
)

PLAIN = LogRecord(5, 1_000, b"key", b"value", (("trace", b"\x00\xff"),))
BARE = LogRecord(9, -1, None, None, ())
RANGE = RecordRange(1, 4, 12, [PLAIN, BARE])


def test_a_batch_comes_back_as_it_went_with_its_gaps() -> None:
    ranges = [RANGE, RecordRange(0, 0, 7, [])]

    assert decode_batch(encode_batch(ranges, 1_000)) == ranges


def test_a_record_over_the_limit_is_left_out_and_the_range_stays() -> None:
    limit = PLAIN.size_bytes

    assert decode_batch(encode_batch([RANGE], limit)) == [RANGE]
    assert decode_batch(encode_batch([RANGE], limit - 1)) == [RecordRange(1, 4, 12, [BARE])]


def test_bytes_that_are_no_batch_are_malformed() -> None:
    raw = encode_batch([RANGE], 1_000)

    for damaged in (b"", raw[:-1], raw + b"\0"):
        with pytest.raises(MalformedMessageError, match="LinkBatch"):
            decode_batch(damaged)


def test_a_replica_record_keeps_everything_and_says_where_it_came_from() -> None:
    (record, _) = replica_records("ams", RANGE, {1: 0, 0: 3} | {1: 4})

    assert record == NewRecord(
        b"key",
        b"value",
        (
            ("trace", b"\x00\xff"),
            ("dwcp-origin-region", b"ams"),
            ("dwcp-origin-partition", b"1"),
            ("dwcp-origin-offset", b"5"),
        ),
        1_000,
    )


@pytest.mark.parametrize(
    ("cursor", "offsets"), [(4, [5, 9]), (5, [5, 9]), (6, [9]), (9, [9]), (10, []), (99, [])]
)
def test_only_what_is_new_is_appended(cursor: int, offsets: list[int]) -> None:
    found = replica_records("ams", RANGE, {1: cursor})

    assert [read_origin(record.headers).offset for record in found] == offsets


@pytest.mark.parametrize("cursors", [{1: 3}, {0: 4}, {}])
def test_a_range_with_a_hole_or_of_an_unknown_partition_is_refused(
    cursors: dict[int, int],
) -> None:
    with pytest.raises(BadUnitError, match="leaves a hole"):
        replica_records("ams", RANGE, cursors)


def test_an_origin_comes_back_as_it_went() -> None:
    origin = Origin("eu-west", 3, 1 << 50)

    assert read_origin(origin_headers(origin)) == origin


def test_our_headers_win_over_equal_ones_of_a_producer() -> None:
    forged = origin_headers(Origin("forged", 9, 9))

    assert read_origin(forged + origin_headers(Origin("ams", 1, 2))) == Origin("ams", 1, 2)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        origin_headers(Origin("ams", 1, 2))[:2],
        (*origin_headers(Origin("ams", 1, 2))[:2], ("dwcp-origin-offset", b"two")),
        (("dwcp-origin-region", b"\xff"), *origin_headers(Origin("ams", 1, 2))[1:]),
    ],
    ids=["none", "one missing", "no number", "no text"],
)
def test_a_record_that_does_not_say_where_it_came_from_is_refused(
    headers: tuple[tuple[str, bytes], ...],
) -> None:
    with pytest.raises(MissingOriginError, match=r"produce to dwcp\.state"):
        read_origin(headers)
