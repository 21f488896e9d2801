"""Importance of parameters as bars: shares of the variance from zero, or correlations around zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.charts.drawing.axes import DIGIT, HALF_WIDTHS, Drawing, drawn, empty, is_narrow
from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label

ROW = 22.0
MONO = 7.0  # width of a character of the names, at most


def importance(
    shares: Sequence[tuple[str, float | None]],
    *,
    is_signed: bool,
    note: str = "",
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "importance",
) -> Chart:
    """Draw one bar per parameter.

    `shares` are (name, number): shares from 0 to 1, or with `is_signed` correlations from -1 to 1; None if undefined.
    `note` is the first sentence of the description.
    """
    title = "Correlation" if is_signed else "Importance"
    ordered = sorted(
        shares, key=lambda each: (finite(each[1]) is None, -abs(finite(each[1]) or 0.0), each[0])
    )
    strongest = ", ".join(f"{clip(name, 40)} {text(number, is_signed)}" for name, number in ordered[:3])
    description = f"{note} {len(ordered)} parameters, the strongest first: {strongest}.".strip()

    def draw(width: int) -> Drawing:
        if not ordered:
            return empty("No parameters", width, 120)
        most = min(max(len(name) for name, _ in ordered), 18 if is_narrow(width) else 26)
        left, right = 8 + MONO * most + 8, width - 14 - 6 * DIGIT
        longest = 1.0 if is_signed else max(max((finite(number) or 0.0) for _, number in ordered), 1e-9)
        elements = []
        for place, (name, number) in enumerate(ordered):
            y = 4 + ROW * place
            shown = clip(name, most)
            row = [label(0, y + 14, shown, class_="mono ink")]
            if shown != name:
                row.append(element("title", name))
            row.append(element("rect", class_="track", x=left, y=y + 6, width=right - left, height=9, rx=2))
            value = finite(number)
            if value is not None:
                row.append(_bar(value, left, right, y + 6, longest, is_signed=is_signed))
            row.append(label(width - 4, y + 14, text(number, is_signed), class_="ink", anchor="end"))
            elements.append(element("g", *row))
        if is_signed:
            middle = (left + right) / 2
            elements.append(
                element("line", class_="zero", x1=middle, x2=middle, y1=4, y2=4 + ROW * len(ordered))
            )
        return Drawing(elements, 8 + ROW * len(ordered))

    svg = drawn(draw, widths, key=key, title=title, description=description)
    return Chart(svg, title, description, ("Parameter", title), list(ordered))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the rank correlation of (x, y) pairs, ties with their mean rank; None when it is not defined."""
    if len(pairs) < 3:
        return None
    xs, ys = (_centered_ranks(column) for column in zip(*pairs, strict=True))
    spread = float(xs @ xs) * float(ys @ ys)
    return float(xs @ ys) / spread**0.5 if spread else None


def text(number: float | None, is_signed: bool) -> str:
    """Return a share as 0.41, a correlation as +0.32 or −0.32, a missing one as —."""
    value = finite(number)
    if value is None:
        return "—"
    return f"{value:+.2f}".replace("-", "−") if is_signed else f"{value:.2f}"


def _centered_ranks(values: Sequence[float]) -> Any:
    """Return the ranks of the values as an array whose mean is 0."""
    import numpy as np

    _, places, counts = np.unique(np.array(values, dtype=float), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return ranks[places] - (len(values) + 1) / 2


def _bar(value: float, left: float, right: float, y: float, longest: float, *, is_signed: bool) -> Svg:
    if not is_signed:
        width = (right - left) * min(max(value / longest, 0.0), 1.0)
        return element("rect", class_="bar", x=left, y=y, width=max(width, 1.0), height=9, rx=2)
    middle, half = (left + right) / 2, (right - left) / 2
    length = half * min(abs(value), 1.0)
    css = "bar" if value >= 0 else "bar is-down"
    return element(
        "rect", class_=css, x=middle if value >= 0 else middle - length, y=y, width=max(length, 1.0), height=9
    )
