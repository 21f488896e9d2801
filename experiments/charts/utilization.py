"""The chart of busy and available slots over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from experiments.charts.drawing.amounts import amount
from experiments.charts.drawing.axes import FULL_WIDTHS, fits
from experiments.charts.drawing.scale import Linear, Time
from experiments.charts.drawing.svg import TURN, Chart, Svg, element, frame, join, label, px

DIGIT = 6.6  # approximate width of a digit at 11 px
GAP = 1.0  # between two bars


class Bar(NamedTuple):
    """An interval with its mean numbers of busy and available slots."""

    start: datetime
    end: datetime
    busy: float
    slots: float


def busy(
    bars: Sequence[Bar],
    *,
    start: datetime,
    end: datetime,
    slots: int = 0,
    widths: Sequence[int] = FULL_WIDTHS,
    height: int | None = None,
    key: str = "busy",
) -> Chart:
    """Draw busy slots from `start` to `end`; the axis reaches at least to the current number of `slots`.

    `bars` are in order; during gaps between them nothing was measured. Times are in the reader's time zone. `widths`
    are those of the drawings, in pixels of the viewBox; the style sheet shows the one that fits.
    `key` must be unique in the page.
    """
    drawings = fits(widths)
    title, description = "Busy slots", _describe(bars)
    elements = []
    for each_width, fit in drawings:
        drawing = _Drawing(bars, start, end, slots, each_width, height)
        size = {"width": each_width, "height": drawing.height}
        elements.append(
            frame(*drawing.draw(), key=key, title=title, description=description, fit=fit, **size)
        )
    rows = [(f"{bar.start:%a %H:%M}", amount(bar.busy), amount(bar.slots)) for bar in bars]
    return Chart(join(elements), title, description, ("From", "Busy slots", "Slots"), rows)


class _Drawing:
    """The plot for one width."""

    def __init__(
        self,
        bars: Sequence[Bar],
        start: datetime,
        end: datetime,
        slots: int,
        width: int,
        height: int | None,
    ) -> None:
        self.bars, self.width = bars, width
        is_narrow = width < TURN
        self.height = height or (150 if is_narrow else 168)
        self.top, self.bottom = 10.0, self.height - 24.0
        most = max([slots, 1, *(max(bar.busy, bar.slots) for bar in bars)])
        count = 3 if self.height < 120 else 4
        self.y = Linear(0, most, start=self.bottom, end=self.top, count=count, whole=True)
        self.first_x = max(22.0, 10 + DIGIT * max(len(tick.label) for tick in self.y.ticks))
        self.x = Time(start, end, start=self.first_x, end=width - 6.0, count=4 if is_narrow else 8)

    def draw(self) -> list[Svg]:
        return [self._grid(), self._times(), *self._drawn()]

    def _grid(self) -> Svg:
        elements = []
        for tick in self.y.ticks:
            y = float(tick.at)
            elements.append(element("line", class_="grid-line", x1=self.first_x, x2=self.x.end, y1=y, y2=y))
            elements.append(label(self.first_x - 8, y + 4, tick.label, anchor="end"))
        return element("g", *elements)

    def _times(self) -> Svg:
        half = DIGIT * 2.5  # of "00:00"
        ticks = [tick for tick in self.x.ticks if self.first_x + half / 2 <= tick.at <= self.x.end - half / 2]
        y = self.height - 6
        return element("g", *(label(float(tick.at), y, tick.label, anchor="middle") for tick in ticks))

    def _drawn(self) -> list[Svg]:
        if not self.bars:
            middle = (self.first_x + self.x.end) / 2
            at_y = (self.top + self.bottom) / 2
            return [label(middle, at_y, "No data yet", class_="halo", anchor="middle")]
        filled, outline, before = "", "", None
        for bar in self.bars:
            x, x_end = max(self.x.at(bar.start), self.first_x), min(self.x.at(bar.end), float(self.x.end))
            if x_end <= x:
                continue
            wide, y = max(x_end - x - GAP, 0.5), self.y.at(bar.slots)
            if bar.busy > 0:
                top = self.y.at(bar.busy)
                filled += f"M{px(x)},{px(self.bottom)}V{px(top)}h{px(wide)}V{px(self.bottom)}z"
            outline += f"V{px(y)}H{px(x_end)}" if before == bar.start else f"M{px(x)},{px(y)}H{px(x_end)}"
            before = bar.end
        return [element("path", class_="bar", d=filled), element("path", class_="there", d=outline)]


def share(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return the (busy, available) slot hours of all bars together."""
    hours = [(bar.end - bar.start) / timedelta(hours=1) for bar in bars]
    used = sum(bar.busy * span for bar, span in zip(bars, hours, strict=True))
    return used, sum(bar.slots * span for bar, span in zip(bars, hours, strict=True))


def _describe(bars: Sequence[Bar]) -> str:
    if not bars:
        return "No data yet."
    used, available = share(bars)
    prefix = f"Busy slots per quarter of an hour since {bars[0].start:%a %H:%M}: "
    peak = max(bars, key=lambda bar: bar.busy)
    if not used:
        return f"{prefix}none of {amount(available)} slot hours."
    most = f"peak {amount(peak.busy)} slots at {peak.start:%a %H:%M}"
    return f"{prefix}{amount(used)} of {amount(available)} slot hours, {most}."
