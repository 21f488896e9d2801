"""The marks of trials that all charts share: a shape for each state, a tooltip, a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from experiments.charts.drawing.svg import Svg, px, safe, safe_all

# Labels of trial states. A state that is not listed (waiting) is not shown.
WORDS = {
    "succeeded": "succeeded",
    "early_stopped": "stopped early",
    "stopped": "stopped",
    "failed": "failed",
    "running": "running",
    "stopping": "stopping",
}

# The color is an attribute, which a style-sheet rule for `.gone` overrides.
STOPPED = ' class="gone" fill="var(--quiet)"'


NO_PARAMS: Mapping[str, object] = MappingProxyType({})


class TrialMark(NamedTuple):
    """A trial as charts draw it: its number, value (None if missing), state, parameters by column name, and tooltip.
    `tooltip` is the whole text shown on hover and focus; `describe` creates it only for marks that are drawn. A tuple,
    because a chart has thousands.
    """

    number: int
    value: float | None
    state: str = "succeeded"
    params: Mapping[str, object] = NO_PARAMS
    tooltip: str = ""
    href: str | None = None
    revision: int = 1
    describe: Callable[[TrialMark], str] | None = None

    @property
    def title(self) -> str:
        return self.tooltip or (self.describe(self) if self.describe else f"#{self.number}")


def linked(drawn: str, tooltip: str, href: str | None, *, is_stop: bool = False) -> Svg:
    """Return a mark with its tooltip, as a link if there is a URL.

    Only one of a chart's links is a tab stop (`is_stop`), because hundreds would trap keyboard users. The arrow keys
    move between links.
    """
    title = f"<title>{safe(tooltip)}</title>"
    if not href:
        return Svg(f'<g data-tip="">{drawn}{title}</g>')
    stop = "" if is_stop else ' tabindex="-1"'
    return Svg(f'<a href="{safe(href)}"{stop}>{drawn}{title}</a>')


def wrappers(tooltips: Sequence[str], hrefs: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return what `linked` writes before and after each mark that is no tab stop. For thousands of marks, which are
    drawn for several widths."""
    ends = safe_all(tooltips)
    if hrefs is None:
        return [('<g data-tip="">', f"<title>{end}</title></g>") for end in ends]
    return [
        (f'<a href="{href}" tabindex="-1">', f"<title>{end}</title></a>")
        for href, end in zip(safe_all(hrefs), ends, strict=True)
    ]


def shape(state: str, x: float, y: float, radius: float, *, outside: int = 0, is_best: bool = False) -> str:
    """Return the shape of a trial at (x, y). `outside` is 1 or -1 for a value above or below the axis."""
    if outside:
        return _arrow(state, x, y, outside)
    at_x, at_y = px(x), px(y)
    if is_best:
        return f'<circle class="dot is-best" cx="{at_x}" cy="{at_y}" r="{radius + 1:g}"/>'
    if state == "succeeded":
        return f'<circle class="dot" cx="{at_x}" cy="{at_y}" r="{radius:g}"/>'
    if state == "failed":
        return f'<path class="bad" d="M{px(x - 2.6)},{px(y - 2.6)}l5.2,5.2m0-5.2l-5.2,5.2"/>'
    if state == "early_stopped":
        return f'<path class="cut" d="M{at_x},{px(y - 3.6)}l3.6,3.6-3.6,3.6-3.6-3.6z"/>'
    if state == "stopped":
        return f'<path{STOPPED} d="M{px(x - 2.7)},{px(y - 2.7)}h5.4v5.4h-5.4z"/>'
    live = " is-live" if state in ("running", "stopping") else ""
    return f'<circle class="dot{live}" cx="{at_x}" cy="{at_y}" r="{radius:g}"/>'


def thinned(marks: Sequence[TrialMark], most: int, *, best: Collection[int] = ()) -> list[TrialMark]:
    """Return at most `most` marks at equal distances, including the last one, and those numbered `best`."""
    if len(marks) <= most:
        return list(marks)
    step = (len(marks) - 1) / (most - 1)
    places = {round(step * place) for place in range(most)}
    return [mark for place, mark in enumerate(marks) if place in places or mark.number in best]


def spread(number: int) -> float:
    """Return a fixed offset between -0.5 and 0.5 for a trial, to separate marks of the same choice."""
    return (number * 7919) % 101 / 100 - 0.5


def kinds_of(states: Iterable[str], *, best: bool = False, revision: bool = False) -> frozenset[str]:
    """Return the kinds of marks of a chart that draws trials in these states."""
    kinds = {"running" if state == "stopping" else state for state in states}
    return frozenset(kinds | ({"best"} if best else set()) | ({"revision"} if revision else set()))


def trials(count: int) -> str:
    """Return "1 trial", "2,000 trials"."""
    return f"{count:,} trial" if count == 1 else f"{count:,} trials"


_PLURAL = re.compile(r"s\b")


class AtLeast(int):
    """A count that stopped at its limit: formatted as "10,000+"."""

    def __format__(self, format_spec: str) -> str:
        return f"{int(self):{format_spec}}+"


def some_of(count: int, total: int, noun: str = "trials") -> str:
    """Return "1,912 of 100,000 trials", or "92 trials" when these are all."""
    if count == total:
        return f"{count:,} {noun if count != 1 else _PLURAL.sub('', noun, count=1)}"
    return f"{count:,} of {total:,} {noun}"


def _arrow(state: str, x: float, y: float, outside: int) -> str:
    classes = {"early_stopped": ' class="cut"', "stopped": STOPPED, "running": ' class="dot is-live"'}
    classes["stopping"] = classes["running"]
    attributes = classes.get(state, ' class="dot"')
    rise = -6 if outside > 0 else 6
    return f'<path{attributes} d="M{px(x - 4)},{px(y - rise)}l4,{rise}l4,{-rise}z"/>'
