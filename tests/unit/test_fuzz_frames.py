"""A short run of the frames' fuzzer; the long one is `make fuzz-frames ARGS="--count 10000000"`."""

import pytest

from schemas.errors import DwcpError
from tests.fuzz import frames
from tests.fuzz.frames import DataStream, FuzzReport, run
from transport.frame import UNIT_FRAME_BYTES_MAX, Frame, FrameType, encode_frame


def test_hostile_frames_are_refused_by_name_and_nothing_else_happens() -> None:
    report = FuzzReport()

    run(1, 15_000, report)

    assert report.wrong == []
    assert report.frames == 15_000
    expected = {"BadFrame", "FrameTooLarge", "Checksum", "UnexpectedMessage", "CreditExceeded"}
    assert report.refused.keys() >= expected


def test_the_fuzzer_notices_what_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(_: DataStream, data: bytes) -> None:
        raise KeyError(len(data))

    monkeypatch.setattr(DataStream, "feed", feed)
    report = FuzzReport()
    run(1, 1_000, report)

    assert report.wrong[0].startswith("KeyError: ")


def test_the_fuzzer_notices_a_buffer_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "WINDOW_BYTES", -UNIT_FRAME_BYTES_MAX)
    report = FuzzReport()
    stream = DataStream(report)
    monkeypatch.setattr(frames, "UNIT_BYTES_MAX", -1)
    try:
        stream.feed(encode_frame(Frame(FrameType.UNIT, b"x", 1, 0, 0)))
    except DwcpError:
        report.wrong.append("refused")

    assert report.wrong
