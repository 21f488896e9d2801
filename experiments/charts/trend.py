"""The trend below a number: a line and the area below it, stretched to the width of a tile."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Svg, element

WIDTH, HEIGHT, MARGIN = 200.0, 40.0, 3.0


def trend(values: Sequence[float | None], *, role: str = "") -> Svg:
    """Draw values in order, evenly spaced; empty for fewer than two. Hidden from screen readers: the number beside it
    is text. `role`: good or bad."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(numbers) < 2:
        return Svg()
    low, high = min(numbers), max(numbers)
    span = high / 2 - low / 2  # halves, to avoid overflow
    step = WIDTH / (len(numbers) - 1)

    def y(number: float) -> float:
        share = (number / 2 - low / 2) / span if span else 0.5
        return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)

    path = " ".join(f"{place * step:.1f},{y(number):.1f}" for place, number in enumerate(numbers))
    return element(
        "svg",
        element("path", class_="area", d=f"M{path} L{WIDTH:g},{HEIGHT:g} 0,{HEIGHT:g}Z"),
        element("path", d=f"M{path}"),
        class_="trend",
        data_role=role or None,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
