"""Stacked bars over time: one bar per period, one segment per series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.charts.drawing.amounts import amount
from experiments.charts.drawing.scale import Linear
from experiments.charts.drawing.svg import NARROW, WIDE, Chart, Svg, element, frame, join, label

DIGIT = 6.6  # approximate width of a digit at 11 px
LETTER = 6.2
MOST_COLORS = 6


class Series(NamedTuple):
    """One value per period. `role` is a color role of the tokens (good, bad, …); without one it is a category."""

    name: str
    values: Sequence[float]
    role: str = ""


def stacked(
    periods: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    unit: str,
    key: str,
    limit: float | None = None,
    limit_name: str = "",
) -> Chart:
    """Draw the series stacked, the first at the bottom. `limit` is a dashed line. `key` must be unique in the page."""
    totals = [sum(layer.values[place] for layer in series) for place in range(len(periods))]
    described = f"{title}: {amount(sum(totals))} {unit} in {len(periods)} periods."
    if totals and max(totals) > 0:
        peak = totals.index(max(totals))
        described += f" Most: {amount(totals[peak])} at {periods[peak]}."
    elements = []
    for width, fit in ((WIDE, "is-wide"), (NARROW, "is-narrow")):
        drawing = _drawing(periods, series, totals, width, limit, limit_name)
        elements.append(
            frame(*drawing, key=key, title=title, description=described, fit=fit, width=width, height=200)
        )
    rows = [
        (period, *(round(layer.values[place], 6) for layer in series), round(totals[place], 6))
        for place, period in enumerate(periods)
    ]
    return Chart(join(elements), title, described, ("From", *(layer.name for layer in series), "Total"), rows)


def _drawing(
    periods: Sequence[str],
    series: Sequence[Series],
    totals: Sequence[float],
    width: int,
    limit: float | None,
    limit_name: str,
) -> list[Svg]:
    top, bottom, end = 14.0, 176.0, width - 6.0
    most = max([1.0, limit or 0.0, *totals])
    y = Linear(0, most, start=bottom, end=top, count=4)
    first = max(22.0, 10 + DIGIT * max(len(tick.label) for tick in y.ticks))
    elements: list[Svg] = []
    for tick in y.ticks:
        at = float(tick.at)
        elements.append(element("line", class_="grid-line", x1=first, x2=end, y1=at, y2=at))
        elements.append(label(first - 8, at + 4, tick.label, anchor="end"))
    if not any(totals):
        return [
            *elements,
            label((first + end) / 2, (top + bottom) / 2, "No usage in this range", anchor="middle"),
        ]
    step = (end - first) / len(periods)
    bar = max(1.0, min(step * 0.62, 48.0))
    for place in range(len(periods)):
        x, base = first + step * (place + 0.5) - bar / 2, bottom
        for number, layer in enumerate(series):
            value = layer.values[place]
            if value <= 0:
                continue
            height = bottom - y.at(value)
            base -= height
            color = {"data_role": layer.role} if layer.role else {"data_cat": number % MOST_COLORS + 1}
            tip = element("title", f"{periods[place]}, {layer.name}: {amount(value)}")
            elements.append(
                element("rect", tip, class_="slab", x=x, y=base, width=bar, height=float(height), **color)
            )
    longest = LETTER * max(map(len, periods)) + 12
    every = max(1, -(-int(longest) // max(1, int(step))))
    for place in range((len(periods) - 1) % every, len(periods), every):
        x = first + step * (place + 0.5)
        elements.append(label(min(x, width - longest / 2 + 6), 194.0, periods[place], anchor="middle"))
    if limit is not None:
        at = y.at(limit)
        elements.append(element("line", class_="limit", x1=first, x2=end, y1=at, y2=at))
        plate = {"x": first, "y": at - 15, "width": LETTER * len(limit_name) + 8, "height": 15.0, "rx": 3}
        elements.append(element("rect", class_="plate", **plate))
        elements.append(label(first + 4, at - 4, limit_name, class_="ink"))
    return elements
