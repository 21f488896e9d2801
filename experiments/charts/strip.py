"""The distribution of the results of several experiments: a mark per trial, and a box from quartile to quartile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from experiments.charts.drawing.scale import Linear, Log, linear_or_log
from experiments.charts.drawing.svg import NARROW, TURN, Chart, Svg, clip, element, frame, join, label

ROW = 44.0  # pixels
BROAD = 1040  # the panel has the whole width of the page
SPREAD = (0, -6, 5, -3, 8, 3, -8, 6, -5)  # offsets of successive marks, to separate equal values


@dataclass(frozen=True, slots=True)
class Strip:
    """The results of one experiment. `color` is 1 to 6, or 0 for gray."""

    name: str
    values: Sequence[float]
    color: int = 0
    href: str | None = None


def strip(strips: Sequence[Strip], *, title: str, metric: str, key: str) -> Chart:
    """Draw one row per experiment. `key` must be unique in the page. The rows of the table are the quartiles."""
    rows = [(strip.name, len(strip.values), *_quartiles(strip.values)) for strip in strips if strip.values]
    description = f"{metric}: " + (
        "; ".join(f"{name}, median {median:.4g} of {count:,}" for name, count, _, _, median, _, _ in rows)
        if rows
        else "no values"
    )
    elements = []
    for width, fit in ((BROAD, "is-wide"), (NARROW, "is-narrow")):
        height = 26 + ROW * len(strips)
        body = _draw(strips, width=width, height=height)
        size = {"width": width, "height": height}
        elements.append(frame(*body, key=key, title=title, description=f"{description}.", fit=fit, **size))
    columns = ("Experiment", "Results", "Lowest", "Quartile 1", "Median", "Quartile 3", "Highest")
    return Chart(join(elements), title, f"{description}.", columns, rows)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Return (lowest, first quartile, median, third quartile, highest), interpolated as by numpy."""
    if len(values) == 1:
        return (values[0],) * 5
    first, median, third = quantiles(values, n=4, method="inclusive")
    return min(values), first, median, third, max(values)


def _draw(strips: Sequence[Strip], *, width: int, height: float) -> list[Svg]:
    values = [value for strip in strips for value in strip.values]
    if not values:
        return [label(width / 2, height / 2, "No values", anchor="middle")]
    low, high, is_log = linear_or_log(values)
    first_x, last_x, bottom = 14.0, width - 14.0, height - 22
    count = 3 if width < TURN else 6
    if is_log:
        x: Linear | Log = Log(low, high, start=first_x, end=last_x, count=count)
    else:
        x = Linear(low, high, start=first_x, end=last_x, count=count)
    grid = []
    for tick in x.ticks:
        at = float(tick.at)
        grid.append(element("line", class_="grid-line", x1=at, x2=at, y1=4.0, y2=bottom))
        grid.append(label(at, height - 6, tick.label, anchor="middle"))
    elements = [element("g", *grid)]
    for number, strip in enumerate(strips):
        middle = 4 + ROW * number + 29

        def place(value: float) -> float:
            return min(max(x.at(value), first_x - 6), last_x + 6)  # outliers are drawn at the border

        marks = [
            element("circle", cx=place(value), cy=middle + SPREAD[index % len(SPREAD)] * 0.7, r=2)
            for index, value in enumerate(sorted(strip.values))
        ]
        name = label(first_x, middle - 15, clip(strip.name, 40 if width < TURN else 80), class_="ink halo")
        shown = [element("g", *marks, class_=f"cat-{strip.color} strip"), *_box(strip, middle, place), name]
        elements.append(element("a", *shown, href=strip.href, tabindex="-1") if strip.href else join(shown))
    return elements


def _box(strip: Strip, middle: float, place: Callable[[float], float]) -> list[Svg]:
    if len(strip.values) < 2:
        return []
    _, first, median, third, _ = _quartiles(strip.values)
    left, right, center = place(first), place(third), place(median)
    size = {"width": max(right - left, 1.0), "height": 12.0}
    return [
        element("rect", class_="box", x=left, y=middle - 6, **size),
        element("line", class_="box-median", x1=center, x2=center, y1=middle - 7, y2=middle + 7),
    ]
