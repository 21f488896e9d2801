"""The empirical distribution of the values: the share of trials at or below each value, one line per revision."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from experiments.charts.drawing.axes import HALF_WIDTHS, Box, Drawing, below, caption, drawn, empty, is_narrow
from experiments.charts.drawing.marks import TrialMark, trials
from experiments.charts.drawing.scale import Linear, Log, Tick, finite, linear_or_log
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label, px

MOST_LINES = 6  # the latest revisions
FEWEST = 3  # trials of a revision that gets a line of its own
MOST_STEPS = 400  # of a line
TITLE = "Empirical distribution"


def edf(
    marks: Sequence[TrialMark],
    *,
    metric: str,
    is_log: bool | None = None,
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "edf",
) -> Chart:
    """Draw the share of trials at or below each value, for all trials or, after edits, for each revision."""
    lines = by_revision(marks)
    values = [value for _, of_line in lines for value in of_line]
    description = f"Share of {trials(len(values))} at or below a value of {clip(metric, 80)}."
    if len(lines) > 1:
        description += f" One line for each of {len(lines)} revisions."

    def draw(width: int) -> Drawing:
        height = 230.0 if is_narrow(width) else 260.0
        if not values:
            return empty("No values yet", width, height)
        box = Box(46, width - 16, 12, height - 40)
        low, high, wants_log = linear_or_log(values)
        if is_log is not None and is_log != wants_log:
            above = [value for value in values if value > 0]
            wants_log = is_log and bool(above)
            low, high = (min(above), max(above)) if wants_log else (min(values), max(values))
        make = Log if wants_log else Linear
        x = make(low, high, start=box.left, end=box.right, count=3 if is_narrow(width) else 5)
        shares = Linear(0, 1, start=box.bottom, end=box.top)
        elements: list[Svg] = []
        for quarter in range(5):
            tick = Tick(quarter / 4, shares.at(quarter / 4), f"{25 * quarter}%")
            elements.append(
                element("line", class_="grid-line", x1=box.left, x2=box.right, y1=tick.at, y2=tick.at)
            )
            elements.append(label(box.left - 8, tick.at + 4, tick.label, anchor="end"))
        elements += [
            below(x.ticks, box),
            caption(clip(metric, int(box.width / 7)), box, height - 4, mono=True),
        ]
        for place, (_, of_line) in enumerate(lines, 1):
            elements.append(element("path", class_=f"cat-line-{place}", d=_steps(of_line, x, shares, box)))
        if len(lines) > 1:
            elements += _names(lines, x, shares, box)
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    rows = [
        (value, share, revision or "all")
        for revision, of_line in lines
        for value, share in zip(of_line, _shares(of_line), strict=True)
    ]
    return Chart(svg, TITLE, description, (metric, "Share", "Revision"), rows)


def by_revision(marks: Sequence[TrialMark]) -> list[tuple[int | None, list[float]]]:
    """Return (revision, sorted values) of the latest revisions with three or more trials, or only (None, all
    values)."""
    groups: dict[int, list[float]] = {}
    for mark in marks:
        if (value := finite(mark.value)) is not None:
            groups.setdefault(mark.revision, []).append(value)
    large = sorted(revision for revision, values in groups.items() if len(values) >= FEWEST)[-MOST_LINES:]
    if len(large) > 1:
        return [(revision, sorted(groups[revision])) for revision in large]
    every = sorted(value for values in groups.values() for value in values)
    return [(None, every)] if every else []


def share_at(values: Sequence[float], x: float) -> float:
    """Return the share of sorted values at or below `x`."""
    return bisect_right(values, x) / len(values) if values else 0.0


def _shares(values: Sequence[float]) -> list[float]:
    return [share_at(values, value) for value in values]


def _steps(values: Sequence[float], x: Linear | Log, shares: Linear, box: Box) -> str:
    every = max(1, len(values) // MOST_STEPS)
    path = f"M{px(box.left)},{px(shares.at(share_at(values, x.low)))}"
    for place in sorted({*range(0, len(values), every), len(values) - 1}):
        at = min(max(x.at(values[place]), box.left), box.right)
        path += f"H{px(at)}V{px(shares.at(share_at(values, values[place])))}"
    return f"{path}H{px(box.right)}"


def _names(
    lines: Sequence[tuple[int | None, Sequence[float]]], x: Linear | Log, shares: Linear, box: Box
) -> list[Svg]:
    names, every = [], 0.8 / len(lines)
    for place, (revision, values) in enumerate(lines):
        share = 0.85 - every * place  # at different heights, to separate the labels of close lines
        value = values[min(int(share * len(values)), len(values) - 1)]
        at = min(max(x.at(value), box.left), box.right)
        is_left = at - box.left > 90
        names.append(
            label(
                at - 8 if is_left else at + 8,
                shares.at(share) + 4,
                f"Revision {revision}",
                class_="ink halo",
                anchor="end" if is_left else None,
            )
        )
    return names
