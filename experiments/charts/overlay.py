"""Curves of several trials or experiments over each other, with the spread of replicates as a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from experiments.charts.curve import thinned
from experiments.charts.drawing.axes import FULL_WIDTHS, HALF_WIDTHS, fits
from experiments.charts.drawing.scale import Linear, Log, linear_or_log, significant
from experiments.charts.drawing.svg import (
    TURN,
    Chart,
    Svg,
    clip,
    element,
    frame,
    join,
    label,
    px,
)

WIDTHS = (FULL_WIDTHS[0], *HALF_WIDTHS)  # alone in its row, beside another chart, on a phone
COLORS = 6  # of the first lines; the others are gray
MAX_POINTS = 300  # drawn of one line
MAX_ROWS = 20_000  # of the data table
MAX_NAME = 14  # characters of a label beside its line; longer names are only in the color key
DIGIT = 6.6  # approximate width of a character at 11 px

Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: (x, value) in rising order of x; None is a gap. `color` is 1 to 6, or 0 for gray.

    `band` are (x, lowest, highest) of its replicates. `href` is the line's link.
    """

    name: str
    points: Points
    color: int = 0
    href: str | None = None
    band: Sequence[tuple[float, float, float]] = field(default=())


def overlay(
    lines: Sequence[Line],
    *,
    title: str,
    y_name: str,
    x_name: str,
    key: str,
    is_step: bool = False,
) -> Chart:
    """Draw overlaid `lines`, the first ones on top. `is_step`: a value holds until the next one.

    `key` must be unique in the page. The table contains all points, up to 20,000 rows.
    """
    drawn = [line for line in lines if any(value is not None for _, value in line.points)]
    description = _described(drawn, y_name)
    elements = []
    for width, fit in fits(WIDTHS):
        drawing = _Drawing(drawn, x_name=x_name, width=width, is_step=is_step)
        body = (
            drawing.draw() if drawn else [label(width / 2, drawing.height / 2, "No values", anchor="middle")]
        )
        size = {"width": width, "height": drawing.height}
        elements.append(frame(*body, key=key, title=title, description=description, fit=fit, **size))
    rows = [(line.name, int(x) if x == round(x) else x, value) for line in lines for x, value in line.points]
    return Chart(join(elements), title, description, ("Line", x_name.capitalize(), y_name), rows[:MAX_ROWS])


def _described(lines: Sequence[Line], y_name: str) -> str:
    if not lines:
        return f"{y_name}: no values."
    last = [next(value for _, value in reversed(line.points) if value is not None) for line in lines]
    ends = ", ".join(f"{line.name} {significant(value, 12)}" for line, value in zip(lines, last, strict=True))
    return f"{y_name} of {len(lines):,} {'line' if len(lines) == 1 else 'lines'}; the last values: {ends}."


