"""Small charts of an experiment's trials as SVG, for notebooks. The console's own are on its page Charts."""

from __future__ import annotations  # for Python 3.8

import html
import math

from trialdeck.table_output import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Trials = Sequence[Mapping[str, Any]]

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 624, 16, 224
ACCENT, QUIET = "#2b5fc4", "#8a8f99"
LOG_TYPES = ("loguniform", "qloguniform", "lognormal", "qlognormal", "lograndint")
MAX_LINES, MAX_AXES = 300, 8


def history(trials: Trials, settings: dict[str, Any]) -> str:
    """Draw the values of succeeded trials by number, and the best so far."""
    points = [(trial["number"], trial["value"]) for trial in _succeeded(trials)]
    if not points:
        return _svg(_text(WIDTH / 2, HEIGHT / 2, "No values yet", "middle"))
    x = _scale([number for number, _ in points], LEFT, RIGHT)
    y = _scale([value for _, value in points], BOTTOM, TOP)
    dots = [
        f'<circle cx="{x(number):.1f}" cy="{y(value):.1f}" r="3" fill="{QUIET}"/>' for number, value in points
    ]
    steps = _best_steps(points, settings["direction"])
    path = "".join(
        f"{'H' if place else 'M'}{x(number):.1f}{'V' if place else ','}{y(value):.1f}"
        for place, (number, value) in enumerate(steps)
    )
    line = f'<path d="{path}H{RIGHT}" fill="none" stroke="{ACCENT}" stroke-width="2"/>'
    low, high = numbers([min(value for _, value in points), max(value for _, value in points)])
    labels = [
        _text(LEFT - 8, BOTTOM, low, "end"),
        _text(LEFT - 8, TOP + 4, high, "end"),
        _text(LEFT, HEIGHT - 12, f"trial {points[0][0]}", "start"),
        _text(RIGHT, HEIGHT - 12, str(points[-1][0]), "end"),
        _text(LEFT, 12, settings["metric"], "start"),
    ]
    return _svg("".join([*dots, line, *labels]))


def parallel(trials: Trials, settings: dict[str, Any]) -> str:
    """Draw a line per succeeded trial through its parameters to its value; the best ones on top and dark."""
    shown = _ranked(_succeeded(trials), settings["direction"])[:MAX_LINES]
    if not shown:
        return _svg(_text(WIDTH / 2, HEIGHT / 2, "No values yet", "middle"))
    space = settings["space_document"]
    names = [name for name in space if any(name in trial["params"] for trial in shown)][: MAX_AXES - 1]
    columns = [[trial["params"].get(name) for trial in shown] for name in names]
    columns.append([trial["value"] for trial in shown])
    kinds = [str(space[name].get("_type", "")) for name in names] + [""]
    titles = [*names, settings["metric"]]
    gap = (RIGHT - LEFT) / max(1, len(columns) - 1)
    scales = [_axis(column, kind) for column, kind in zip(columns, kinds)]  # noqa: B905
    elements = []
    for place in range(len(shown) - 1, -1, -1):
        points = [
            f"{LEFT + gap * at:.1f},{scales[at](column[place]):.1f}"
            for at, column in enumerate(columns)
            if column[place] is not None
        ]
        is_best = place == 0
        share = 1 - place / len(shown)
        elements.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{ACCENT if share > 0.8 else QUIET}" '
            f'stroke-width="{2.5 if is_best else 1}" stroke-opacity="{1 if is_best else 0.25 + share / 2:.2f}"/>'
        )
    for at, (title, column) in enumerate(zip(titles, columns)):  # noqa: B905
        x = LEFT + gap * at
        anchor = "start" if at == 0 else "end" if at == len(columns) - 1 else "middle"
        low, high = _ends(column)
        elements.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + 12}" y2="{BOTTOM}" stroke="{QUIET}"/>')
        elements.append(_text(x, 14, _clipped(title), anchor))
        elements += [_text(x, BOTTOM + 14, low, anchor), _text(x, TOP + 26, high, anchor)]
    return _svg("".join(elements))


CHARTS: dict[str, Callable[[Trials, dict[str, Any]], str]] = {"history": history, "parallel": parallel}


def sparkline(trials: Trials, direction: str) -> str:
    """Draw the best value so far as a small line; empty without two values."""
    points = [(trial["number"], trial["value"]) for trial in _succeeded(trials)]
    steps = _best_steps(points, direction)
    if len(points) < 2:
        return ""
    x, y = _scale([points[0][0], points[-1][0]], 2, 138), _scale([value for _, value in steps], 22, 2)
    path = "".join(
        f"{'H' if place else 'M'}{x(number):.1f}{'V' if place else ','}{y(value):.1f}"
        for place, (number, value) in enumerate(steps)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 140 24" width="140" height="24" role="img" '
        f'aria-label="Best value over time"><path d="{path}H138" fill="none" stroke="{ACCENT}" stroke-width="1.5"/>'
        "</svg>"
    )


def _succeeded(trials: Trials) -> list[Mapping[str, Any]]:
    return [
        trial
        for trial in trials
        if trial["state"] == "succeeded" and trial["value"] is not None and math.isfinite(trial["value"])
    ]


def _ranked(trials: Trials, direction: str) -> list[Mapping[str, Any]]:
    return sorted(trials, key=lambda trial: trial["value"], reverse=direction == "maximize")


def _best_steps(points: Sequence[tuple[int, float]], direction: str) -> list[tuple[int, float]]:
    steps: list[tuple[int, float]] = []
    for number, value in points:
        if not steps or (value > steps[-1][1] if direction == "maximize" else value < steps[-1][1]):
            steps.append((number, value))
    return steps


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = min(values), max(values)
    span = high / 2 - low / 2  # halves, to avoid overflow
    if not span:
        return lambda _: (start + end) / 2
    return lambda value: start + (value / 2 - low / 2) / span * (end - start)


def _axis(column: Sequence[Any], kind: str) -> Callable[[Any], float]:
    """Return the scale of one axis: numbers on a linear or logarithmic scale, others in even steps."""
    values = [value for value in column if value is not None]
    if values and all(_is_number(value) for value in values):
        if kind in LOG_TYPES and min(values) > 0:
            scale = _scale([math.log(value) for value in values], BOTTOM - 4, TOP + 34)
            return lambda value: scale(math.log(value))
        return _scale(values, BOTTOM - 4, TOP + 34)
    names = sorted({_name(value) for value in values})
    places = _scale([0, max(1, len(names) - 1)], BOTTOM - 4, TOP + 34)
    return lambda value: places(names.index(_name(value)))


def _ends(column: Sequence[Any]) -> tuple[str, str]:
    values = [value for value in column if value is not None]
    if values and all(_is_number(value) for value in values):
        low, high = numbers([float(min(values)), float(max(values))])
        return low, high
    names = sorted({_name(value) for value in values})
    return (_clipped(names[0]), _clipped(names[-1])) if names else ("", "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(value: Any) -> str:
    return str(value)


def _clipped(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" font-size="11" '
        f'font-family="system-ui,sans-serif">{html.escape(str(text))}</text>'
    )


def _svg(inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img">{inside}</svg>'
    )
