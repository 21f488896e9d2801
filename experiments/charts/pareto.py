"""The Pareto front of two objectives: every trial at its two values, and the front as a step line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.charts.drawing.axes import (
    HALF_WIDTHS,
    Box,
    Drawing,
    Scale,
    below,
    caption,
    drawn,
    empty,
    grid,
    is_narrow,
    left_of,
    value_scale,
)
from experiments.charts.drawing.marks import Frames, TrialMark, thinned, trials
from experiments.charts.drawing.scale import Linear, Log
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label, px

TITLE = "Pareto front"
MOST_DOMINATED = {1070: 1500, 640: 600, 510: 500, 320: 200}
MOST_LABELS = 12  # trials on the front that are labeled with their number
LABEL = 34  # pixels between two labels


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and its direction, "minimize" or "maximize"."""

    metric: str
    direction: str

    @property
    def arrow(self) -> str:
        return "↑" if self.direction == "maximize" else "↓"

    def loss(self, value: float) -> float:
        """Return the value so that lower is better."""
        return -value if self.direction == "maximize" else value


class ParetoMark(NamedTuple):
    """A trial with its values of all objectives, in their order."""

    trial: TrialMark
    values: tuple[float, ...]
    is_front: bool = False


def pareto(
    marks: Sequence[ParetoMark],
    objectives: Sequence[Objective],
    *,
    x: int = 1,
    y: int = 0,
    total: int,
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "pareto",
) -> Chart:
    """Draw trials at their values of objectives number `x` and `y`. `total` is the number of trials from which they
    were sampled. With more than two objectives there is no line: a trial on the front may be dominated in these two.
    """
    front = [mark for mark in marks if mark.is_front]
    across, up = objectives[x], objectives[y]
    noun = f"{trials(len(front))} on the Pareto front"
    description = f"{noun}, {clip(up.metric, 80)} against {clip(across.metric, 80)}"
    description += f", {trials(len(marks))}" + (f" out of {total:,}." if len(marks) < total else ".")

    frames = Frames()

    def draw(width: int) -> Drawing:
        narrow = is_narrow(width)
        height = 270.0 if narrow else 330.0
        if not marks:
            return empty("No results yet", width, height)
        box = Box(0, width - 16, 26, height - 40)
        ys = [mark.values[y] for mark in marks]
        scale, low, high = value_scale(ys, box, keep=[mark.values[y] for mark in front])
        left = min(left_of([tick.label for tick in scale.ticks], narrow=narrow), 90.0)
        box = Box(left, box.right, box.top, box.bottom)
        side, first, last = _across(marks, front, x, box, narrow=narrow)
        elements = [
            grid(scale.ticks, box),
            below(side.ticks, box),
            caption(
                f"{clip(across.metric, int(box.width / 7) - 3)} {across.arrow}", box, height - 4, mono=True
            ),
            label(2, 13, f"{clip(up.metric, int(width / 7) - 4)} {up.arrow}", class_="mono ink"),
        ]
        if len(objectives) == 2 and front:
            points = [(mark.values[x], mark.values[y]) for mark in front]
            elements.append(element("path", class_="front", d=_line(points, across, up, side, scale, box)))
        behind = thinned([mark.trial for mark in marks if not mark.is_front], MOST_DOMINATED.get(width, 500))
        shown = {mark.number for mark in behind}
        every = [*(mark for mark in marks if mark[0][0] in shown), *front]
        xs, ys = [mark[1][x] for mark in every], [mark[1][y] for mark in every]
        dots = [
            _dot(
                box.left if at_x < box.left else box.right if at_x > box.right else at_x,
                box.top if at_y < box.top else box.bottom if at_y > box.bottom else at_y,
                is_front=mark[2],
                is_inside=first <= value_x <= last and low <= value_y <= high,
            )
            for mark, at_x, at_y, value_x, value_y in zip(
                every, side.all_at(xs), scale.all_at(ys), xs, ys, strict=True
            )
        ]
        elements.append(element("g", frames.around([mark.trial for mark in every], dots)))
        places = [(side.at(mark.values[x]), scale.at(mark.values[y]), mark.trial.number) for mark in front]
        elements.append(_labels(places, box))
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    order = sorted(marks, key=lambda mark: (not mark.is_front, mark.trial.number))
    columns = ("Trial", *(objective.metric for objective in objectives), "On the front")
    rows = [(mark.trial.number, *mark.values, mark.is_front) for mark in order]
    kinds = frozenset("front" if mark.is_front else "dominated" for mark in marks)
    return Chart(svg, TITLE, description, columns, rows, kinds)


def _across(
    marks: Sequence[ParetoMark], front: Sequence[ParetoMark], x: int, box: Box, *, narrow: bool
) -> tuple[Scale, float, float]:
    """Return the horizontal scale and the range that it shows: like the vertical one, without outliers."""
    upright = Box(0, 0, 0, 1)
    values = [mark.values[x] for mark in marks]
    scale, low, high = value_scale(values, upright, keep=[mark.values[x] for mark in front], margin=0.03)
    count = 3 if narrow else 5
    make = Log if isinstance(scale, Log) else Linear
    return make(scale.low, scale.high, start=box.left, end=box.right, count=count), low, high


def _line(
    points: Sequence[tuple[float, float]],
    across: Objective,
    up: Objective,
    side: Scale,
    scale: Scale,
    box: Box,
) -> str:
    """Return the step line from the best value to the worst of the horizontal axis; everything behind it is
    dominated."""
    ordered = sorted(set(points), key=lambda point: (across.loss(point[0]), up.loss(point[1])))
    worst_y = box.bottom if up.direction == "maximize" else box.top
    worst_x = box.right if across.direction == "minimize" else box.left
    path = f"M{px(side.at(ordered[0][0]))},{px(worst_y)}"
    for value_x, value_y in ordered:
        path += f"H{px(side.at(value_x))}V{px(box.clamp_y(scale.at(value_y)))}"
    return f"{path}H{px(worst_x)}"


def _dot(x: float, y: float, *, is_front: bool, is_inside: bool) -> str:
    if is_front:
        return f'<circle class="dot is-front" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    css = "dot is-faint" if is_inside else "dot is-live"
    return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _labels(places: Sequence[tuple[float, float, int]], box: Box) -> Svg:
    """Return the numbers of trials on the front, as far as there is space."""
    labels: list[Svg] = []
    taken: list[tuple[float, float]] = []
    for x, y, number in sorted(places):
        if len(labels) == MOST_LABELS:
            break
        if any(abs(x - other_x) < LABEL and abs(y - other_y) < 14 for other_x, other_y in taken):
            continue
        taken.append((x, y))
        is_right = x > box.right - 40
        labels.append(
            label(
                x + (-8 if is_right else 8),
                max(y - 7, box.top + 4),
                f"#{number}",
                class_="ink halo",
                anchor="end" if is_right else None,
            )
        )
    return element("g", *labels)
