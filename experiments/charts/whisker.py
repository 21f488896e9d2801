"""The spread of one row of a leaderboard: the best trial, mean and deviation of its replicates, and the baseline."""

from __future__ import annotations

from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Svg, element

WIDTH, MIDDLE, EDGE = 128, 8.0, 4.0


def whisker(
    best: float,
    *,
    mean: float | None,
    deviation: float | None,
    baseline: float | None,
    low: float,
    high: float,
    description: str,
) -> Svg:
    """Draw a ring at the best value, a dot and a bar at mean ± deviation, and a dashed line at the baseline, on a scale
    from `low` to `high` that all rows share."""

    def at(value: float) -> float:
        span = high / 2 - low / 2  # halves, to avoid overflow
        share = (value / 2 - low / 2) / span if span else 0.5
        return EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * EDGE)

    elements = [element("title", description), element("path", class_="rail", d=f"M0,8H{WIDTH}")]
    if baseline is not None:
        elements.append(element("path", class_="base", d=f"M{at(baseline):.1f},0V16"))
    if mean is not None and deviation and finite(deviation) is not None:
        start, end = at(mean - deviation), at(mean + deviation)
        elements.append(element("path", class_="span", d=f"M{start:.1f},8H{end:.1f}"))
    if mean is not None:
        elements.append(element("circle", class_="mean", cx=at(mean), cy=MIDDLE, r=2.5))
    elements.append(element("circle", class_="top", cx=at(best), cy=MIDDLE, r=3.0))
    return element(
        "svg", *elements, class_="whisker", viewBox=f"0 0 {WIDTH} 16", role="img", aria_label=description
    )
