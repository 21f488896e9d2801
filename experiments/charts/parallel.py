"""Parallel coordinates: one axis per parameter, one line per trial, the objective as the last axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf

from experiments.charts.drawing.axes import (
    FULL_WIDTHS,
    Box,
    Drawing,
    Scale,
    drawn,
    empty,
    is_narrow,
    value_scale,
)
from experiments.charts.drawing.marks import Frames, TrialMark, spread, trials
from experiments.charts.drawing.parameter_axis import Parameter, ParameterScale
from experiments.charts.drawing.scale import significant
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label, px

MOST_LINES = 300
MOST_IN = {640: 150, 320: 75}  # lines by width; 300 in the widest drawing
MOST_AXES = {1070: 10, 640: 7, 320: 4}  # by width, the objective included
LEVELS = 5  # of the color ramp from the worst line to the best
TITLE = "Parallel coordinates"


def parallel(
    marks: Sequence[TrialMark],
    parameters: Sequence[Parameter],
    *,
    metric: str,
    direction: str,
    total: int,
    faded: Sequence[TrialMark] = (),
    flipped: Collection[str] = (),
    log: Collection[str] = (),
    linear: Collection[str] = (),
    is_log: bool | None = None,
    widths: Sequence[int] = FULL_WIDTHS,
    key: str = "parallel",
) -> Chart:
    """Draw each trial with a value as a line through its parameters to its value; the best ones are drawn on top.

    At most 300 lines are drawn: the best ones. `total` is the number of trials from which the marks were sampled.
    `faded` trials are drawn in the background. `flipped`, `log` and `linear` name axes; `metric` names the last one.
    """
    lines = ranked(marks, direction)[:MOST_LINES]
    behind = [mark for mark in faded if mark[1] is not None and -inf < mark[1] < inf][:MOST_LINES]
    every = [*lines, *behind]
    axes = [_axis(parameter, every, log, linear) for parameter in parameters]
    description = f"{clip(metric, 80)} and {len(axes)} parameters of {trials(len(lines))}"
    description += f" out of {total:,}." if len(lines) < total else "."
    if lines:
        description += f" The best is trial {lines[0].number}: {significant(lines[0].value or 0.0, 12)}."

    frames = Frames()

    def draw(width: int) -> Drawing:
        if not lines:
            return empty("No values yet", width, 220)
        plot = _Plot(axes, every, width, metric, direction, flipped, is_log)
        most = MOST_IN.get(width, MOST_LINES)
        best_last = list(reversed(lines[:most]))
        shown = [*behind[:most], *best_last]
        styles = ["thread is-out"] * len(behind[:most])
        styles += [f"thread q{level(place, len(lines))}" for place in reversed(range(len(best_last)))]
        paths = [
            f'<path class="{css}" d="{path}"/>' for css, path in zip(styles, plot.paths(shown), strict=True)
        ]
        return Drawing([element("g", frames.around(shown, paths, stop=-1)), *plot.axes()], plot.height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    names = [parameter.name for parameter in parameters]
    columns = ("Trial", metric, *names)
    cells = [[mark.params.get(name) for mark in lines] for name in names]
    rows = list(zip([mark.number for mark in lines], [mark.value for mark in lines], *cells, strict=True))
    return Chart(svg, TITLE, description, columns, rows)


def ranked(marks: Sequence[TrialMark], direction: str) -> list[TrialMark]:
    """Return the marks that have a value, the best first."""
    sign = -1.0 if direction == "maximize" else 1.0
    valued = [
        (sign * mark[1], mark[0], place, mark)
        for place, mark in enumerate(marks)
        if mark[1] is not None and -inf < mark[1] < inf
    ]
    return [mark for *_, mark in sorted(valued)]


def _path(points: Sequence[str]) -> str:
    """Return the path through the points, with a gap at each blank one."""
    path, pen = "", "M"
    for point in points:
        path += f"{pen}{point}" if point else ""
        pen = "L" if point else "M"
    return path if "L" in path else f"{path}h0"


def level(place: int, count: int) -> int:
    """Return the step of the color ramp, 1 to 5, of rank `place` (from 0) among `count`: the best fifth gets 5."""
    return LEVELS - min(LEVELS - 1, place * LEVELS // max(count, 1))


def _axis(
    parameter: Parameter, marks: Sequence[TrialMark], log: Collection[str], linear: Collection[str]
) -> Parameter:
    if parameter.name in log or parameter.name in linear:
        parameter = replace(parameter, is_log=parameter.name in log)
    return parameter.covering(m.params[parameter.name] for m in marks if parameter.name in m.params)


class _Plot:
    """The axes for one width."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        marks: Sequence[TrialMark],
        width: int,
        metric: str,
        direction: str,
        flipped: Collection[str],
        is_log: bool | None,
    ) -> None:
        self.narrow = is_narrow(width)
        most = MOST_AXES.get(width, max(2, width // 90))
        self.parameters = list(parameters[: most - 1])
        self.metric, self.flipped = metric, flipped
        self.height = 260.0 if self.narrow else 300.0
        side = 26.0 if self.narrow else 40.0
        self.box = Box(side, width - side, 42.0, self.height - 26.0)
        count = len(self.parameters)
        self.xs = [self.box.left + self.box.width * place / max(count, 1) for place in range(count)]
        self.xs.append(self.box.right)
        self.gap = self.box.width / max(count, 1)
        self.scales = [self._scale(parameter) for parameter in self.parameters]
        spreads = [
            0.0 if each.choices is None else min(14.0, 0.5 * self.box.height / max(len(each.choices), 1))
            for each in self.parameters
        ]
        names = [each.name for each in self.parameters]
        self.columns = list(zip(names, map(px, self.xs), self.scales, spreads, strict=False))
        self.end = px(self.xs[-1])
        values = [mark[1] for mark in marks if mark[1] is not None and -inf < mark[1] < inf]
        best = min(values) if direction == "minimize" else max(values)
        self.scale: Scale
        self.scale, self.low, self.high = value_scale(
            values, self.box, keep=[best], is_log=is_log, margin=0.0
        )
        self.is_flipped = metric in flipped

    def _scale(self, parameter: Parameter) -> ParameterScale:
        inset = 0.04 * self.box.height if parameter.choices is not None else 0.0
        start, end = self.box.bottom - inset, self.box.top + inset
        if parameter.name in self.flipped:
            start, end = end, start
        return parameter.scale(start=start, end=end)

    def paths(self, marks: Sequence[TrialMark]) -> list[str]:
        """Return the path of each trial through its parameters to its value. Built by axis, which saves calls."""
        top, bottom = self.box.top, self.box.bottom
        params = [mark.params for mark in marks]
        sides = [spread(mark.number) for mark in marks]
        columns: list[list[str]] = []  # by axis: the point of each trial, blank where it lacks the parameter
        for name, x, scale, width in self.columns:
            if all([name in each for each in params]):
                ys = scale.all_at([each[name] for each in params])
            else:
                ys = [scale.at(each[name]) if name in each else None for each in params]
            if width:
                ys = [None if y is None else y + side * width for y, side in zip(ys, sides, strict=True)]
            columns.append(
                [
                    ""
                    if y is None
                    else f"{x},{top:.1f}"
                    if y < top
                    else f"{x},{bottom:.1f}"
                    if y > bottom
                    else f"{x},{y:.1f}"
                    for y in ys
                ]
            )
        ends = [
            bottom if y > bottom else max(top, y)
            for y in self.scale.all_at([mark.value or 0.0 for mark in marks])
        ]
        if self.is_flipped:
            ends = [top + bottom - y for y in ends]
        columns.append([f"{self.end},{y:.1f}" for y in ends])
        if len(columns) > 1 and not any(["" in column for column in columns]):
            return ["M" + path for path in map("L".join, zip(*columns, strict=True))]
        return [_path(points) for points in zip(*columns, strict=True)]

    def axes(self) -> list[Svg]:
        elements: list[Svg] = []
        for place, (x, parameter, scale) in enumerate(
            zip(self.xs, self.parameters, self.scales, strict=False)
        ):
            low, high = scale.ends()
            if parameter.name in self.flipped:
                low, high = high, low
            inner = scale.ticks[1:-1] if parameter.choices is not None and not self.narrow else []
            elements.append(self._axis(x, parameter.name, high, low, is_first=place == 0, inner=inner))
            if parameter.choices is None:
                elements.append(self._grip(x, parameter))
        texts = [self.scale.text(self.high), self.scale.text(self.low)]
        name = "value" if self.narrow and len(self.metric) > 10 else self.metric
        top, bottom = reversed(texts) if self.is_flipped else texts
        elements.append(self._axis(self.xs[-1], name, top, bottom, is_last=True))
        return elements

    def _grip(self, x: float, parameter: Parameter) -> Svg:
        """Return the area in which the pointer selects a range; the script reads the values of both ends from it."""
        low, high = parameter.low, parameter.high
        if parameter.name in self.flipped:
            low, high = high, low
        ends = {
            "data_low": repr(low),
            "data_high": repr(high),
            "data_log": "log" if parameter.is_log else None,
        }
        size = {"x": x - 9, "y": self.box.top, "width": 18.0, "height": self.box.height}
        return element("rect", class_="grip", data_axis=parameter.name, **ends, **size)

    def _axis(
        self,
        x: float,
        name: str,
        top: str,
        bottom: str,
        *,
        is_first: bool = False,
        is_last: bool = False,
        inner: Sequence = (),
    ) -> Svg:
        anchor = "end" if is_last else None if is_first else "middle"
        at = 2.0 if is_first else x + self.box.left - 2 if is_last else x
        space = 0.58 * self.gap + self.box.left if is_first or is_last else 0.76 * self.gap
        most = max(4, int(space / 6.8))
        elements = [
            element("line", class_="axis", x1=x, x2=x, y1=self.box.top, y2=self.box.bottom),
            label(at, 13, clip(name, most), class_="mono ink", anchor=anchor),
            label(at, self.box.top - 11, clip(top, most), anchor=anchor),
            label(at, self.box.bottom + 17, clip(bottom, most), anchor=anchor),
        ]
        every = max(1, -(-len(inner) // 8))
        elements += [
            label(x + 6, tick.at + 4, clip(tick.label, most), class_="halo minor") for tick in inner[::every]
        ]
        if len(name) > most:
            elements.append(element("title", name))
        return element("g", *elements)
