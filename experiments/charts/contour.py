"""The contour of two parameters: the local mean of the value as five bands, and the trials as pins."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.charts.drawing.axes import (
    DIGIT,
    HALF_WIDTHS,
    Box,
    Drawing,
    below,
    caption,
    drawn,
    empty,
    is_narrow,
    left_of,
)
from experiments.charts.drawing.marks import Frames, TrialMark, kinds_of, thinned, trials
from experiments.charts.drawing.parameter_axis import Parameter, ParameterScale
from experiments.charts.drawing.scale import Linear, linear_or_log
from experiments.charts.drawing.svg import Chart, Svg, clip, element, join, label

COLUMNS, ROWS = 56, 40  # of the grid on which the mean is computed
BANDWIDTH = 0.07  # of each axis: the standard deviation of the kernel
FEWEST = 3  # trials for a surface
MOST_PINS = {510: 400, 320: 200}
EDGES = (0.2, 0.4, 0.6, 0.8, 0.95)  # of the values, by rank: more contrast is better
WHOLE = re.compile(r"\.0(?=[,LHMvz])")  # the decimal place of whole coordinates
THIN = 0.35  # of a trial's weight: the surface stays blank where the density is lower


@dataclass(frozen=True)
class Surface:
    """The local mean and the density of trials at `ROWS` × `COLUMNS` nodes, starting at the low ends of both axes."""

    means: list[list[float]]
    density: list[list[float]]
    edges: list[float]  # the lower ends of the bands, from the worst to the best


def contour(
    marks: Sequence[TrialMark],
    x: Parameter,
    y: Parameter,
    *,
    metric: str,
    direction: str,
    best: Collection[int],
    total: int,
    widths: Sequence[int] = HALF_WIDTHS,
    key: str = "contour",
) -> Chart:
    """Draw the value over two parameters. `total` is the number of trials from which the marks were sampled."""
    having = [
        mark
        for mark in marks
        if mark[1] is not None
        and -math.inf < mark[1] < math.inf
        and x.name in mark.params
        and y.name in mark.params
    ]
    title = f"Contour of {clip(x.name, 60)} and {clip(y.name, 60)}"
    description = f"{clip(metric, 80)} over {clip(x.name, 60)} and {clip(y.name, 60)}, {trials(len(having))}"
    description += f" out of {total:,}." if len(having) < total else "."
    x, y = (axis.covering(mark.params[axis.name] for mark in having) for axis in (x, y))
    surface = surface_of(having, x, y, direction=direction) if len(having) >= FEWEST else None
    frames = Frames()

    def draw(width: int) -> Drawing:
        if not having:
            return empty("No results with both parameters yet", width, 280)
        narrow = is_narrow(width)
        height = 280.0 if narrow else 320.0
        labels = [tick.label for tick in y.scale(start=0, end=1).ticks]
        left = min(left_of(labels, narrow=narrow), 100.0)
        legend = (
            8 + DIGIT * max(len(text) for text in _edge_texts(surface)) + 24 if surface and not narrow else 0
        )
        box = Box(left, width - 14 - legend, 24, height - 40)
        across, up = _scale(x, box.left, box.right), _scale(y, box.bottom, box.top)
        elements = [
            element("rect", class_="iso q0", x=box.left, y=box.top, width=box.width, height=box.height),
            _bands(surface, box, direction) if surface else Svg(),
            below(across.ticks, box),
            caption(clip(x.name, int(box.width / 7)), box, height - 4, mono=True),
            label(2, 13, clip(y.name, int(width / 7) - 4), class_="mono ink"),
            *[label(box.left - 8, tick.at + 4, clip(tick.label, 13), anchor="end") for tick in up.ticks],
            _pins(having, across, up, x.name, y.name, best, MOST_PINS.get(width, 400), box, frames),
        ]
        if legend and surface:
            elements.append(_legend(surface, box))
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=title, description=description)
    columns = ("Trial", metric, x.name, y.name)
    rows = [(m.number, m.value, m.params[x.name], m.params[y.name]) for m in having]
    kinds = kinds_of((), best=any(mark.number in best for mark in having))
    return Chart(svg, title, description, columns, rows, kinds)


def surface_of(marks: Sequence[TrialMark], x: Parameter, y: Parameter, *, direction: str) -> Surface | None:
    """Return the kernel mean of the values: trials are binned on the grid, then sums and counts are smoothed with the
    same kernel. None when all trials lie on one point, or outside the axes.
    """
    import numpy as np

    across, up = _scale(x, 0.0, 1.0), _scale(y, 0.0, 1.0)
    placed = [
        (u, v, mark[1])
        for mark, u, v in zip(
            marks,
            across.all_at([mark.params[x.name] for mark in marks]),
            up.all_at([mark.params[y.name] for mark in marks]),
            strict=True,
        )
        if u is not None and v is not None and mark[1] is not None and -math.inf < mark[1] < math.inf
    ]
    if len(placed) < FEWEST:
        return None
    us, vs, values = (np.array(column) for column in zip(*placed, strict=True))
    low, high, _ = linear_or_log(values.tolist())
    clipped = np.clip(values, low, high)  # an outlier must not color everything around it
    edges = sorted(
        set(np.quantile(clipped, EDGES if direction == "maximize" else [1 - e for e in EDGES]).tolist())
    )
    if direction == "minimize":
        edges.reverse()
    columns = np.clip(np.rint(us * (COLUMNS - 1)).astype(int), 0, COLUMNS - 1)
    rows = np.clip(np.rint(vs * (ROWS - 1)).astype(int), 0, ROWS - 1)
    # Scaled to [0, 1], so that sums of huge values stay finite.
    span = float(high / 2 - low / 2) * 2 or 1.0
    offset, unit = (low, span) if math.isfinite(span) else (0.0, max(abs(low), abs(high)))
    sums, counts = np.zeros((ROWS, COLUMNS)), np.zeros((ROWS, COLUMNS))
    np.add.at(sums, (rows, columns), (clipped - offset) / unit)
    np.add.at(counts, (rows, columns), 1.0)
    vertical, horizontal = _kernel(ROWS), _kernel(COLUMNS)
    density = vertical @ counts @ horizontal
    means = vertical @ sums @ horizontal / np.maximum(density, 1e-12) * unit + offset
    return Surface(means.tolist(), density.tolist(), edges)


def _kernel(size: int) -> Any:
    """Return the symmetric matrix that smooths `size` nodes with a Gaussian of height 1."""
    import numpy as np

    places = np.arange(size) / (size - 1)
    return np.exp(-0.5 * ((places[:, None] - places[None, :]) / BANDWIDTH) ** 2)


def _scale(parameter: Parameter, start: float, end: float) -> ParameterScale:
    inset = (end - start) / len(parameter.choices) / 2 if parameter.choices else 0.0
    return parameter.scale(start=start + inset, end=end - inset)


def _bands(surface: Surface, box: Box, direction: str) -> Svg:
    """Return the bands from the worst to the best, each on top of the previous one, then the blank area."""
    sign = 1.0 if direction == "maximize" else -1.0
    means = surface.means if sign > 0 else [[-mean for mean in row] for row in surface.means]
    elements = [
        element("path", class_=f"iso q{_color(place, len(surface.edges))}", d=path)
        for place, edge in enumerate(surface.edges, 1)
        if (path := isoband(means, sign * edge, box))
    ]
    thin = isoband([[-density for density in row] for row in surface.density], -THIN, box)
    return join([*elements, element("path", class_="iso q0", d=thin) if thin else Svg()])


def isoband(heights: Sequence[Sequence[float]], edge: float, box: Box) -> str:
    """Return the path of the region where `heights`, bilinear between the nodes, are at least `edge`.

    Marching squares: the polygon inside each square; full squares of a row are joined.
    """
    rows, columns = len(heights), len(heights[0])
    wide, tall = box.width / (columns - 1), box.height / (rows - 1)
    path: list[str] = []
    for row in range(rows - 1):
        low, high = heights[row], heights[row + 1]
        bottom, column = box.bottom - row * tall, 0
        while column < columns - 1:
            corners = (low[column], low[column + 1], high[column + 1], high[column])
            if max(corners) < edge:
                column += 1
                continue
            left, end = box.left + column * wide, column + 1
            if min(corners) >= edge:
                while end < columns - 1 and low[end + 1] >= edge and high[end + 1] >= edge:
                    end += 1
                path.append(f"M{left:.1f},{bottom:.1f}H{box.left + end * wide:.1f}v{-tall:.1f}H{left:.1f}z")
            else:
                points = [f"{left + u * wide:.1f},{bottom - v * tall:.1f}" for u, v in _inside(corners, edge)]
                path.append(f"M{'L'.join(points)}z")
            column = end
    return WHOLE.sub("", "".join(path))


CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def _inside(corners: Sequence[float], edge: float) -> list[tuple[float, float]]:
    """Return the polygon of a square where the heights, given at its corners, are at least `edge`, in fractions of its
    sides."""
    points = []
    for place in range(4):
        corner, next_corner = corners[place], corners[(place + 1) % 4]
        (u, v), (to_u, to_v) = CORNERS[place], CORNERS[(place + 1) % 4]
        if corner >= edge:
            points.append((u, v))
        if (corner >= edge) != (next_corner >= edge):
            share = (edge - corner) / (next_corner - corner)
            points.append((u + share * (to_u - u), v + share * (to_v - v)))
    return points


def _color(level: int, edges: int) -> int:
    """Return the step of the ramp, 0 to 5, when there are fewer bands than colors."""
    return 0 if not level else 5 - (edges - level)


def _pins(
    marks: Sequence[TrialMark],
    across: ParameterScale,
    up: ParameterScale,
    x: str,
    y: str,
    best: Collection[int],
    most: int,
    box: Box,
    frames: Frames,
) -> Svg:
    ordered = sorted(thinned(marks, most, best=best), key=lambda mark: mark.number in best)
    xs = across.all_at([mark.params[x] for mark in ordered])
    ys = up.all_at([mark.params[y] for mark in ordered])
    pins = [
        (mark, at_x, at_y)
        for mark, at_x, at_y in zip(ordered, xs, ys, strict=True)
        if at_x is not None and at_y is not None
    ]
    drawn_pins = [
        f'<circle class="{"pin is-best" if mark[0] in best else "pin"}" '
        f'cx="{at_x:.1f}" cy="{at_y:.1f}" r="{"5" if mark[0] in best else "2.6"}"/>'
        for mark, at_x, at_y in pins
    ]
    text = Svg()
    if len(best) == 1 and pins and pins[-1][0].number in best:
        mark, at_x, at_y = pins[-1]
        is_right = at_x > box.right - 60
        text = label(
            at_x + (-9 if is_right else 9),
            at_y + 4,
            f"#{mark.number}",
            class_="strong halo",
            anchor="end" if is_right else None,
        )
    return element("g", frames.around([mark for mark, _, _ in pins], drawn_pins), text)


def _edge_texts(surface: Surface) -> list[str]:
    low, high = min(surface.edges), max(surface.edges)
    scale = Linear(low, high, start=0, end=1)
    return [scale.text(edge) for edge in surface.edges]


def _legend(surface: Surface, box: Box) -> Svg:
    x, count = box.right + 16, len(surface.edges) + 1
    tall = box.height / count
    texts = _edge_texts(surface)
    elements = []
    for place in range(count):
        y = box.bottom - (place + 1) * tall
        css = f"iso q{_color(place, len(surface.edges))}"
        elements.append(element("rect", class_=css, x=x, y=y, width=10, height=tall))
        if place:
            elements.append(label(x + 16, box.bottom - place * tall + 4, texts[place - 1]))
    return element("g", *elements)
