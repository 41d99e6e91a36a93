"""A link's last minutes as a picture: plain SVG, drawn by hand.

Four panels share one axis of seconds: goodput, data streams with each decision numbered, round
trips, repetitions. The decisions are written out below, by their numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP, _PANEL, _GAP, _LINE = 76, 20, 44, 120, 34, 15
_COLOURS: Final = ("#1f6feb", "#d1495b")
_TICKS: Final = 4

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    points: Points
    is_step: bool = False


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    series: Sequence[_Series]


def draw_link(link: dict[str, Any], title: str) -> str:
    """Return an SVG of one link of a node's `/links`.

    Args:
        link: Its `samples`, each with `at_s`, and its `decisions`, likewise.
        title: Written above.
    """
    samples, decisions = link["samples"], link["decisions"]
    begin_s = samples[0]["at_s"] if samples else 0.0
    end_s = max(begin_s + 1, samples[-1]["at_s"] if samples else 0.0)
    shown = [one for one in decisions if begin_s <= one["at_s"] <= end_s]

    def series(name: str, field: str, factor: float, *, is_step: bool = False) -> _Series:
        points = [(one["at_s"] - begin_s, one[field] * factor) for one in samples]
        return _Series(name, points, is_step)

    panels = (
        _Panel("goodput", "Mbit/s", [series("goodput", "goodput_bytes_per_s", 8e-6)]),
        _Panel("data streams", "", [series("open", "stream_count", 1, is_step=True)]),
        _Panel(
            "round trip",
            "ms",
            [series("smoothed", "rtt_us", 1e-3), series("least", "min_rtt_us", 1e-3)],
        ),
        _Panel("repeated", "%", [series("repeated", "repeated_share", 100)]),
    )
    span_s = end_s - begin_s
    parts: list[str] = []
    for number, panel in enumerate(panels):
        top = _TOP + number * (_PANEL + _GAP)
        marks = [(one["at_s"] - begin_s, at) for at, one in enumerate(shown, 1)]
        parts += _panel(panel, top, span_s, marks if number == 1 else [])
    bottom = _TOP + len(panels) * (_PANEL + _GAP)
    parts += _axis(bottom - _GAP, span_s)
    texts = [_decision_text(at, one, begin_s) for at, one in enumerate(shown, 1)]
    for at, text in enumerate(texts):
        parts.append(_text(_LEFT, bottom + 20 + at * _LINE, text, "start"))
    height = bottom + 30 + len(texts) * _LINE
    head = _text(_LEFT, 20, title, "start", size=15)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join([head, *parts])
        + "\n</svg>\n"
    )


def _panel(panel: _Panel, top: float, span_s: float, marks: list[tuple[float, int]]) -> list[str]:
    most = max((y for one in panel.series for _, y in one.points), default=0.0)
    ceiling = nice_ceiling(most)

    def x_of(second: float) -> float:
        return _LEFT + second / span_s * (WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        return top + _PANEL - value / ceiling * _PANEL

    unit = f", {panel.unit}" if panel.unit else ""
    parts = [_text(_LEFT, top - 6, panel.title + unit, "start")]
    for tick in range(_TICKS + 1):
        value = ceiling * tick / _TICKS
        y = y_of(value)
        parts.append(_rule(_LEFT, y, WIDTH - _RIGHT, y, "#e5e7eb"))
        parts.append(_text(_LEFT - 6, y + 4, f"{value:g}", "end"))
    for second, number in marks:
        x, y = x_of(second), top + 10 + (number - 1) % 5 * 10  # two may be at the same second
        parts.append(_rule(x, top, x, top + _PANEL, "#9ca3af"))
        parts.append(_text(x + 2, y, str(number), "start", size=9))
    for number, one in enumerate(panel.series):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(_curve(one, x_of, y_of, colour))
        if len(panel.series) > 1:
            parts.append(
                _text(WIDTH - _RIGHT - 90 * number, top - 6, one.name, "end", colour=colour)
            )
    return parts


def _curve(
    series: _Series, x_of: Callable[[float], float], y_of: Callable[[float], float], colour: str
) -> str:
    places: Points = []
    for second, value in series.points:
        if series.is_step and places:
            places.append((x_of(second), places[-1][1]))
        places.append((x_of(second), y_of(value)))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _axis(y: float, span_s: float) -> list[str]:
    """Write seconds below the last panel."""
    step = nice_ceiling(span_s / 8)
    parts, second = [], 0.0
    while second <= span_s:
        x = _LEFT + second / span_s * (WIDTH - _LEFT - _RIGHT)
        parts.append(_text(x, y + 16, f"{second:g} s", "middle"))
        second += step
    return parts


def _decision_text(number: int, decision: dict[str, Any], begin_s: float) -> str:
    return (
        f"{number}. at {decision['at_s'] - begin_s:.0f} s: {decision['before']} to "
        f"{decision['after']} streams; {decision['reason']} "
        f"({decision['goodput_bytes_per_s'] * 8e-6:.1f} Mbit/s, "
        f"{decision['repeated_share']:.1%} repeated, round trip x {decision['rtt_ratio']:.2f})"
    )


def nice_ceiling(value: float) -> float:
    """Return the next of 1, 2, 4, 5, 8, 10 times a power of ten that is not below a value.

    Example:
        >>> nice_ceiling(386)
        400
        >>> nice_ceiling(0)
        1
    """
    if value <= 0:
        return 1
    power = 10.0 ** len(str(int(value))) / 10 if value >= 1 else 0.1
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10, 20) if step * power >= value)


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, anchor: str, *, size: int = 11, colour: str = "#111827"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
