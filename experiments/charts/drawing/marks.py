"""The marks of trials that all charts share: a shape for each state, a tooltip, a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from experiments.charts.drawing.svg import Svg, px, safe, safe_all

Tuple = TypeVar("Tuple", bound=tuple[Any, ...])

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
    `tooltip` is the whole text shown on hover and focus; `describe` creates it only for marks that are drawn, for all
    of a chart together. A tuple, because a chart has thousands.
    """

    number: int
    value: float | None
    state: str = "succeeded"
    params: Mapping[str, object] = NO_PARAMS
    tooltip: str = ""
    href: str | None = None
    revision: int = 1
    describe: Callable[[Sequence[TrialMark]], list[str]] | None = None


def tuples(kind: type[Tuple], rows: Iterable[Iterable[Any]]) -> list[Tuple]:
    """Return a named tuple of each row of values, without a call of a Python function for each."""
    return list(map(partial(tuple.__new__, kind), rows))


def titles(marks: Sequence[TrialMark]) -> list[str]:
    """Return the tooltip of each mark."""
    if marks and marks[0].describe and not any([mark.tooltip for mark in marks]):
        return marks[0].describe(marks)
    return [mark.tooltip or f"#{mark.number}" for mark in marks]


class Frames:
    """The markup around the shapes of trials: their links and tooltips. It is written once for all widths of a chart,
    and for many trials together."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, str]] = {}

    def around(self, marks: Sequence[TrialMark], drawn: Sequence[str], *, stop: int | None = 0) -> Svg:
        """Return the marks of these trials, whose shapes are `drawn`. `stop` is the index of the mark that is a tab
        stop."""
        frames = self._of
        if missing := [mark for mark in marks if mark.number not in frames]:
            hrefs = [mark.href for mark in missing]
            if None in hrefs:
                pairs = [
                    wrappers([title], [mark.href] if mark.href else None)[0]
                    for mark, title in zip(missing, titles(missing), strict=True)
                ]
            else:
                pairs = wrappers(titles(missing), [href for href in hrefs if href is not None])
            frames.update(zip([mark.number for mark in missing], pairs, strict=True))
        pairs = [frames[mark.number] for mark in marks]
        written = [f"{pair[0]}{shape}{pair[1]}" for pair, shape in zip(pairs, drawn, strict=True)]
        if stop is not None and written:
            written[stop] = written[stop].replace(' tabindex="-1"', "", 1)
        return Svg("".join(written))


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


def shapes(
    states: Sequence[str],
    xs: Sequence[float],
    ys: Sequence[float],
    radius: float,
    outside: Sequence[int],
    *,
    best: Iterable[bool] = (),
) -> list[str]:
    """Return the shape of each trial for its state and position, in pixels with one decimal place. `outside` is 1 or -1
    for a value above or below the axis. `best`: whether each is one of the best; none by default."""
    frames = {state: _frame(state, radius) for state in set(states)}
    drawn = [
        f"{head}{x - by:.1f}{between}{y - down:.1f}{tail}" if not side else _arrow(state, x, y, side)
        for state, x, y, side, (head, between, tail, by, down) in zip(
            states, xs, ys, outside, [frames[state] for state in states], strict=True
        )
    ]
    for place in [place for place, is_best in enumerate(best) if is_best and not outside[place]]:
        drawn[place] = (
            f'<circle class="dot is-best" cx="{px(xs[place])}" cy="{px(ys[place])}" r="{radius + 1:g}"/>'
        )
    return drawn


def _frame(state: str, radius: float) -> tuple[str, str, str, float, float]:
    """Return the shape's markup before, between and after its coordinates, and what is subtracted from them."""
    if state == "failed":
        return '<path class="bad" d="M', ",", 'l5.2,5.2m0-5.2l-5.2,5.2"/>', 2.6, 2.6
    if state == "early_stopped":
        return '<path class="cut" d="M', ",", 'l3.6,3.6-3.6,3.6-3.6-3.6z"/>', 0.0, 3.6
    if state == "stopped":
        return f'<path{STOPPED} d="M', ",", 'h5.4v5.4h-5.4z"/>', 2.7, 2.7
    live = " is-live" if state in ("running", "stopping") else ""
    return f'<circle class="dot{live}" cx="', '" cy="', f'" r="{radius:g}"/>', 0.0, 0.0


def thinned(marks: Sequence[TrialMark], most: int, *, best: Collection[int] = ()) -> list[TrialMark]:
    """Return at most `most` marks at equal distances, including the last one, and those numbered `best`."""
    if len(marks) <= most:
        return list(marks)
    span, steps = len(marks) - 1, most - 1
    places = {(span * place + steps // 2) // steps for place in range(most)}
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
