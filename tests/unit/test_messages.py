"""Control messages are Avro inside frames."""

import pytest

from schemas.errors import MalformedMessageError
from schemas.registry import Record
from transport.frame import Frame, FrameType
from transport.messages import message_frame, positions, read_message, read_positions

MESSAGES = [kind for kind in FrameType if kind not in (FrameType.UNIT, FrameType.CHUNK)]
RECORDS: dict[FrameType, Record] = {
    FrameType.HELLO: {
        "protocol_min": 1,
        "protocol_max": 2,
        "cluster_id": "c",
        "region": "ams",
        "target_region": "iad",
        "node": "n",
        "config_hash": "h",
        "capabilities": ["a"],
        "key_spaces": [],
        "partition_count": 4,
        "partitions": [0, 3],
    },
    FrameType.WELCOME: {
        "protocol": 1,
        "region": "iad",
        "node": "n",
        "config_hash": "h",
        "session_token": b"t",
        "cursors": [{"partition": 0, "offset": 1 << 40}],
        "credit_bytes": 5,
    },
    FrameType.REFUSAL: {"code": "protocol", "text": "upgrade"},
    FrameType.ATTACH: {"session_token": b"t", "stream": 1},
    FrameType.ATTACHED: {"stream": 1},
    FrameType.RECEIVED: {
        "flows": [{"flow": 1, "before": 4, "ranges": [{"from_number": 6, "to_number": 7}]}]
    },
    FrameType.OFFER: {
        "flow": 16,
        "object_id": bytes(16),
        "label": "image",
        "size_bytes": 1 << 40,
        "chunk_bytes": 1 << 20,
    },
    FrameType.WANT: {"flow": 16, "held": [], "refusal": "no room"},
    FrameType.DONE: {"flow": 16, "sum": bytes(16)},
    FrameType.TAKEN: {"flow": 16, "is_whole": True},
    FrameType.ACK: {"sequence": 3, "cursors": [], "credit_bytes": 9},
    FrameType.NACK: {"epoch": 1, "reason": "r", "cursors": [], "credit_bytes": 9},
    FrameType.HEARTBEAT: {
        "sent_ms": 1,
        "echo_ms": -1,
        "echo_delay_ms": 0,
        "wall_ms": 5,
        "digest": {"partitions": []},
    },
    FrameType.GOODBYE: {"text": "bye"},
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_message_comes_back_as_it_went(kind: FrameType) -> None:
    frame = message_frame(kind, RECORDS[kind])

    assert frame.type is kind
    assert read_message(frame) == RECORDS[kind]


@pytest.mark.parametrize("kind", MESSAGES)
def test_cut_or_longer_messages_are_malformed(kind: FrameType) -> None:
    payload = message_frame(kind, RECORDS[kind]).payload

    for damaged in (payload[:-1], payload + b"\0"):
        with pytest.raises(MalformedMessageError, match=kind.name):
            read_message(Frame(kind, damaged))


def test_cursors_are_written_in_the_order_of_partitions() -> None:
    written = positions({2: 20, 0: 5})

    assert written == [{"partition": 0, "offset": 5}, {"partition": 2, "offset": 20}]
    assert read_positions(written) == {0: 5, 2: 20}
