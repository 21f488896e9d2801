"""The frame of a plot: its box in pixels, the value scale, grid lines and tick labels; and one drawing per width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from sys import float_info

from experiments.charts.drawing.scale import Linear, Log, Tick, linear_or_log
from experiments.charts.drawing.svg import TURN, Svg, element, frame, join, label

DIGIT = 6.6  # approximate width of a digit at 11 px
FULL_WIDTHS = (1070, 640, 320)  # the widths of a full-width panel
HALF_WIDTHS = (510, 320)  # the widths of a panel with a neighbor
BESIDE_RAIL = (640, 320)

Scale = Linear | Log


@dataclass(frozen=True, slots=True)
class Box:
    """The plot area in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    def clamp_y(self, y: float) -> float:
        return min(max(y, self.top), self.bottom)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart drawn for one width: its elements from back to front, and its height in pixels."""

    elements: list[Svg]
    height: float


def fits(widths: Sequence[int]) -> list[tuple[int, str | None]]:
    """Return each width with the class by which the style sheet shows the one that fits."""
    if len(widths) == 1:
        return [(widths[0], None)]
    names = ("is-wide is-whole", "is-mid", "is-narrow") if len(widths) == 3 else ("is-wide", "is-narrow")
    return list(zip(widths, names, strict=True))


def drawn(
    draw: Callable[[int], Drawing], widths: Sequence[int], *, key: str, title: str, description: str
) -> Svg:
    """Draw a chart once for each width; `draw(width)` returns its elements. `key` must be unique in the page."""
    drawings = []
    for width, fit in fits(widths):
        drawing = draw(width)
        size = {"width": width, "height": drawing.height}
        drawings.append(
            frame(
                *drawing.elements,
                key=key,
                title=title,
                description=description,
                fit=fit,
                **size,
            )
        )
    return join(drawings)


def is_narrow(width: float) -> bool:
    return width < TURN


def value_scale(
    values: Sequence[float],
    box: Box,
    *,
    keep: Iterable[float] = (),
    is_log: bool | None = None,
    count: int = 4,
    margin: float = 0.06,
) -> tuple[Scale, float, float]:
    """Return the vertical scale for these finite values (at least one), and the range that it shows without margins.

    `is_log` None: logarithmic if the values span several decades (see `linear_or_log`). Outliers may be outside; values
    in `keep` are inside.
    """
    keep = list(keep)
    low, high, wants_log = linear_or_log(values, keep=keep)
    if is_log is not None and is_log != wants_log:
        positive = [value for value in values if value > 0]
        wants_log = is_log and bool(positive)
        low, high = (min(positive), max(positive)) if wants_log else (min(values), max(values))
    if wants_log:
        factor = 10 ** (margin * (log10(high) - log10(low)))
        scale: Scale = Log(
            max(low / factor, 5e-324),
            min(high * factor, float_info.max),
            start=box.bottom,
            end=box.top,
            count=count,
        )
        return scale, low, high
    by = margin * (high / 2 - low / 2) * 2
    if not isfinite(high + by) or not isfinite(low - by):
        by = 0.0
    lowest = max(low - by, 0.0) if low >= 0 else low - by
    return Linear(lowest, high + by, start=box.bottom, end=box.top, count=count), low, high


def left_of(ticks: Iterable[str], *, narrow: bool) -> float:
    """Return the width in pixels for the longest label on the left of an axis."""
    return max(30.0 if narrow else 40.0, 12 + DIGIT * max((len(text) for text in ticks), default=0))


def grid(ticks: Sequence[Tick], box: Box) -> Svg:
    """Return horizontal grid lines with their labels on the left."""
    lines = []
    for tick in ticks:
        lines.append(element("line", class_="grid-line", x1=box.left, x2=box.right, y1=tick.at, y2=tick.at))
        lines.append(label(box.left - 8, tick.at + 4, tick.label, anchor="end"))
    return element("g", *lines)


def below(ticks: Sequence[Tick], box: Box, *, y: float | None = None) -> Svg:
    """Return tick labels below the plot, without those that would overlap or leave it."""
    labels, taken = [], -1e9
    for tick in ticks:
        half = len(tick.label) * DIGIT / 2
        x = min(max(tick.at, box.left - 8 + half), box.right + 10 - half)
        if x - half < taken:
            continue
        taken = x + half + 6
        labels.append(label(x, (box.bottom if y is None else y) + 17, tick.label, anchor="middle"))
    return element("g", *labels)


def caption(text: str, box: Box, y: float, *, mono: bool = False) -> Svg:
    """Return the name of the horizontal axis."""
    return label(box.middle, y, text, class_="mono ink" if mono else None, anchor="middle")


def empty(text: str, width: float, height: float) -> Drawing:
    """Return a drawing that only says why it is empty."""
    return Drawing([label(width / 2, height / 2, text, anchor="middle")], height)
