"""Plots that a script reported in plotly's format: lines, points, bars, histograms and heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.charts.curve import thinned
from experiments.charts.drawing.scale import Linear, significant
from experiments.charts.drawing.svg import (
    NARROW,
    TURN,
    WIDE,
    Chart,
    Svg,
    clip,
    element,
    frame,
    join,
    label,
    px,
)
from experiments.charts.plot_data import matrix_of, number_of, text_of, title_of, values_of

DIGIT = 6.6  # approximate width of a digit at 11 px
COLORS = 6
MAX_TRACES = 12
MAX_POINTS = 400  # drawn of one trace
MAX_BARS = 80
MAX_CELLS = 40  # of a heat map, in each direction; larger ones are averaged
BINS = 20
MAX_ROWS = 1000  # of the data table


@dataclass(frozen=True)
class Trace:
    """One trace: `kind` is line, points, both or bar; `xs` are numbers, or texts for categories."""

    name: str
    kind: str
    xs: list[Any]
    ys: list[float | None] = field(default_factory=list)


def plot(figure: Mapping[str, Any], *, key: str, title: str) -> Chart | None:
    """Draw a plotly figure {"data": traces, "layout": …}; None if it has unsupported kinds of traces. `key` must be
    unique in the page. The rows of the chart are the plotted values.
    """
    traces = [trace for trace in values_of(figure.get("data")) if isinstance(trace, Mapping)]
    layout = figure.get("layout")
    axes = [title_of(layout.get(axis)) if isinstance(layout, Mapping) else "" for axis in ("xaxis", "yaxis")]
    kinds = {trace.get("type") or "scatter" for trace in traces}
    if kinds == {"heatmap"} and len(traces) == 1:
        return _heat_map(traces[0], axes, key=key, title=title)
    read = [_trace(trace, number) for number, trace in enumerate(traces[:MAX_TRACES], start=1)]
    drawn = [trace for trace in read if trace and any(y is not None for y in trace.ys)]
    if not drawn or None in read:
        return None
    return _xy(drawn, axes, key=key, title=title)


def _trace(trace: Mapping[str, Any], number: int) -> Trace | None:
    kind = trace.get("type") or "scatter"
    name = clip(text_of(trace.get("name")) or f"series {number}", 40)
    if kind == "histogram":
        return _histogram(name, values_of(trace.get("x")))
    ys = [number_of(value) for value in values_of(trace.get("y"))]
    xs = values_of(trace.get("x")) or list(range(len(ys)))
    numbers = [number_of(x) for x in xs]
    is_numeric = None not in numbers and not any(isinstance(x, bool | str) for x in xs)
    length = min(len(xs), len(ys))
    shown = (numbers if is_numeric else [text_of(x) for x in xs])[:length]
    if kind == "bar" and trace.get("orientation") != "h":
        return Trace(name, "bar", shown, ys[:length])
    if kind not in ("scatter", "scattergl"):
        return None
    mode = str(trace.get("mode") or "lines")
    style = "both" if "lines" in mode and "markers" in mode else "points" if "markers" in mode else "line"
    return Trace(name, style, shown, ys[:length])


def _histogram(name: str, values: Sequence[Any]) -> Trace:
    numbers = [number for value in values if (number := number_of(value)) is not None]
    if not numbers:
        return Trace(name, "bar", [])
    low, high = min(numbers), max(numbers)
    width = (high - low) / BINS or 1.0
    counts = [0] * (BINS if high > low else 1)
    for number in numbers:
        counts[min(int((number - low) / width), len(counts) - 1)] += 1
    return Trace(
        name, "bar", [significant(low + width * bin, 3) for bin in range(len(counts))], [*map(float, counts)]
    )


def _xy(traces: list[Trace], axes: list[str], *, key: str, title: str) -> Chart:
    elements = []
    description = (
        f"{_some(len(traces), 'series', 'series')}: " + ", ".join(_described(trace) for trace in traces) + "."
    )
    for width, fit in ((WIDE, "is-wide"), (NARROW, "is-narrow")):
        drawing = _XY(traces, axes, width)
        body = drawing.draw()
        size = {"width": width, "height": drawing.height}
        elements.append(frame(*body, key=key, title=title, description=description, fit=fit, **size))
    rows = [
        (trace.name, x if isinstance(x, str) else f"{x:g}", y)
        for trace in traces
        for x, y in zip(trace.xs, trace.ys, strict=True)
    ]
    return Chart(
        join(elements), title, description, ("Series", axes[0] or "x", axes[1] or "y"), rows[:MAX_ROWS]
    )


def _described(trace: Trace) -> str:
    values = [y for y in trace.ys if y is not None]
    return f"{trace.name} from {significant(min(values))} to {significant(max(values))}"


def _some(count: int, singular: str, plural: str) -> str:
    return f"{count:,} {singular if count == 1 else plural}"


class _XY:
    """Lines, points and bars on two axes, for one width."""

    def __init__(self, traces: list[Trace], axes: list[str], width: int) -> None:
        self.traces, self.axes, self.width = traces, axes, width
        self.is_narrow = width < TURN
        self.has_legend = len(traces) > 1
        self.top = 40.0 if self.has_legend else 22.0
        self.height = 236.0
        self.bottom = self.height - (42.0 if axes[0] else 26.0)
        self.bars = [trace for trace in traces if trace.kind == "bar"]
        ys = [y for trace in traces for y in trace.ys if y is not None]
        low, high = min(ys), max(ys)
        if self.bars:
            low, high = min(low, 0.0), max(high, 0.0)
        self.y = Linear(low, high, start=self.bottom, end=self.top, snap=True)
        self.first_x = max(30.0, 10 + DIGIT * max(len(tick.label) for tick in self.y.ticks))
        self.last_x = width - 12.0
        self.names: list[str] | None = None
        xs = [x for trace in traces for x in trace.xs]
        if self.bars or any(isinstance(x, str) for x in xs):
            self.names = list(dict.fromkeys(x if isinstance(x, str) else f"{x:g}" for x in xs))[:MAX_BARS]
            self.step = (self.last_x - self.first_x) / len(self.names)
            self.places = {
                name: self.first_x + self.step * (index + 0.5) for index, name in enumerate(self.names)
            }
        else:
            count = 3 if self.is_narrow else 6
            self.x = Linear(min(xs), max(xs), start=self.first_x + 4, end=self.last_x - 4, count=count)

    def draw(self) -> list[Svg]:
        return [self._grid(), *self._bars(), *self._lines(), *self._legend()]

    def at(self, x: Any) -> float | None:
        """Return the pixel of a value; None for a category that is not shown."""
        if self.names is None:
            return self.x.at(x)
        return self.places.get(x if isinstance(x, str) else f"{x:g}")

    def _grid(self) -> Svg:
        elements = []
        for tick in self.y.ticks:
            y = float(tick.at)
            elements.append(element("line", class_="grid-line", x1=self.first_x, x2=self.last_x, y1=y, y2=y))
            elements.append(label(self.first_x - 8, y + 4, tick.label, anchor="end"))
        if self.axes[1]:
            elements.append(label(4.0, 12.0, clip(self.axes[1], 40)))
        if self.axes[0]:
            middle = (self.first_x + self.last_x) / 2
            elements.append(label(middle, self.height - 6, clip(self.axes[0], 40), anchor="middle"))
        base = self.bottom + 17
        if self.names is None:
            elements += [label(tick.at, base, tick.label, anchor="middle") for tick in self.x.ticks]
        else:
            longest = max(map(len, self.names))
            every = max(1, math.ceil(DIGIT * (min(longest, 14) + 1) / self.step))
            length = max(3, int(self.step * every / DIGIT))
            for name in self.names[::every]:
                elements.append(label(self.places[name], base, clip(name, length), anchor="middle"))
        return element("g", *elements)

    def _bars(self) -> list[Svg]:
        elements = []
        wide = self.step * 0.8 / len(self.bars) if self.bars else 0.0
        zero = self.y.at(0) if self.bars else 0.0
        for number, trace in enumerate(self.bars):
            path = ""
            for x, y in zip(trace.xs, trace.ys, strict=True):
                at = self.at(x)
                if at is None or y is None:
                    continue
                left = at + wide * (number - len(self.bars) / 2)
                path += f"M{px(left)},{px(zero)}V{px(self.y.at(y))}h{px(max(wide - 1, 0.5))}V{px(zero)}z"
            elements.append(element("path", class_=f"cat-{self._color(trace)}", d=path))
        return elements

    def _lines(self) -> list[Svg]:
        elements = []
        for trace in self.traces:
            if trace.kind == "bar":
                continue
            color, points = self._color(trace), self._points(trace)
            if trace.kind in ("line", "both"):
                path, begins = "", True
                for x, y in points:
                    if y is None:
                        begins = True
                        continue
                    path += f"{'M' if begins else ' '}{px(x)},{px(self.y.at(y))}"
                    begins = False
                elements.append(element("path", class_=f"cat-line-{color}", d=path))
            if trace.kind in ("points", "both") or sum(y is not None for _, y in points) == 1:
                dots = [(x, y) for x, y in points if y is not None]
                circles = (element("circle", cx=x, cy=self.y.at(y), r=2.5) for x, y in dots)
                elements.append(element("g", *circles, class_=f"cat-{color}"))
        return elements

    def _points(self, trace: Trace) -> list[tuple[float, float | None]]:
        points = [(at, y) for x, y in zip(trace.xs, trace.ys, strict=True) if (at := self.at(x)) is not None]
        return thinned(points, MAX_POINTS)

    def _color(self, trace: Trace) -> int:
        return self.traces.index(trace) % COLORS + 1

    def _legend(self) -> list[Svg]:
        if not self.has_legend:
            return []
        elements, x = [], self.first_x
        for place, trace in enumerate(self.traces):
            name = clip(trace.name, 12 if self.is_narrow else 20)
            length = 16 + DIGIT * len(name) + 12
            if x + length > self.last_x and place:
                elements.append(label(x, 29.0, f"+{len(self.traces) - place}"))
                break
            elements.append(
                element("rect", class_=f"cat-{self._color(trace)}", x=x, y=20.0, width=10, height=10)
            )
            elements.append(label(x + 15, 29.0, name, class_="ink"))
            x += length
        return elements


def _heat_map(trace: Mapping[str, Any], axes: list[str], *, key: str, title: str) -> Chart | None:
    rows = matrix_of(trace.get("z"))
    values = [value for row in rows for value in row if value is not None]
    if not values:
        return None
    columns = [text_of(x) for x in values_of(trace.get("x"))] or [
        str(number) for number in range(len(rows[0]))
    ]
    names = [text_of(y) for y in values_of(trace.get("y"))] or [str(number) for number in range(len(rows))]
    columns, names = columns + [""] * (len(rows[0]) - len(columns)), names + [""] * (len(rows) - len(names))
    description = (
        f"A heat map of {len(rows):,} × {len(rows[0]):,} cells from {significant(min(values))} to "
        f"{significant(max(values))}."
    )
    elements = []
    for width, fit in ((WIDE, "is-wide"), (NARROW, "is-narrow")):
        drawing = _HeatMap(rows, columns, names, axes, width)
        size = {"width": width, "height": drawing.height}
        elements.append(
            frame(*drawing.draw(), key=key, title=title, description=description, fit=fit, **size)
        )
    table = [(names[i], columns[j], value) for i, row in enumerate(rows) for j, value in enumerate(row)]
    heads = (axes[1] or "y", axes[0] or "x", "Value")
    return Chart(join(elements), title, description, heads, table[:MAX_ROWS])


class _HeatMap:
    """Cells in five steps of one ramp, with their numbers where there is space."""

    def __init__(
        self,
        rows: list[list[float | None]],
        columns: list[str],
        names: list[str],
        axes: list[str],
        width: int,
    ) -> None:
        self.rows, self.down, self.across = _pooled(rows)
        self.columns, self.names, self.axes, self.width = columns, names, axes, width
        longest = min(max(map(len, names)), 14)
        self.first_x = 12 + DIGIT * max(longest, 2)
        self.top = 24.0
        self.wide = (width - 12.0 - self.first_x) / len(self.rows[0])
        self.tall = max(8.0, min(self.wide, 34.0, 280.0 / len(self.rows)))
        self.bottom = self.top + self.tall * len(self.rows)
        self.height = self.bottom + (44.0 if axes[0] else 26.0)
        values = [value for row in self.rows for value in row if value is not None]
        self.low, self.high = min(values), max(values)

    def draw(self) -> list[Svg]:
        cells: list[list[str]] = [[] for _ in range(5)]
        numbers = []
        texts = [[significant(value, 3) if value is not None else "" for value in row] for row in self.rows]
        widest = DIGIT * max(len(text) for row in texts for text in row)
        has_numbers = widest + 4 < self.wide and self.tall >= 13
        for i, row in enumerate(self.rows):
            for j, value in enumerate(row):
                if value is None:
                    continue
                x, y, step = self.first_x + j * self.wide, self.top + i * self.tall, self._step(value)
                gap = 1 if self.wide > 6 else 0
                cells[step].append(
                    f"M{px(x)},{px(y)}h{px(self.wide - gap)}v{px(self.tall - gap)}h{px(gap - self.wide)}z"
                )
                if has_numbers:
                    at = (x + self.wide / 2, y + self.tall / 2 + 4)
                    numbers.append(
                        label(*at, texts[i][j], class_="on-dark" if step > 2 else "strong", anchor="middle")
                    )
        paths = [
            element("path", class_=f"seq-{step}", d="".join(paths))
            for step, paths in enumerate(cells, start=1)
        ]
        return [element("g", *paths), *numbers, *self._labels()]

    def _step(self, value: float) -> int:
        span = self.high / 2 - self.low / 2
        return min(int((value / 2 - self.low / 2) / span * 5), 4) if span else 2

    def _labels(self) -> list[Svg]:
        elements = []
        every = max(1, math.ceil(13 / self.tall))
        for i in range(0, len(self.rows), every):
            y = self.top + (i + 0.5) * self.tall + 4
            elements.append(label(self.first_x - 6, y, clip(self.names[i * self.down], 14), anchor="end"))
        longest = min(max(map(len, self.columns)), 14)
        every = max(1, math.ceil(DIGIT * (longest + 1) / self.wide))
        for j in range(0, len(self.rows[0]), every):
            x = self.first_x + (j + 0.5) * self.wide
            elements.append(
                label(x, self.bottom + 16, clip(self.columns[j * self.across], 14), anchor="middle")
            )
        if self.axes[1]:
            elements.append(label(4.0, 12.0, clip(self.axes[1], 40)))
        if self.axes[0]:
            elements.append(label(self.width / 2, self.height - 6, clip(self.axes[0], 40), anchor="middle"))
        return elements


def _pooled(rows: list[list[float | None]]) -> tuple[list[list[float | None]], int, int]:
    """Return at most MAX_CELLS × MAX_CELLS means, and the numbers of rows and columns that each one averages."""
    down, across = math.ceil(len(rows) / MAX_CELLS), math.ceil(len(rows[0]) / MAX_CELLS)
    if down == across == 1:
        return rows, 1, 1
    means = []
    for i in range(0, len(rows), down):
        line: list[float | None] = []
        for j in range(0, len(rows[0]), across):
            block = [
                value for row in rows[i : i + down] for value in row[j : j + across] if value is not None
            ]
            line.append(sum(block) / len(block) if block else None)
        means.append(line)
    return means, down, across
