"""The distribution of run times: a histogram of ended trials, stacked by how they ended."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from experiments.charts.drawing.axes import (
    HALF_WIDTHS,
    Box,
    Drawing,
    below,
    caption,
    drawn,
    empty,
    grid,
    is_narrow,
)
from experiments.charts.drawing.marks import WORDS, kinds_of, linked, trials
from experiments.charts.drawing.scale import Linear, Tick, finite
from experiments.charts.drawing.svg import Chart, Svg, element, label

STACK = ("succeeded", "early_stopped", "stopped", "failed")  # from the bottom
MOST_BINS = 24
STEPS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)
TITLE = "Durations"


@dataclass(frozen=True, slots=True)
class Ended:
    """The run time of an ended trial, in seconds, and its state."""

    duration_s: float
    state: str


def durations(
    ended: Sequence[Ended], *, widths: Sequence[int] = HALF_WIDTHS, key: str = "durations"
) -> Chart:
    """Draw a histogram of run times. Outliers share the last bar."""
    timed = [each for each in ended if finite(each.duration_s) is not None and each.duration_s >= 0]
    succeeded = [each.duration_s for each in timed if each.state == "succeeded"]
    middle = median(succeeded) if succeeded else None
    description = f"Durations of {trials(len(timed))}."
    if middle is not None:
        description += f" Half of those that succeeded took at most {span(middle)}."
    edges = bins([each.duration_s for each in timed]) if timed else []
    counts = {state: histogram([e.duration_s for e in timed if e.state == state], edges) for state in STACK}

    def draw(width: int) -> Drawing:
        height = 230.0 if is_narrow(width) else 260.0
        if not timed:
            return empty("No trial has ended yet", width, height)
        box = Box(40, width - 14, 28, height - 40)
        tallest = max(sum(counts[state][place] for state in STACK) for place in range(len(edges) - 1))
        y = Linear(0, max(tallest, 1), start=box.bottom, end=box.top, count=4, whole=True)
        x = Linear(edges[0], edges[-1], start=box.left, end=box.right)
        every = max(1, math.ceil((len(edges) - 1) / (4 if is_narrow(width) else 6)))
        ticks = [Tick(edge, x.at(edge), span(edge)) for edge in edges[::every]]
        elements: list[Svg] = [
            grid(y.ticks, box),
            below(ticks, box),
            caption("duration per trial", box, height - 4),
        ]
        elements.append(element("g", *_bars(counts, edges, x, y)))
        if middle is not None:
            at = min(x.at(middle), box.right)
            is_left = at > box.middle
            elements.append(element("line", class_="edit-rule", x1=at, x2=at, y1=box.top - 12, y2=box.bottom))
            elements.append(
                label(
                    at - 6 if is_left else at + 6,
                    box.top - 6,
                    f"median {span(middle)}",
                    class_="ink halo",
                    anchor="end" if is_left else None,
                )
            )
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    rows = [
        (edges[place], edges[place + 1], *(counts[state][place] for state in STACK))
        for place in range(len(edges) - 1)
    ]
    columns = ("From (s)", "To (s)", *(WORDS[state].capitalize() for state in STACK))
    return Chart(svg, TITLE, description, columns, rows, kinds_of(e.state for e in timed if e.state in STACK))


def bins(values: Sequence[float]) -> list[float]:
    """Return the edges of at most 24 bins of equal, round width, from zero; the last bin may include outliers."""
    ordered = sorted(values)
    longest = ordered[-1]
    usual = ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    reach = longest if longest <= 2 * usual else usual
    steps = [*STEPS_S, *(86400.0 * 2**power for power in range(1, 40))]
    step = next((step for step in steps if reach / step < MOST_BINS), reach / MOST_BINS)
    count = max(1, math.floor(reach / step) + 1)
    edges = [step * place for place in range(count + 1)]
    if longest > edges[-1]:
        edges.append(longest)
    return edges


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Return how many values are in each bin [edge, next edge); the last one includes its end, as in numpy."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(bisect_right(edges, value) - 1, len(counts) - 1)] += 1
    return counts


def span(seconds: float) -> str:
    """Return a run time in short form: 250 ms, 40 s, 2 m 30 s, 1 h 15 m."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds else "0"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, remaining_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {remaining_s} s" if remaining_s else f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{hours / 24:.3g} d"


def _bars(counts: dict[str, list[int]], edges: Sequence[float], x: Linear, y: Linear) -> list[Svg]:
    bars: list[Svg] = []
    # The last bin may be wider than the others: draw it as wide as they are.
    pixels = (x.end - x.start) / (len(edges) - 1)
    for place in range(len(edges) - 1):
        base = 0
        for state in STACK:
            count = counts[state][place]
            if not count:
                continue
            top, bottom = y.at(base + count), y.at(base)
            tooltip = f"{count:,} {WORDS[state]}, {span(edges[place])} to {span(edges[place + 1])}"
            rect = element(
                "rect",
                class_=f"stackbar is-{state}",
                x=x.start + pixels * place + 0.75,
                y=top,
                width=max(pixels - 1.5, 1.0),
                height=max(bottom - top, 1.0),
            )
            bars.append(linked(rect, tooltip, None))
            base += count
    return bars
