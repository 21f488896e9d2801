"""The hypervolume of the Pareto front by number of results."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.drawing.axes import (
    HALF_WIDTHS,
    Box,
    Drawing,
    below,
    caption,
    drawn,
    empty,
    grid,
    is_narrow,
    left_of,
)
from experiments.charts.drawing.marks import linked
from experiments.charts.drawing.scale import Linear, significant
from experiments.charts.drawing.svg import Chart, Svg, element, px

TITLE = "Hypervolume"


def hypervolume(
    steps: Sequence[tuple[int, float]],
    *,
    results: int,
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "hypervolume",
) -> Chart:
    """Draw (number of results, hypervolume then) as steps up to `results`, the number of results so far."""
    description = "No results yet."
    if steps:
        last = significant(steps[-1][1])
        description = f"Hypervolume of the Pareto front by number of results, {last} after {results:,}."

    def draw(width: int) -> Drawing:
        narrow = is_narrow(width)
        height = 230.0 if narrow else 260.0
        if not steps:
            return empty("No results yet", width, height)
        box = Box(0, width - 16, 14, height - 40)
        top = max(volume for _, volume in steps)
        scale = Linear(0.0, (top * 1.06) or 1.0, start=box.bottom, end=box.top)
        box = Box(
            left_of([tick.label for tick in scale.ticks], narrow=narrow), box.right, box.top, box.bottom
        )
        across = Linear(
            0, max(results, 1), start=box.left, end=box.right, count=3 if narrow else 5, whole=True
        )
        path = f"M{px(across.at(steps[0][0]))},{px(box.bottom)}"
        for result, volume in steps:
            path += f"H{px(across.at(result))}V{px(scale.at(volume))}"
        dots = [
            linked(
                f'<circle class="dot is-front" cx="{px(across.at(result))}" cy="{px(scale.at(volume))}" r="2.5"/>',
                f"{significant(volume)} after {result:,} results",
                None,
            )
            for result, volume in steps
        ]
        elements: list[Svg] = [
            grid(scale.ticks, box),
            below(across.ticks, box),
            caption("Results", box, height - 4),
            element("path", class_="best-line", d=f"{path}H{px(across.at(max(results, steps[-1][0])))}"),
            element("g", *dots),
        ]
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    return Chart(svg, TITLE, description, ("Results", "Hypervolume"), [tuple(step) for step in steps])
