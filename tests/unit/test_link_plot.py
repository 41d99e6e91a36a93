"""A link's minutes as a picture: well-formed, with every decision in words."""

from xml.etree import ElementTree as ET

import pytest

from dwcp.link_plot import draw_link, nice_ceiling


def sample(at_s: float, goodput: float, streams: int) -> dict[str, float]:
    return {
        "at_s": at_s,
        "goodput_bytes_per_s": goodput,
        "stream_count": streams,
        "rtt_us": 90_000,
        "min_rtt_us": 80_000,
        "repeated_share": 0.01,
    }


LINK = {
    "samples": [sample(100 + n, n * 1e6, 2 + n // 5) for n in range(10)],
    "decisions": [
        {
            "at_s": at_s,
            "before": 2,
            "after": 4,
            "reason": "try: <room> & more",
            "goodput_bytes_per_s": 1e6,
            "repeated_share": 0.001,
            "rtt_ratio": 1.1,
        }
        for at_s in (50.0, 104.0)
    ],
}


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter() if node.text]  # noqa: S314 - ours


def test_a_picture_has_four_panels_and_five_curves() -> None:
    svg = draw_link(LINK, "eu-west to us-east")

    assert svg.count("<polyline") == 5
    assert {"eu-west to us-east", "goodput, Mbit/s", "round trip, ms"} <= set(texts(svg))


def test_decisions_of_the_time_shown_are_written_out_whatever_is_in_them() -> None:
    written = [text for text in texts(draw_link(LINK, "")) if text.startswith("1. ")]

    assert len(written) == 1
    assert written[0].startswith("1. at 4 s: 2 to 4 streams; try: <room> & more (8.0 Mbit/s")
    assert not [text for text in texts(draw_link(LINK, "")) if text.startswith("2. ")]


def test_a_link_without_samples_is_drawn_empty() -> None:
    assert draw_link({"samples": [], "decisions": []}, "nothing yet").startswith("<svg")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 1), (0.03, 0.04), (1, 1), (9, 10), (11, 20), (386, 400), (999, 1000)],
)
def test_an_axis_ends_at_a_round_number(value: float, expected: float) -> None:
    assert nice_ceiling(value) == pytest.approx(expected)
