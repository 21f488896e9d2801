"""SVG by hand: what is markup already, what must be escaped, and how a finished chart looks to its caller."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

# What XML 1.0 cannot carry, not even escaped: control characters, lone surrogates, two non-characters.
UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# The two widths that charts are drawn for, in pixels of the viewBox, and where the second gives way (30rem).
WIDE, NARROW, TURN = 640, 320, 480


class Svg(str):
    """Markup. Made by `element` and `join` only; templates show it as it is, other strings get escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Chart:
    """A drawn chart and the same in words and numbers.

    `rows` are tuples of plain values (numbers, words, None) under `columns`, for the table beside the chart.
    """

    svg: Svg
    title: str
    description: str
    columns: tuple[str, ...]
    rows: list[tuple] = field(default_factory=list)

    def __html__(self) -> str:
        return str(self.svg)


def safe(text: object) -> str:
    """Escape what somebody wrote, for content and attributes alike, and drop what XML cannot carry."""
    return escape(UNSPEAKABLE.sub("", str(text)))


def clip(text: object, length: int) -> str:
    """Shorten a text to `length` characters, the last of them "…" when something is missing."""
    whole = " ".join(str(text).split())
    return whole if len(whole) <= length else f"{whole[: length - 1].rstrip()}…"


def element(_name: str, *inside: str, **attributes: object) -> Svg:
    """Return an element; children that are not `Svg` are escaped, so are attributes; None leaves one out.

    `class_` is class; `_` in other names is `-`; floats are rounded to a tenth of a pixel.
    """
    body = "".join([child if isinstance(child, Svg) else safe(child) for child in inside])
    given = "".join([_attribute(name, value) for name, value in attributes.items() if value is not None])
    return Svg(f"<{_name}{given}>{body}</{_name}>" if body else f"<{_name}{given}/>")


def join(parts: Iterable[Svg]) -> Svg:
    """Put markup in a row."""
    return Svg("".join([part if isinstance(part, Svg) else safe(part) for part in parts]))


def px(value: float) -> str:
    """Write a coordinate, to a tenth of a pixel: 12, 12.5."""
    written = f"{value:.1f}".removesuffix(".0")
    return "0" if written == "-0" else written


def label(x: float, y: float, text: str, *, class_: str | None = None, anchor: str | None = None) -> Svg:
    """Write a text at a place; `anchor` is SVG's text-anchor (start when None)."""
    return element("text", text, class_=class_, x=x, y=y, text_anchor=anchor)


def frame(
    *parts: Svg, key: str, title: str, description: str, width: float, height: float, fit: str | None
) -> Svg:
    """Put a drawing into its `<svg>`, with the title and the description that readers of the screen hear.

    `key` makes the IDs; it must be one word and unique in the page. `fit` is `is-wide` or `is-narrow` for a
    drawing that has a twin for the other width, None for one that stands alone.
    """
    ids = f"{key}-{width:g}"
    return element(
        "svg",
        element("title", title, id=f"{ids}-t"),
        element("desc", description, id=f"{ids}-d"),
        *parts,
        class_=f"chart {fit}" if fit else "chart",
        viewBox=f"0 0 {px(width)} {px(height)}",
        role="img",
        aria_labelledby=f"{ids}-t {ids}-d",
    )


def _attribute(name: str, value: object) -> str:
    written = px(value) if isinstance(value, float) else safe(value)
    return f' {name.rstrip("_").replace("_", "-")}="{written}"'
