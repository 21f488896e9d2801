"""Slices: the value of each trial against one parameter, as a grid of small plots."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from statistics import median

from experiments.charts.drawing.axes import (
    Box,
    Drawing,
    Scale,
    below,
    drawn,
    empty,
    grid,
    left_of,
    value_scale,
)
from experiments.charts.drawing.marks import Frames, TrialMark, kinds_of, shapes, spread, thinned, trials
from experiments.charts.drawing.parameter_axis import Parameter, ParameterScale
from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Chart, Svg, clip, element, px

WIDTHS = (236, 150)
HEIGHTS = {236: 164.0, 150: 132.0}
MOST_MARKS = {236: 120, 150: 60}  # of one small plot
TREND_POINTS = 20
BANDWIDTH = 0.09  # of the axis: the standard deviation of the local mean's kernel


def slices(
    marks: Sequence[TrialMark],
    parameters: Sequence[Parameter],
    *,
    metric: str,
    best: Collection[int],
    is_log: bool | None = None,
    widths: Sequence[int] = WIDTHS,
    key: str = "slice",
) -> list[Chart]:
    """Draw one small plot per parameter, each of at most 120 trials, with the local mean, or the median per choice.
    `best` are the numbers of the trials that are marked: the best one, or the Pareto front."""
    valued = [mark for mark in marks if mark[1] is not None and -inf < mark[1] < inf]
    frames = Frames()
    return [
        _slice(
            valued,
            parameter,
            frames,
            metric=metric,
            best=best,
            is_log=is_log,
            widths=widths,
            key=f"{key}-{place}",
        )
        for place, parameter in enumerate(parameters)
    ]


def slice_points(marks: Sequence[TrialMark], parameter: str) -> list[tuple[object, float]]:
    """Return (parameter's value, value) of each trial that has both."""
    return [
        (mark.params[parameter], value)
        for mark in marks
        if parameter in mark.params and (value := finite(mark.value)) is not None
    ]


def local_mean(points: Sequence[tuple[float, float]], at: Sequence[float], bandwidth: float) -> list[float]:
    """Return the kernel mean (Nadaraya-Watson, Gaussian kernel) of (x, y) points at each x."""
    import numpy as np

    xs, ys = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    scale = float(np.max(np.abs(ys))) or 1.0  # so that sums of huge values stay finite
    distances = np.abs(np.array(at, dtype=float)[:, None] - xs[None, :])
    weights = np.exp(-0.5 * np.minimum((distances / bandwidth) ** 2, 1400.0))
    sums = weights.sum(axis=1)
    means = weights @ (ys / scale) / np.maximum(sums, 1e-300) * scale
    nearest = ys[distances.argmin(axis=1)]
    return np.where(sums > 1e-12, means, nearest).tolist()


def _slice(
    marks: Sequence[TrialMark],
    parameter: Parameter,
    frames: Frames,
    *,
    metric: str,
    best: Collection[int],
    is_log: bool | None,
    widths: Sequence[int],
    key: str,
) -> Chart:
    every = [mark for mark in marks if parameter.name in mark.params]
    most = max(MOST_MARKS.values())
    having = thinned(every, most, best=best)
    title = f"{clip(metric, 80)} by {clip(parameter.name, 80)}"
    description = f"{trials(len(having))}."

    axis = parameter.covering(mark.params[parameter.name] for mark in having)

    def draw(width: int) -> Drawing:
        height = HEIGHTS.get(width, 164.0)
        values = [mark.value for mark in having if mark.value is not None]
        if not values:
            return empty("No results yet", width, height)
        keep = [mark.value for mark in having if mark.number in best and mark.value is not None]
        box = Box(0, width, 10, height - 26)
        scale, low, high = value_scale(values, box, keep=keep, is_log=is_log, count=3)
        left = left_of([tick.label for tick in scale.ticks], narrow=True)
        box = Box(min(left, 0.4 * width), width - 12, box.top, box.bottom)
        inset = (box.width / len(axis.choices) / 2) if axis.choices else 0.0
        x = axis.scale(start=box.left + inset, end=box.right - inset, count=3)
        elements = [grid(scale.ticks, box), below(_short_ticks(x, box), box)]
        drawn_here = thinned(having, MOST_MARKS.get(width, most), best=best)
        ordered = sorted(drawn_here, key=lambda mark: mark.number in best)
        placed = [
            (mark, place, mark.value)
            for mark, place in zip(
                ordered, x.all_at([mark.params[parameter.name] for mark in ordered]), strict=True
            )
            if place is not None and mark.value is not None
        ]
        points = [(place, value) for _, place, value in placed]
        xs = [place + spread(mark.number) * inset if inset else place for mark, place, _ in placed]
        drawn_marks = shapes(
            [mark.state for mark, _, _ in placed],
            xs,
            [
                box.top if at < box.top else box.bottom if at > box.bottom else at
                for at in scale.all_at([value for _, value in points])
            ],
            2.4,
            [(value > high) - (value < low) for _, value in points],
            best=[mark.number in best for mark, _, _ in placed],
        )
        elements.append(element("g", frames.around([mark for mark, _, _ in placed], drawn_marks)))
        if axis.choices:
            elements += _medians(points, scale, box, inset)
        elif len(points) > 4:
            elements.append(_trend([point for point in points if low <= point[1] <= high], scale, box))
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=title, description=description)
    rows = [(mark.number, mark.params[parameter.name], mark.value) for mark in having]
    kinds = kinds_of({mark.state for mark in having}, best=any(mark.number in best for mark in having))
    return Chart(svg, parameter.name, description, ("Trial", parameter.name, metric), rows, kinds)


def _short_ticks(x: ParameterScale, box: Box) -> list:
    ticks = x.ticks
    if x.parameter.choices is None:
        return ticks
    most = max(3, int(box.width / max(len(ticks), 1) / 7))
    return [tick._replace(label=clip(tick.label, most)) for tick in ticks]


def _medians(points: Sequence[tuple[float, float]], scale: Scale, box: Box, inset: float) -> list[Svg]:
    at: dict[float, list[float]] = {}
    for x, value in points:
        at.setdefault(x, []).append(value)
    lines = []
    for x, values in at.items():
        y = box.clamp_y(scale.at(median(values)))
        lines.append(element("line", class_="median", x1=x - 0.6 * inset, x2=x + 0.6 * inset, y1=y, y2=y))
    return lines


def _trend(points: Sequence[tuple[float, float]], scale: Scale, box: Box) -> Svg:
    if len(points) < 5:
        return Svg()
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    xs = [low + (high - low) * place / (TREND_POINTS - 1) for place in range(TREND_POINTS)]
    means = local_mean(points, xs, BANDWIDTH * box.width)
    path = "L".join(f"{px(x)},{px(box.clamp_y(scale.at(y)))}" for x, y in zip(xs, means, strict=True))
    return element("path", class_="trend", d=f"M{path}")