class _Drawing:
    """The plot for one width: its scales, and its elements from back to front."""

    def __init__(self, lines: Sequence[Line], *, x_name: str, width: int, is_step: bool) -> None:
        self.lines, self.x_name, self.width, self.is_step = lines, x_name, width, is_step
        self.is_narrow = width < TURN
        self.height = 220.0 if self.is_narrow else 236.0
        self.top, self.bottom = 12.0, self.height - 42.0
        if not lines:
            return
        self.labeled = [line for line in lines if line.color] if not self.is_narrow else []
        longest = max((len(line.name) for line in self.labeled), default=0)
        if longest > MAX_NAME:
            self.labeled, longest = [], 0
        self.last_x = width - (14.0 + (18 + DIGIT * longest if longest else 0))
        self.y = self._value_scale()
        self.first_x = max(30.0, 10 + DIGIT * max((len(tick.label) for tick in self.y.ticks), default=0))
        xs = [x for line in lines for x, _ in line.points]
        low, high = min(xs), max(xs)
        low = 0.0 if 0 < low <= high / 10 else low
        is_whole = all(x == round(x) for x in xs)
        self.x = Linear(
            low,
            high if high > low else low + 1,
            start=self.first_x,
            end=self.last_x,
            count=3 if self.is_narrow else 5,
            whole=is_whole,
        )

    def draw(self) -> list[Svg]:
        bands = [self._band(line) for line in self.lines if line.band]
        curves = [self._line(line) for line in reversed(self.lines)]
        return [self._grid(), element("g", *bands), element("g", *curves), *self._labels()]

    def _value_scale(self) -> Linear | Log:
        values = [value for line in self.lines for _, value in line.points if value is not None]
        values += [bound for line in self.lines for _, *bounds in line.band for bound in bounds]
        ends = [self._end(line)[1] for line in self.lines]
        # The first values are usually far from the rest: cut them off only when they hide everything else.
        self.low, self.high, is_log = linear_or_log(values, keep=ends, gain=3.0)
        if is_log:
            return Log(self.low, self.high, start=self.bottom, end=self.top)
        return Linear(self.low, self.high, start=self.bottom, end=self.top, snap=True)

    def _grid(self) -> Svg:
        elements = []
        for tick in self.y.ticks:
            y = float(tick.at)
            elements.append(element("line", class_="grid-line", x1=self.first_x, x2=self.last_x, y1=y, y2=y))
            elements.append(label(self.first_x - 8, y + 4, tick.label, anchor="end"))
        elements += [label(tick.at, self.bottom + 17, tick.label, anchor="middle") for tick in self.x.ticks]
        middle = (self.first_x + self.last_x) / 2
        elements.append(label(middle, self.height - 6, clip(self.x_name, 40), anchor="middle"))
        return element("g", *elements)

    def _band(self, line: Line) -> Svg:
        upper = self._stepped([(x, high) for x, _, high in line.band])
        lower = self._stepped([(x, low) for x, low, _ in line.band])
        outline = [*upper, *reversed(lower)]
        path = "M" + " ".join(f"{px(self.x.at(x))},{px(self._y(value))}" for x, value in outline) + "z"
        return element("path", class_=f"band-{line.color}", d=path)

    def _stepped(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        if not self.is_step:
            return list(points)
        corners: list[tuple[float, float]] = []
        for x, value in points:
            if corners:
                corners.append((x, corners[-1][1]))
            corners.append((x, value))
        return corners

    def _line(self, line: Line) -> Svg:
        path = element("path", class_=f"cat-line-{line.color}", stroke_linecap="round", d=self._path(line))
        x, value = self._end(line)
        end = element("circle", class_=f"cat-{line.color}", cx=self.x.at(x), cy=self._y(value), r=3)
        title = element("title", f"{line.name}, {self.y.text(value)} at {clip(self.x_name, 20)} {x:,g}")
        inside = (path, end, title) if line.color else (path, title)
        return element("a", *inside, href=line.href, tabindex="-1") if line.href else element("g", *inside)

    def _path(self, line: Line) -> str:
        commands: list[str] = []
        before: float | None = None
        for x, value in thinned(line.points, MAX_POINTS):
            if value is None:
                before = None
                continue
            at, y = px(self.x.at(x)), px(self._y(value))
            if before is None:
                commands.append(f"M{at},{y}h0")
            else:
                commands.append(f"H{at}V{y}" if self.is_step else f"L{at},{y}")
            before = value
        return "".join(commands)

    def _end(self, line: Line) -> tuple[float, float]:
        return next((x, value) for x, value in reversed(line.points) if value is not None)

    def _y(self, value: float) -> float:
        """Return the pixel of a value; values beyond the axis are drawn at its border."""
        return min(max(self.y.at(value), self.top - 4), self.bottom + 4)

    def _labels(self) -> Iterator[Svg]:
        """Return the names beside the ends of the colored lines, moved apart where they would overlap."""
        label_candidates = sorted(
            ((self._y(self._end(line)[1]), line) for line in self.labeled), key=lambda at: at[0]
        )
        places: list[float] = []
        for y, _ in label_candidates:
            places.append(max(y, places[-1] + 13) if places else max(y, self.top))
        below = places[-1] - self.bottom if places else 0.0
        for place, (_, line) in zip(places, label_candidates, strict=True):
            y = place - max(0.0, below)
            x = self.last_x + 10
            yield element("rect", class_=f"cat-{line.color}", x=x, y=y - 4, width=8, height=8)
            yield label(x + 13, y + 4, line.name, class_="ink")
