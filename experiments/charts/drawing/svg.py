"""Build SVG markup with escaping, and the result type of all charts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

# Characters that XML 1.0 cannot represent, even escaped: control characters, lone surrogates, two non-characters.
INVALID_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# The two widths for which charts are drawn, in pixels of the viewBox, and the breakpoint between them (30rem).
WIDE, NARROW, TURN = 640, 320, 480


class Svg(str):
    """Markup, created by `element` and `join` only. Templates do not escape it, unlike other strings."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Chart:
    """A chart with its description in words and its data.

    `rows` are tuples of plain values (numbers, texts, None) under `columns`, for the table beside the chart. `kinds`
    are the kinds of marks that occur, for the key below the chart: states of trials, "best", "revision" and others.
    """

    svg: Svg
    title: str
    description: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]] = field(default_factory=list)
    kinds: frozenset[str] = frozenset()

    def __html__(self) -> str:
        return str(self.svg)


def safe(text: object) -> str:
    """Escape a text for content and attributes, and drop characters that XML cannot represent."""
    written = str(text)
    if _is_safe(written):  # nearly all of a chart's thousands of tooltips; this takes a third of the time
        return written
    return escape(INVALID_XML.sub("", written))


def safe_all(texts: Sequence[str]) -> list[str]:
    """Escape many texts as `safe` does. They are tested together, because nearly always none needs a change."""
    return list(texts) if _is_safe("".join(texts)) else [safe(text) for text in texts]


def _is_safe(text: str) -> bool:
    return text.isprintable() and not (
        "&" in text or "<" in text or ">" in text or '"' in text or "'" in text
    )


def clip(text: object, length: int) -> str:
    """Shorten a text to `length` characters, with "…" at the end when it is cut."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def element(_name: str, *inside: str, **attributes: object) -> Svg:
    """Return an element. Children that are not `Svg` and attributes are escaped; an attribute of None is omitted.

    `class_` is class; `_` in other names is `-`; floats are rounded to a tenth of a pixel.
    """
    body = "".join([child if isinstance(child, Svg) else safe(child) for child in inside])
    written = "".join([_attribute(name, value) for name, value in attributes.items() if value is not None])
    return Svg(f"<{_name}{written}>{body}</{_name}>" if body else f"<{_name}{written}/>")


def join(elements: Iterable[str]) -> Svg:
    """Concatenate markup; elements that are not `Svg` are escaped."""
    return Svg("".join([part if isinstance(part, Svg) else safe(part) for part in elements]))


def px(value: float) -> str:
    """Return a coordinate with a precision of a tenth of a pixel: 12, 12.5."""
    written = f"{value:.1f}".removesuffix(".0")
    return "0" if written == "-0" else written


def label(x: float, y: float, text: str, *, class_: str | None = None, anchor: str | None = None) -> Svg:
    """Return a text element; `anchor` is SVG's text-anchor (None for start)."""
    return element("text", text, class_=class_, x=x, y=y, text_anchor=anchor)


def frame(
    *elements: Svg,
    key: str,
    title: str,
    description: str,
    width: float,
    height: float,
    fit: str | None,
) -> Svg:
    """Return the `<svg>` of a drawing, with title and description for screen readers. A drawing with links has the role
    of a group, because screen readers ignore the elements of an image.

    `key` is the prefix of its IDs; it must be one word and unique in the page. `fit` is `is-wide` or `is-narrow` for a
    drawing with a counterpart for the other width, else None.
    """
    ids = f"{key}-{width:g}"
    return element(
        "svg",
        element("title", title, id=f"{ids}-t"),
        element("desc", description, id=f"{ids}-d"),
        *elements,
        class_=f"chart {fit}" if fit else "chart",
        viewBox=f"0 0 {px(width)} {px(height)}",
        role="group" if any("<a " in part for part in elements) else "img",
        aria_labelledby=f"{ids}-t {ids}-d",
    )


def _attribute(name: str, value: object) -> str:
    written = px(value) if isinstance(value, float) else safe(value)
    return f' {name.rstrip("_").replace("_", "-")}="{written}"'
