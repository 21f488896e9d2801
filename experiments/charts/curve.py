"""The chart of a trial's metric by step, with faded siblings and the best trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from experiments.charts.drawing.scale import Linear, Log, finite, linear_or_log
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

MAX_SIBLINGS = 20
MAX_POINTS = 600  # in the curves of the trial and of the best trial
MAX_SIBLING_POINTS = 120

DIGIT = 6.8  # approximate width of a bold digit at 11 px


@dataclass(frozen=True, slots=True)
class Series:
    """The reports of one trial: (step, value) in any order; None and NaN are gaps in the line."""

    number: int
    points: Sequence[tuple[float, float | None]]
    is_live: bool = False


def curve(
    own: Series,
    *,
    direction: str,
    metric: str,
    siblings: Sequence[Series] = (),
    best: Series | None = None,
    last_step: float | None = None,
    step_name: str = "step",
    href: Callable[[int], str] | None = None,
    width: int | None = None,
    height: int | None = None,
    key: str = "curve",
) -> Chart:
    """Draw the metric of a trial by step, with up to 20 `siblings` behind it and the experiment's `best` trial.

    `direction` is `minimize` or `maximize`. `best` may be the trial itself. `last_step` extends the axis to future
    steps. Long series are thinned but keep their extremes. `href(number)` returns the URL of a trial. `width` is in
    pixels of the viewBox; None draws for wide and for narrow panels, and the style sheet shows the one that fits.
    `key` must be unique in the page. The table contains all of the trial's own points.
    """
    reported = _in_order(own).points
    own = Series(own.number, thinned(reported, MAX_POINTS), own.is_live)
    best = _thin(best, MAX_POINTS) if best else None
    behind = [each for each in siblings if each.number not in (own.number, best and best.number)]
    shown = [_thin(each, MAX_SIBLING_POINTS) for each in behind[:MAX_SIBLINGS]]
    drawings = [(WIDE, "is-wide"), (NARROW, "is-narrow")] if width is None else [(width, None)]
    title = f"{clip(metric, 80)} by {clip(step_name, 40)}"
    elements, description = [], ""
    for each_width, fit in drawings:
        drawing = _Drawing(
            own=own,
            siblings=shown,
            best=best,
            is_down=direction == "minimize",
            last_step=last_step,
            step_name=clip(step_name, 40),
            width=each_width,
            height=height,
        )
        description = drawing.describe(reported)
        body = drawing.draw(href=href, clip_id=f"{key}-{each_width}-c")
        size = {"width": each_width, "height": drawing.height}
        elements.append(frame(*body, key=key, title=title, description=description, fit=fit, **size))
    return Chart(join(elements), title, description, (step_name.capitalize(), metric), list(reported))


def thinned(points: Sequence[tuple[float, float | None]], limit: int) -> list[tuple[float, float | None]]:
    """Return at most `limit` (5 or more) points: the first, the last, and in each interval between them the lowest, the
    highest and a gap."""
    if len(points) <= limit:
        return list(points)
    inner = points[1:-1]
    each = 3 if any(value is None for _, value in inner) else 2
    intervals = (limit - 2) // each
    edges = [len(inner) * index // intervals for index in range(intervals + 1)]
    drawn_points = [point for begin, end in pairwise(edges) for point in _extremes(inner[begin:end])]
    return [points[0], *drawn_points, points[-1]]


@dataclass(frozen=True, slots=True)
class _Box:
    """The left and right ends and the baseline of a label, in pixels."""

    left: float
    right: float
    y: float

    def overlaps(self, other: _Box) -> bool:
        return self.left < other.right and self.right > other.left and abs(self.y - other.y) < 13

    def is_cut_off(self, own: Sequence[float], foreign: Sequence[float]) -> bool:
        """Return whether another line passes through the label, or between the label and its own line."""
        nearest = min(own, key=lambda y: abs(y - self.y))
        low, high = min(self.y - 11, nearest), max(self.y + 3, nearest)
        return any(low <= y <= high for y in foreign)


class _Drawing:
    """The plot for one width: its geometry, and its elements from back to front."""

    def __init__(
        self,
        *,
        own: Series,
        siblings: Sequence[Series],
        best: Series | None,
        is_down: bool,
        last_step: float | None,
        step_name: str,
        width: int,
        height: int | None,
    ) -> None:
        self.own, self.siblings, self.width, self.is_down = own, siblings, width, is_down
        self.is_best = bool(best and best.number == own.number)
        self.best = None if self.is_best else best
        self.step_name = step_name
        self.is_narrow = width < TURN
        self.height = height or (220 if self.is_narrow else 236)
        self.top, self.bottom = 24.0, self.height - 26.0
        self.last_x = width - 14.0
        self._y_scale = self._value_scale()
        self.has_values = self._y_scale is not None
        longest = max([len(tick.label) for tick in self.y.ticks], default=0) if self.has_values else 0
        self.first_x = max(30.0 if self.is_narrow else 44.0, 10 + DIGIT * longest)
        self.x = self._step_scale(last_step)

    @property
    def y(self) -> Linear | Log:
        """The scale of the values. Raise ValueError for a drawing without values."""
        if self._y_scale is None:
            raise ValueError("A chart without values has no value scale.")
        return self._y_scale

    def draw(self, *, href: Callable[[int], str] | None, clip_id: str) -> list[Svg]:
        if not self.has_values:
            middle = (self.first_x + self.last_x) / 2
            return [label(middle, self.height / 2, "No values yet", anchor="middle")]
        lines = [self._line(each, "sibling", href) for each in self.siblings]
        if self.best:
            lines.append(self._line(self.best, "best-line", href))
        lines.append(self._line(self.own, "best-line" if self.is_best else "own", None))
        return [self._grid(), *self._clipped(lines, clip_id), *self._peak(), *self._ends(href)]

    def describe(self, reported: Sequence[tuple[float, float | None]]) -> str:
        values = [value for _, value in reported if value is not None]
        if not self.has_values or not values:
            return f"Trial {self.own.number} has no values yet."
        step, last = self._end(self.own)
        best_step, best = self._best_of(self.own)
        text = self.y.text
        points = "1 point" if len(values) == 1 else f"{len(values):,} points"
        elements = [
            f"Trial {self.own.number}: {points}, the last {text(last)} at {self._at(step)}, "
            f"the best {text(best)} at {self._at(best_step)}."
        ]
        if self.siblings:
            sibling_count = (
                "1 other trial" if len(self.siblings) == 1 else f"{len(self.siblings)} other trials"
            )
            elements.append(f"In the background: {sibling_count}.")
        if self.is_best:
            elements.append("This is the best trial.")
        elif self.best and any(value is not None for _, value in self.best.points):
            elements.append(f"The best trial is {self.best.number}, {text(self._best_of(self.best)[1])}.")
        outside = sum(not self.low <= value <= self.high for value in values)
        if outside:
            elements.append(
                f"{outside:,} of its points {'is' if outside == 1 else 'are'} outside the axis range."
            )
        return " ".join(elements)

    def _value_scale(self) -> Linear | Log | None:
        drawn = [self.own, *self.siblings, *([self.best] if self.best else [])]
        values = [value for each in drawn for _, value in each.points if value is not None]
        if not values:
            return None
        keep = [
            point[1]
            for each in drawn[:1] + drawn[len(self.siblings) + 1 :]
            for point in self._end_and_best(each)
        ]
        # The first steps of a curve are usually far from the rest: cut them off only when they hide everything else.
        low, high, is_log = linear_or_log(values, keep=keep, gain=5.0)
        self.low, self.high = low, high
        if is_log:
            return Log(low, high, start=self.bottom, end=self.top)
        floor = 0.0 if 0 < low <= high / 10 else low
        return Linear(floor, high, start=self.bottom, end=self.top, snap=True)

    def _end_and_best(self, series: Series) -> list[tuple[float, float]]:
        if all(value is None for _, value in series.points):
            return []
        return [self._end(series), self._best_of(series)]

    def _step_scale(self, last_step: float | None) -> Linear:
        drawn = [self.own, *self.siblings, *([self.best] if self.best else [])]
        steps = [step for each in drawn for step, _ in each.points] or [0.0]
        if last_step is not None and finite(last_step) is not None:
            steps.append(last_step)
        low, high = min(steps), max(steps)
        low = 0.0 if 0 < low <= high / 10 else low
        count = 3 if self.is_narrow else 5
        has_integer_steps = all(step == round(step) for step in steps)
        if low == high:
            high = low + 1
        return Linear(low, high, start=self.first_x, end=self.last_x, count=count, whole=has_integer_steps)

    def _grid(self) -> Svg:
        lines = []
        for tick in self.y.ticks:
            y = float(tick.at)
            lines.append(element("line", class_="grid-line", x1=self.first_x, x2=self.last_x, y1=y, y2=y))
            lines.append(label(self.first_x - 8, y + 4, tick.label, anchor="end"))
        for index, tick in enumerate(self.x.ticks):
            every_second = "minor" if index % 2 else None
            lines.append(label(tick.at, self.height - 8, tick.label, class_=every_second, anchor="middle"))
        return element("g", *lines)

    def _clipped(self, lines: list[Svg], clip_id: str) -> list[Svg]:
        if not self._has_outside():
            return [element("g", *lines)]
        width, height = self.last_x - self.first_x, self.bottom - self.top
        # Four extra pixels, so that a thick line on the border is not cut.
        window = element("rect", x=self.first_x - 4, y=self.top - 4, width=width + 8, height=height + 8)
        return [
            element("clipPath", window, id=clip_id),
            element("g", *lines, clip_path=f"url(#{clip_id})"),
        ]

    def _has_outside(self) -> bool:
        drawn = [self.own, *self.siblings, *([self.best] if self.best else [])]
        return any(
            value is not None and not self.low <= value <= self.high
            for each in drawn
            for _, value in each.points
        )

    def _line(self, series: Series, class_: str, href: Callable[[int], str] | None) -> Svg:
        data = self._path(series.points)
        if not data:
            return Svg()
        path = element("path", class_=class_, stroke_linecap="round", d=data)
        step, last = self._end(series)
        title = element("title", f"#{series.number}, {self.y.text(last)} at {self._at(step)}")
        if not href:
            return element("g", path, title)
        return element("a", path, title, href=href(series.number), tabindex="-1")

    def _path(self, points: Sequence[tuple[float, float | None]]) -> str:
        elements, begins = [], True
        for index, (step, value) in enumerate(points):
            if value is None:
                begins = True
                continue
            at = f"{px(self.x.at(step))},{px(self._y(value))}"
            alone = begins and (index + 1 == len(points) or points[index + 1][1] is None)
            elements.append(f"{'M' if begins else ' '}{at}{'h0' if alone else ''}")
            begins = False
        return "".join(elements)

    def _y(self, value: float) -> float:
        # Limit the coordinate: browsers cannot draw one like 1e300.
        return min(max(self.y.at(value), -4.0 * self.height), 5.0 * self.height)

    def _inside(self, value: float) -> float:
        return min(max(self.y.at(value), self.top), self.bottom)

    def _peak(self) -> list[Svg]:
        """Mark the best point of each thick line unless it is the last one."""
        marks = []
        for series in [self.own, *([self.best] if self.best else [])]:
            if not self._end_and_best(series) or self._best_of(series) == self._end(series):
                continue
            step, value = self._best_of(series)
            dot = element("circle", class_="dot is-best", cx=self.x.at(step), cy=self._inside(value), r=3)
            whose = f"Best of #{series.number}" if series is self.best else "Best"
            marks.append(
                element("g", dot, element("title", f"{whose}: {self.y.text(value)} at {self._at(step)}"))
            )
        return marks

    def _ends(self, href: Callable[[int], str] | None) -> list[Svg]:
        elements: list[Svg] = []
        taken: _Box | None = None
        if self.best and self._end_and_best(self.best):
            _, value = self._end(self.best)
            text = f"#{self.best.number} best, {self.y.text(value)}"
            taken = self._place(self.best, self.own, text, prefers_above=True)
            best_label = label(taken.right, taken.y, text, class_="strong halo", anchor="end")
            elements.append(element("a", best_label, href=href(self.best.number)) if href else best_label)
        if not self._end_and_best(self.own):
            return elements
        step, value = self._end(self.own)
        x, y = self.x.at(step), self._inside(value)
        live = "dot is-live" if self.own.is_live else "dot is-best" if self.is_best else "dot"
        elements.append(element("circle", class_=live, cx=x, cy=y, r=4))
        number = f"#{self.own.number} best" if self.is_best else f"#{self.own.number}"
        text = f"{number}, {self.y.text(value)}" + (f" at {self._at(step)}" if not self.is_narrow else "")
        prefers_above = taken is None or self.is_down
        box = self._place(self.own, self.best, text, prefers_above=prefers_above, taken=taken)
        elements.append(label(box.left, box.y, text, class_="strong halo"))
        return elements

    def _place(
        self,
        series: Series,
        other: Series | None,
        text: str,
        *,
        prefers_above: bool,
        taken: _Box | None = None,
    ) -> _Box:
        """Return the place of the label at a line's end: above or below its own line, if possible with neither the
        other line nor the other label in between."""
        step, value = self._end(series)
        length = len(text) * DIGIT
        right = min(max(self.x.at(step) + 8 + length, self.first_x + length), self.last_x)
        left = right - length
        own = [self._inside(value), *self._heights(series, left - 4, right + 4)]
        foreign = self._heights(other, left - 4, right + 4) if other else []
        above = _Box(left, right, max(min(own) - 9, 12.0))
        below = _Box(left, right, max(own) + 20)
        places = [above, below] if prefers_above else [below, above]
        if below.y > self.bottom:
            places = [above]
        places = [place for place in places if not (taken and place.overlaps(taken))] or [
            # Both lines end at the same height: put one label above and one below.
            _Box(left, right, taken.y + (15 if taken.y < (self.top + self.bottom) / 2 else -15))
            if taken
            else above
        ]
        return next((place for place in places if not place.is_cut_off(own, foreign)), places[0])

    def _heights(self, series: Series, left: float, right: float) -> list[float]:
        """Return the y coordinates of a line between these x pixels, including where it only passes through."""
        places = [(self.x.at(step), self._inside(v)) for step, v in series.points if v is not None]
        heights = [y for x, y in places if left <= x <= right]
        for (x1, y1), (x2, y2) in pairwise(places):
            heights += [y1 + (y2 - y1) * (edge - x1) / (x2 - x1) for edge in (left, right) if x1 < edge < x2]
        return heights

    def _end(self, series: Series) -> tuple[float, float]:
        return next((step, value) for step, value in reversed(series.points) if value is not None)

    def _best_of(self, series: Series) -> tuple[float, float]:
        points = [(step, value) for step, value in series.points if value is not None]
        choose = min if self.is_down else max
        return choose(points, key=lambda point: point[1])

    def _at(self, step: float) -> str:
        return f"{self.step_name} {step:,.0f}" if step == round(step) else f"{self.step_name} {step:g}"


def _in_order(series: Series) -> Series:
    points = [(step, finite(value)) for step, value in series.points if isfinite(step)]
    return Series(series.number, sorted(points, key=lambda point: point[0]), series.is_live)


def _thin(series: Series, limit: int) -> Series:
    return Series(series.number, thinned(_in_order(series).points, limit), series.is_live)


def _extremes(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Return the lowest point, the highest point and the first gap, in the order of the points."""
    values = [(value, index) for index, (_, value) in enumerate(points) if value is not None]
    gap = next((index for index, point in enumerate(points) if point[1] is None), None)
    extremes = set() if gap is None else {gap}
    if values:
        extremes.add(min(values, key=lambda pair: pair[0])[1])
        extremes.add(max(values, key=lambda pair: pair[0])[1])
    return [points[index] for index in sorted(extremes)]
