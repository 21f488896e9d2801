"""Intermediate values: the curves of the best trials over the median and quartiles of the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite

from experiments.charts.drawing.axes import (
    DIGIT,
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
from experiments.charts.drawing.marks import linked, trials
from experiments.charts.drawing.scale import Linear, finite
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label, px

FEWEST = 4  # curves for a median band
TITLE = "Intermediate values"
KINDS = {"best": "best-line", "running": "own is-live", "top": "strand"}

Points = Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Curve:
    """The reports of a trial: (step, value) in the order of the steps; None is a gap."""

    number: int
    points: Points
    tooltip: str = ""
    href: str | None = None
    is_live: bool = False


def intermediate(
    curves: Sequence[Curve],
    *,
    other_curves: Sequence[Curve],
    metric: str,
    best: Collection[int],
    smoothing: float = 0.0,
    is_log: bool | None = None,
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "curves",
) -> Chart:
    """Draw `curves`, the best ones and running ones, over the median and quartiles of `other_curves`.

    `smoothing` is the weight of the past in an exponential moving average, in [0, 1); the table has the raw values.
    """
    shown = [(curve, smooth(curve.points, smoothing)) for curve in curves]
    shown = [(curve, points) for curve, points in shown if points]
    band = quartiles([curve.points for curve in other_curves])
    description = f"{clip(metric, 80)} by step: {trials(len(shown))}"
    description += f" over the median and quartiles of {trials(len(other_curves))}." if band else "."

    def draw(width: int) -> Drawing:
        narrow = is_narrow(width)
        height = 250.0 if narrow else 300.0
        if not shown:
            return empty("No intermediate metrics", width, height)
        return _Plot(shown, band, width, height, metric, best, is_log).draw()

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    rows = [(curve.number, step, value) for curve, _ in shown for step, value in curve.points]
    drawn_as = {_css(curve, best) for curve, _ in shown}
    kinds = frozenset(kind for kind, css in KINDS.items() if css in drawn_as) | ({"band"} if band else set())
    return Chart(svg, TITLE, description, ("Trial", metric, "Step"), [(n, v, s) for n, s, v in rows], kinds)


def smooth(points: Points, weight: float) -> list[tuple[int, float]]:
    """Return the exponential moving average of the values: weight × average so far + (1 - weight) × value."""
    smoothed: list[tuple[int, float]] = []
    for step, value in points:
        number = finite(value)
        if number is None:
            continue
        if smoothed:
            number = weight * smoothed[-1][1] + (1 - weight) * number
        smoothed.append((step, number))
    return smoothed


def quartiles(curves: Sequence[Points]) -> list[tuple[int, float, float, float]]:
    """Return (step, lower quartile, median, upper quartile) at each step that at least four trials reported.

    Quartiles are interpolated, as numpy does by default.
    """
    at: dict[int, list[float]] = {}
    for points in curves:
        for step, value in points:
            if (number := finite(value)) is not None:
                at.setdefault(step, []).append(number)
    return [
        (step, *(quantile(sorted(values), share) for share in (0.25, 0.5, 0.75)))  # type: ignore[misc]
        for step, values in sorted(at.items())
        if len(values) >= FEWEST
    ]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of sorted values, linearly interpolated."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low]) if high > low else ordered[low]


def _css(curve: Curve, best: Collection[int]) -> str:
    return KINDS["best" if curve.number in best else "running" if curve.is_live else "top"]


class _Plot:
    """The drawing for one width."""

    def __init__(
        self,
        shown: Sequence[tuple[Curve, list[tuple[int, float]]]],
        band: Sequence[tuple[int, float, float, float]],
        width: int,
        height: float,
        metric: str,
        best: Collection[int],
        is_log: bool | None,
    ) -> None:
        self.shown, self.band, self.best, self.metric = shown, band, best, metric
        self.height, self.narrow = height, is_narrow(width)
        values = [value for _, points in shown for _, value in points]
        values += [value for row in band for value in row[1:] if isfinite(value)]
        box = Box(0, width, 12, height - 40)
        self.y: Scale
        self.y, _, _ = value_scale(values, box, is_log=is_log)
        left = left_of([tick.label for tick in self.y.ticks], narrow=self.narrow)
        self.box = Box(left, width - (14 if self.narrow else 56), box.top, box.bottom)
        steps = [step for _, points in shown for step, _ in points] + [row[0] for row in band]
        self.x = Linear(
            min(steps),
            max(max(steps), min(steps) + 1),
            start=self.box.left,
            end=self.box.right,
            count=3 if self.narrow else 5,
            whole=True,
        )

    def draw(self) -> Drawing:
        elements: list[Svg] = [grid(self.y.ticks, self.box), below(self.x.ticks, self.box)]
        elements.append(caption("step", self.box, self.height - 4))
        if self.band:
            upper = [(row[0], row[3]) for row in self.band]
            lower = [(row[0], row[1]) for row in reversed(self.band)]
            elements.append(element("path", class_="band", d=f"{self._path([*upper, *lower])}z"))
        links = []
        for curve, points in reversed(self.shown):
            css = _css(curve, self.best)
            path = self._path(points) + ("h0" if len(points) == 1 else "")
            is_stop = curve is self.shown[0][0]
            line = f'<path class="{css}" d="{path}"/>'
            links.append(linked(line, curve.tooltip or f"#{curve.number}", curve.href, is_stop=is_stop))
        elements.append(element("g", *links))
        if self.band:
            elements.append(
                element("path", class_="median-line", d=self._path([(r[0], r[2]) for r in self.band]))
            )
        if not self.narrow:
            elements += self._names()
        return Drawing(elements, self.height)

    def _path(self, points: Sequence[tuple[int, float]]) -> str:
        return "M" + "L".join(
            f"{px(self.x.at(step))},{px(self.box.clamp_y(self.y.at(value)))}" for step, value in points
        )

    def _names(self) -> list[Svg]:
        """Return the labels at the ends of the best curve and the median."""
        names: list[tuple[float, float, str, str | None]] = []
        for curve, points in self.shown:
            if curve.number in self.best and not names:  # the best of the front
                step, value = points[-1]
                names.append((self.x.at(step), self.y.at(value), f"#{curve.number}", "strong halo"))
        if self.band:
            step, _, median, _ = self.band[-1]
            names.append((self.x.at(step), self.y.at(median), "median", "halo"))
        if len(names) == 2 and abs(names[0][1] - names[1][1]) < 13:
            x, y, text, css = names[1]
            names[1] = (x, names[0][1] + (14 if y >= names[0][1] else -14), text, css)
        return [
            label(
                min(x + 6, self.box.right + 52 - DIGIT * len(text)), self.box.clamp_y(y) + 4, text, class_=css
            )
            for x, y, text, css in names
        ]
