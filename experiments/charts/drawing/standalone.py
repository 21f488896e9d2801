"""Charts as files: self-contained SVG with the light theme and without links, for any viewer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from experiments.charts.drawing.svg import Chart, element, px

COLUMNS = 4  # of a file with several small charts
TITLE_HEIGHT = 22

# The colors of the light theme as plain values; the selectors are those of the style sheets for pages.
STYLE = """
svg{background:#fff;font:11px Inter,system-ui,sans-serif}text{fill:#6b7280;font-variant-numeric:tabular-nums}
text.ink{fill:#4b5563}text.strong{fill:#1f2937;font-weight:600}
text.mono{font-family:ui-monospace,Menlo,Consolas,monospace}
.grid-line{stroke:#e5e7eb}.axis,.zero{stroke:#9ca3af}.left-over,.track{fill:#eef0f3}.halo{paint-order:stroke;stroke:#fff;
stroke-width:4px}.dot{fill:#4666d9;fill-opacity:.5}.dot.is-best,.pin.is-best{fill:#0d6b58;fill-opacity:1}
.dot.is-live{fill:#fff;stroke:#4666d9;stroke-width:1.5;fill-opacity:1}.cut{fill:#6d3fa0;fill-opacity:.7}.gone{fill:#8b909a}
.bad{stroke:#c0392b;stroke-width:1.5;fill:none}.best-line{fill:none;stroke:#0d6b58;stroke-width:2}
.edit-rule{stroke:#4b5563;stroke-dasharray:2 3}.now-rule{stroke:#4666d9;stroke-width:1.5}
.thread{fill:none;stroke-width:1;stroke-opacity:.85}.q1{stroke:#d5e3ec}.q2{stroke:#b0cde0}.q3{stroke:#74a9d0}
.q4{stroke:#2f73b4}.q5{stroke:#222f7d;stroke-width:1.5}.thread.is-out{stroke:#6b7280;stroke-opacity:.13}
.iso{stroke:none}.iso.q0{fill:#f5f6f8}.iso.q1{fill:#d5e3ec}.iso.q2{fill:#b0cde0}.iso.q3{fill:#74a9d0}
.iso.q4{fill:#2f73b4}.iso.q5{fill:#222f7d}.pin{fill:#fff;stroke:#1f2937}.bar{fill:#4666d9;fill-opacity:.75}
.bar.is-down{fill:#c26a1c}.median{stroke:#4b5563;stroke-width:2}.trend{fill:none;stroke:#4b5563;stroke-width:1.5}
.band{fill:#6b7280;fill-opacity:.16}.median-line{fill:none;stroke:#4b5563;stroke-width:1.5;stroke-dasharray:4 3}
.strand{fill:none;stroke:#4666d9;stroke-width:1.25;stroke-opacity:.45}.own{fill:none;stroke:#4666d9;stroke-width:2}
.own.is-live{stroke:#b7791f;stroke-width:1.5}
.slot,.stackbar{fill:#8b909a}.slot.is-succeeded{fill:#b5d3cb}.slot.is-best,.stackbar.is-succeeded{fill:#0d6b58}
.is-early_stopped{fill:#6d3fa0}.slot.is-failed,.stackbar.is-failed{fill:#c0392b}.slot.is-running{fill:#4666d9}
.in-bar{fill:#1f2937;font-size:10px}
.cat-line-1{fill:none;stroke:#3b6fd4;stroke-width:2}.cat-line-2{fill:none;stroke:#c26a1c;stroke-width:2}
.cat-line-3{fill:none;stroke:#0d8f7a;stroke-width:2}.cat-line-4{fill:none;stroke:#a13f8b;stroke-width:2}
.cat-line-5{fill:none;stroke:#7a7a1f;stroke-width:2}.cat-line-6{fill:none;stroke:#6b7280;stroke-width:2}
"""


def standalone(charts: Sequence[Chart], *, names: Sequence[str] = ()) -> str:
    """Return an SVG document of charts that are drawn for one width; several are arranged in a grid with `names`."""
    drawings = [_unlinked(str(chart.svg)) for chart in charts]
    sizes = [_size(drawing) for drawing in drawings]
    if len(drawings) == 1:
        width, height = sizes[0]
        inside = drawings[0]
    else:
        wide, tall = max((w for w, _ in sizes), default=0.0), max((h for _, h in sizes), default=0.0)
        columns = min(COLUMNS, max(len(drawings), 1))
        width, height = columns * (wide + 16), -(-len(drawings) // columns) * (tall + TITLE_HEIGHT + 12)
        inside = "".join(
            _placed(
                drawing,
                name,
                (wide + 16) * (place % columns),
                (tall + TITLE_HEIGHT + 12) * (place // columns),
                size,
            )
            for place, (drawing, name, size) in enumerate(zip(drawings, names, sizes, strict=True))
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{px(width)}" height="{px(height)}" '
        f'viewBox="0 0 {px(width)} {px(height)}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{inside}</svg>\n'
    )


def _placed(drawing: str, name: str, x: float, y: float, size: tuple[float, float]) -> str:
    title = element("text", name, class_="mono ink", x=x, y=y + 14)
    place = f'<svg x="{px(x)}" y="{px(y + TITLE_HEIGHT)}" width="{px(size[0])}" height="{px(size[1])}" '
    return title + drawing.replace("<svg ", place, 1)


def _unlinked(drawing: str) -> str:
    return re.sub(r"<a [^>]*>", "<g>", drawing).replace("</a>", "</g>")


def _size(drawing: str) -> tuple[float, float]:
    view_box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)
    if view_box is None:
        raise ValueError("A drawing has no viewBox.")
    return float(view_box[1]), float(view_box[2])
