"""The demo's tables fit a terminal, say what is so, and the JSON keeps its keys."""

import json
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from dwcp.demo.result import DemoResult, DemoSnapshot, LinkResult, RegionSnapshot
from dwcp.demo.view import (
    human_bytes,
    human_ratio,
    human_seconds,
    render_live,
    render_result,
)

LINKS = (
    LinkResult("eu-west", "us-east", 48_213_456, 900, wire_bytes=1_000, kafka_bytes=9_000),
    LinkResult("us-east", "eu-west", raw_bytes=0, encoded_bytes=0, wire_bytes=0),
)
RESULT = DemoResult(
    converged=True,
    events=20_000,
    entities=512,
    lost=0,
    duplicates=0,
    events_per_s=1_987.2,
    visible_ms_p50=61.0,
    visible_ms_p99=143.9,
    converge_s=0.431,
    broker="Apache Kafka 4.1.0",
    links=LINKS,
    differences=(),
    cut_s=5.0,
    heal_to_equal_s=1.2,
    seconds=10.2,
    sustained_events_per_s=2_001.0,
    memory_mib=1_834.2,
    input_name="generated documents, seed 1",
)
SNAPSHOT = DemoSnapshot(
    phase="writing",
    produced=12_345,
    total=20_000,
    elapsed_s=6.17,
    regions=(
        RegionSnapshot("eu-west", "up", 34_567, 512, {"us-east": 12, "ap-south": 0}, 1_987.3),
        RegionSnapshot("us-east", "cut", 31_567, 511, {"eu-west": 2_345, "ap-south": 9}, 1_500.0),
        RegionSnapshot("ap-south", "down", 0, 0, {}, 0.0),
    ),
    links=LINKS,
)


def draw(what: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def line_with(text: str, drawn: str) -> str:
    return next(line for line in drawn.splitlines() if text in line)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_951, "100 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (48_213_456, "48.2 MB"),
        (3 * 10**15, "3,000 TB"),
    ],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_durations_and_ratios_are_written_for_people() -> None:
    assert [human_seconds(s) for s in (0.045, 2.44, 99.9, 185)] == [
        "45 ms",
        "2.4 s",
        "99.9 s",
        "3 min 05 s",
    ]
    assert [human_ratio(ratio) for ratio in (0.0, 18.22, 1_234.5)] == ["-", "18.2x", "1,234.5x"]


def test_a_link_that_sent_nothing_has_ratio_zero() -> None:
    assert LINKS[1].ratio == 0.0
    assert LINKS[0].ratio == pytest.approx(48_213.456)


def test_the_json_keeps_its_keys() -> None:
    """These are promised to machines: add freely, rename never."""
    found = json.loads(json.dumps(RESULT.to_json(), allow_nan=False))

    assert found["visible_ms"] == {"p50": 61.0, "p99": 143.9}
    assert found["links"][0] == {
        "from": "eu-west",
        "to": "us-east",
        "raw_bytes": 48_213_456,
        "encoded_bytes": 900,
        "wire_bytes": 1_000,
        "kafka_bytes": 9_000,
        "ratio": 48_213.46,
    }
    assert found.keys() == {
        *("converged", "events", "entities", "lost", "duplicates", "events_per_s", "visible_ms"),
        *("converge_s", "broker", "links", "differences", "cut_s", "heal_to_equal_s", "seconds"),
        *("sustained_events_per_s", "memory_mib", "input_name"),
    }


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "what",
    [
        render_live(SNAPSHOT),
        render_live(replace(SNAPSHOT, total=None, regions=(), links=())),
        render_result(RESULT),
        render_result(replace(RESULT, converged=False, differences=("vm-1 " + "x" * 300,))),
    ],
)
def test_nothing_is_wider_than_the_terminal_or_cut_short(what: RenderableType, width: int) -> None:
    drawn = draw(what, width)

    assert max(len(line) for line in drawn.splitlines()) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in drawn


def test_the_live_view_shows_progress_regions_and_lag() -> None:
    drawn = draw(render_live(SNAPSHOT))

    assert "12,345 of 20,000 changes, 6.2 s" in line_with("writing", drawn)
    assert line_with("1,987", drawn).split() == [
        *("eu-west", "up", "34,567", "512", "1,987", "us-east:12")
    ]
    assert "eu-west:2,345, ap-south:9" in line_with("cut", drawn)
    assert "unknown" in line_with("down", drawn)


def test_the_live_view_is_the_same_for_the_same_snapshot() -> None:
    without_total = replace(SNAPSHOT, total=None)

    assert draw(render_live(without_total)) == draw(render_live(without_total))


def test_links_are_listed_and_summed_up() -> None:
    drawn = draw(render_result(RESULT))

    assert line_with("eu-west   us-east", drawn).split()[2:4] == ["48.2", "MB"]
    assert "48,213.5x" in line_with(" all ", drawn)


def test_a_good_end_is_said_in_words() -> None:
    drawn = draw(render_result(RESULT))

    assert "all regions hold the same state" in drawn
    assert "NOT CONVERGED" not in drawn
    assert "for 5.0 s, caught up in 1.2 s after healing" in drawn


def test_a_bad_end_shows_the_first_differences_as_they_are() -> None:
    differences = ("vm-17: eu-west has 1, us-east has 4", "node-[7] [/red]: only in ap-south")
    bad = replace(RESULT, converged=False, lost=3, heal_to_equal_s=None, differences=differences)
    drawn = draw(render_result(bad))

    assert "NOT CONVERGED" in drawn
    assert "all regions hold" not in drawn
    assert "never caught up" in drawn
    assert "3 and 0" in drawn
    for difference in differences:
        assert f"- {difference}" in drawn


def test_names_from_outside_are_not_markup() -> None:
    odd = LinkResult("[bold]a[/bold]", "[/]", raw_bytes=1, encoded_bytes=1, wire_bytes=1)
    region = replace(SNAPSHOT.regions[0], name="[/oops]", lag={"[/x]": 1})
    drawn = draw(render_live(replace(SNAPSHOT, regions=(region,), links=(odd,))), width=120)

    for name in ("[bold]a[/bold]", "[/]", "[/oops]", "[/x]:1"):
        assert name in drawn
    assert "[/in]" in draw(render_result(replace(RESULT, input_name="[/in]")))


def test_no_cut_is_not_mentioned() -> None:
    assert "cut off" not in draw(render_result(replace(RESULT, cut_s=0.0, heal_to_equal_s=None)))
