"""Parallel coordinates: one axis per parameter, one line per trial, the objective as the last axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

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
from experiments.charts.drawing.marks import TrialMark, linked, spread, trials
from experiments.charts.drawing.parameter_axis import Parameter, ParameterScale
from experiments.charts.drawing.scale import finite, significant
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
    behind = [mark for mark in faded if finite(mark.value) is not None][:MOST_LINES]
    every = [*lines, *behind]
    axes = [_axis(parameter, every, log, linear) for parameter in parameters]
    description = f"{clip(metric, 80)} and {len(axes)} parameters of {trials(len(lines))}"
    description += f" out of {total:,}." if len(lines) < total else "."
    if lines:
        description += f" The best is trial {lines[0].number}: {significant(lines[0].value or 0.0, 12)}."

    def draw(width: int) -> Drawing:
        if not lines:
            return empty("No values yet", width, 220)
        plot = _Plot(axes, every, width, metric, direction, flipped, is_log)
        most = MOST_IN.get(width, MOST_LINES)
        elements = [plot.line(mark, "thread is-out") for mark in behind[:most]]
        elements += [
            plot.line(mark, f"thread q{level(place, len(lines))}", is_stop=place == 0)
            for place, mark in reversed(list(enumerate(lines[:most])))
        ]
        return Drawing([element("g", *elements), *plot.axes()], plot.height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    columns = ("Trial", metric, *(parameter.name for parameter in parameters))
    rows = [(m.number, finite(m.value), *(m.params.get(p.name) for p in parameters)) for m in lines]
    return Chart(svg, TITLE, description, columns, rows)


def ranked(marks: Sequence[TrialMark], direction: str) -> list[TrialMark]:
    """Return the marks that have a value, the best first."""
    sign = -1.0 if direction == "maximize" else 1.0
    valued = [
        (sign * value, mark.number, mark) for mark in marks if (value := finite(mark.value)) is not None
    ]
    return [mark for _, _, mark in sorted(valued, key=lambda each: each[:2])]


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
        values = [value for mark in marks if (value := finite(mark.value)) is not None]
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

    def line(self, mark: TrialMark, css: str, *, is_stop: bool = False) -> Svg:
        path, pen, params, side = "", "M", mark.params, spread(mark.number)
        for name, x, scale, width in self.columns:
            y = scale.at(params[name]) if name in params else None
            if y is None:
                pen = "M"  # a conditional parameter that this trial does not have
                continue
            path += f"{pen}{x},{px(self.box.clamp_y(y + side * width))}"
            pen = "L"
        path += f"{pen}{self.end},{px(self._value_at(mark))}"
        if path.startswith("M") and "L" not in path:
            path += "h0"
        return linked(f'<path class="{css}" d="{path}"/>', mark.title, mark.href, is_stop=is_stop)

    def _value_at(self, mark: TrialMark) -> float:
        y = self.box.clamp_y(self.scale.at(mark.value or 0.0))
        return self.box.top + self.box.bottom - y if self.is_flipped else y

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
