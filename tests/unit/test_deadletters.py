"""A dead letter is the record, whole, with the reason."""

from connectors.log import LogRecord
from schemas.errors import WrongPartitionError
from schemas.registry import decode_event
from streams.deadletters import Place, dead_letter, read_dead_letter

PLACE = Place("dwcp.state", 3, 99, 2)
ERROR = WrongPartitionError("entity 'e' belongs to partition 0, not 3")


def letter_of(record: LogRecord, value_bytes_max: int = 100) -> dict[str, object]:
    made = dead_letter("iad", "ams", PLACE, record, ERROR, value_bytes_max=value_bytes_max)
    assert made.value is not None
    return read_dead_letter(made.value)


def test_a_letter_holds_the_record_its_place_and_what_to_do() -> None:
    letter = letter_of(LogRecord(99, 1_000, b"e", b"\x00value", (("h", b"\xff"),)))

    assert letter == {
        "reason": "WrongPartition",
        "detail": "entity 'e' belongs to partition 0, not 3",
        "region": "iad",
        "origin_region": "ams",
        "topic": "dwcp.state",
        "partition": 3,
        "offset": 99,
        "change_index": 2,
        "record_time_ms": 1_000,
        "key": b"e",
        "value": b"\x00value",
        "value_bytes": 6,
        "headers": [{"name": "h", "value": b"\xff"}],
    }


def test_a_long_value_is_cut_and_its_true_size_kept() -> None:
    letter = letter_of(LogRecord(99, 0, None, b"x" * 101, ()))

    assert letter["value"] == b"x" * 100
    assert letter["value_bytes"] == 101


def test_a_tombstone_stays_a_tombstone() -> None:
    letter = letter_of(LogRecord(99, 0, None, None, ()))

    assert (letter["key"], letter["value"], letter["value_bytes"]) == (None, None, 0)


def test_a_letter_written_twice_has_one_key() -> None:
    record = LogRecord(99, 0, None, b"", ())
    one, two = (
        dead_letter("iad", "ams", PLACE, record, ERROR, value_bytes_max=10) for _ in range(2)
    )

    assert one.key == two.key == b"dwcp.state/3/99/2"


def test_a_letter_is_an_event_that_any_client_can_decode() -> None:
    made = dead_letter("iad", "", PLACE, LogRecord(0, 0, None, b"", ()), ERROR, value_bytes_max=1)

    assert decode_event(made.value or b"")[0] == "DeadLetter"
