"""The optimization history chart: values by trial number, best so far, revisions, and the remaining budget."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import inf as INFINITY
from math import isfinite, log10
from operator import itemgetter
from sys import float_info
from typing import NamedTuple

from experiments.charts.drawing.axes import BESIDE_RAIL, DIGIT, fits
from experiments.charts.drawing.marks import WORDS, kinds_of, linked, shapes, trials, wrappers
from experiments.charts.drawing.scale import Linear, Log, linear_or_log
from experiments.charts.drawing.svg import TURN, Chart, Svg, clip, element, frame, join, label, px

# Trials without a value, and failed ones, are shown in lanes below the axis.
LANES = {"early_stopped": "early", "stopped": "stopped", "failed": "failed", "running": "running"}
LANES["stopping"] = LANES["running"]
LANE_ORDER = ("early", "stopped", "failed", "running")
LANE = 14

MOST_NARROW = 400  # marks in all drawings but the widest


class Point(NamedTuple):
    """A trial: number, value (None if there is none), state, and a note and the parameters for the tooltip. A tuple,
    because a chart has thousands."""

    number: int
    value: float | None
    state: str
    note: str = ""
    params: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """A revision made during the experiment, after trial number `after`; `note` says what it changed."""

    after: int
    revision: int
    by: str
    note: str = ""
    href: str | None = None


def history(
    points: Sequence[Point],
    *,
    direction: str,
    metric: str,
    best_steps: Sequence[tuple[int, float]] | None = None,
    front: Collection[int] = (),
    left: int = 0,
    marks: Mapping[int, str] | None = None,
    best_text: str = "",
    edits: Sequence[Edit] = (),
    href: Callable[[int], str] | None = None,
    width: int | None = None,
    widths: Sequence[int] = BESIDE_RAIL,
    height: int | None = None,
    is_log: bool | None = None,
    key: str = "history",
) -> Chart:
    """Draw the values of an experiment's trials by number. Sample them to about 2,000 points before.

    `direction` is `minimize` or `maximize`. `best_steps` are the (number, value) pairs where the best so far improved
    (None: computed from the succeeded points). `front` are the numbers of the trials on the Pareto front, which are
    marked in place of a best one. `left` is the number of trials in the budget that have not started. `marks` are
    labels by trial number, `best_text` is the label of the best trial (default: formatted by the axis).
    `href(number)` returns the URL of a trial. `width` is in pixels of the viewBox; None draws for each of `widths`, and
    the style sheet shows the one that fits. `is_log` None: a logarithmic axis where the values ask for one. `key` must
    be unique in the page.
    """
    listed = sorted([point for point in points if point.state in WORDS], key=itemgetter(0))
    shown = [
        point
        if point[1] is None or (-INFINITY < point[1] < INFINITY and point[2] != "failed")
        else point._replace(value=None)  # drawn in a lane
        for point in listed
    ]
    steps = _best_steps(shown, direction) if best_steps is None else list(best_steps)
    drawings = fits(widths if width is None else (width,))
    around: dict[int, tuple[str, str]] = {}
    title = "Optimization history"
    description = ""
    elements = []
    for each_width, fit in drawings:
        keep = {number for number, _ in steps[-1:]}.union(front)
        drawn = shown if each_width == drawings[0][0] else _thinned(shown, keep)
        drawing = _Drawing(drawn, steps, front, direction, left, each_width, height, is_log, around)
        description = description or _describe(drawing, metric, edits)
        body = drawing.draw(marks=marks or {}, best_text=best_text, edits=edits, href=href)
        size = {"width": each_width, "height": drawing.height}
        elements.append(frame(*body, key=key, title=title, description=description, fit=fit, **size))
    marked = set(front) or {number for number, _ in steps}
    rows = [
        (
            number,
            value if value is None or -INFINITY < value < INFINITY else None,
            WORDS[state],
            number in marked,
        )
        for number, value, state, _, _ in listed
    ]
    kinds = kinds_of({point.state for point in shown}, best=bool(steps), revision=bool(edits))
    if front and any([point.number in front for point in shown]):
        kinds |= {"front"}
    columns = ("Trial", metric, "State", "On the front" if front else "New best")
    return Chart(join(elements), title, description, columns, rows, kinds)


class _Drawing:
    """The plot for one width: its geometry, and its elements from back to front."""

    def __init__(
        self,
        points: Sequence[Point],
        steps: Sequence[tuple[int, float]],
        front: Collection[int],
        direction: str,
        left: int,
        width: int,
        height: int | None,
        is_log: bool | None,
        around: dict[int, tuple[str, str]],
    ) -> None:
        self.front, self.around = front, around
        self.points, self.steps, self.left, self.width, self.is_log = points, steps, left, width, is_log
        self.is_narrow = width < TURN
        self.is_down = direction == "minimize"
        self.height = height or (240 if self.is_narrow else 256)
        lanes = {LANES[point.state] for point in points if point.value is None and point.state in LANES}
        self.lanes = [lane for lane in LANE_ORDER if lane in lanes]
        self.top, self.bottom = 18.0, self.height - 34.0 - LANE * len(self.lanes)
        self.y = self._value_scale()
        names = [tick.label for tick in self.y.ticks] if self.y else []
        # Space for the longest label at the left, including those of the lanes.
        longest = max([len(name) for name in [*names, *self.lanes]], default=0)
        self.first_x = max(30.0 if self.is_narrow else 44.0, 10 + DIGIT * longest)
        self.last_x = width - 14.0
        self.last = points[-1].number if points else 0
        self.x = self._number_scale()
        self.radius = 3.0 if len(points) <= 600 else 2.2

    def draw(
        self,
        *,
        marks: Mapping[int, str],
        best_text: str,
        edits: Sequence[Edit],
        href: Callable[[int], str] | None,
    ) -> list[Svg]:
        elements = [self._budget(), self._grid(), self._numbers(), *self._lane_names(), *self._edits(edits)]
        best = self.steps[-1][0] if self.steps else None  # drawn last, on top of the others
        elements.append(element("g", self._marks(best, href)))
        elements.extend(self._best(href))
        elements.extend(self._labels(marks, best_text))
        if not self.y:
            middle = (self.first_x + self.last_x) / 2
            elements.append(label(middle, (self.top + self.bottom) / 2, self._nothing(), anchor="middle"))
        return [part for part in elements if part]

    def _value_scale(self) -> Linear | Log | None:
        best = [value for _, value in self.steps]
        values = [point.value for point in self.points if point.value is not None] + best
        if not values:
            return None
        low, high, is_log = linear_or_log(values, keep=best[-1:])
        if self.is_log is not None and self.is_log != is_log:
            above = [value for value in values if value > 0]
            is_log = self.is_log and bool(above)
            low, high = (min(above), max(above)) if is_log else (min(values), max(values))
        self.low, self.high = low, high
        # Leave a margin below the lowest value for the label of the best trial.
        if is_log:
            margin = 10 ** (0.04 * (log10(high) - log10(low)))
            lowest = max(low / margin ** (3 if self.is_down else 1), 5e-324)
            return Log(lowest, min(high * margin, float_info.max), start=self.bottom, end=self.top)
        margin = 0.08 * (high / 2 - low / 2)
        if not isfinite(high + margin) or not isfinite(low - 3 * margin):
            margin = 0.0
        lowest = low - margin * (2.5 if self.is_down else 0.5)
        if low >= 0:
            lowest = max(lowest, 0.0)  # no negative axis for nonnegative values
        return Linear(lowest, high + margin, start=self.bottom, end=self.top, snap=True)

    def _number_scale(self) -> Linear:
        first = self.points[0].number if self.points else 0
        start = 0 if first <= self.last / 10 + 10 else first - 1
        # A large budget would squeeze the first trials: show at most as many future trials as past ones, or 20.
        self.end = self.last + min(self.left, max(self.last - start, 20))
        count = 3 if self.is_narrow else 6
        end = max(self.end, start + 1)
        return Linear(start, end, start=self.first_x, end=self.last_x, count=count, whole=True)

    def _drawn(self, best: int | None) -> tuple[list[Point], list[float], list[float]]:
        """Return the points that have a position, except for the best one, and their positions in pixels."""
        y, lanes = (
            self.y,
            {state: self._lane_at(LANES[state]) for state in LANES if LANES[state] in self.lanes},
        )
        points = [
            point
            for point in self.points
            if (point[2] in lanes if point[1] is None else y is not None) and point[0] != best
        ]
        top, bottom = self.top, self.bottom
        ys = (
            y.all_at([self.low if point[1] is None else point[1] for point in points])
            if y
            else [0.0] * len(points)
        )
        return (
            points,
            self.x.all_at([point[0] for point in points]),
            [
                lanes[point[2]] if point[1] is None else top if at < top else bottom if at > bottom else at
                for point, at in zip(points, ys, strict=True)
            ],
        )

    def _lane_at(self, lane: str) -> float:
        return self.bottom + 13.0 + LANE * self.lanes.index(lane)

    def _budget(self) -> Svg:
        if not self.left or not self.points:
            return Svg()
        x = self.x.at(self.last)
        wash = element(
            "rect", class_="left-over", x=x, y=self.top, width=self.last_x - x, height=self.bottom - self.top
        )
        text = f"{self.left:,} remaining" + (" →" if self.end < self.last + self.left else "")
        if len(text) * DIGIT > self.last_x - x:
            return wash
        y = self.top + 16 if self.is_down else self.bottom - 8
        for tick in self.y.ticks if self.y else ():  # a grid line would cross it out
            if abs(tick.at - (y - 4)) < 8:
                y = tick.at + 16 if self.is_down else tick.at - 6
                break
        return join([wash, label((x + self.last_x) / 2, y, text, class_="minor", anchor="middle")])

    def _grid(self) -> Svg:
        if not self.y:
            return Svg()
        lines = []
        for place, tick in enumerate(self.y.ticks):
            y = float(tick.at)
            lines.append(element("line", class_="grid-line", x1=self.first_x, x2=self.last_x, y1=y, y2=y))
            every_second = "minor" if place % 2 else None
            lines.append(label(self.first_x - 8, y + 4, tick.label, class_=every_second, anchor="end"))
        return element("g", *lines)

    def _numbers(self) -> Svg:
        if not self.points:
            return Svg()
        y = self.height - 8
        return element(
            "g",
            *[
                label(tick.at, y, tick.label, class_="minor" if place % 2 else None, anchor="middle")
                for place, tick in enumerate(self.x.ticks)
            ],
        )

    def _lane_names(self) -> list[Svg]:
        x = self.first_x - 8
        return [label(x, self._lane_at(n) + 4, n, class_="minor", anchor="end") for n in self.lanes]

    def _edits(self, edits: Sequence[Edit]) -> list[Svg]:
        elements: list[Svg] = []
        taken = self.first_x
        # Keep clear of the text about the remaining budget.
        y = self.top + 32 if self.is_down else self.bottom - (24 if self.is_narrow else 38)
        ordered = sorted(edits, key=lambda edit: (edit.after, edit.revision))
        places = [self.x.at(min(max(edit.after + 0.5, self.x.low), self.x.high)) for edit in ordered]
        for edit, x, end in zip(ordered, places, [*places, self.last_x][1:], strict=True):
            name = f"Revision {edit.revision}, {clip(edit.by, 20)}"
            tooltip = f"{name}, after trial {edit.after}" + (f": {clip(edit.note, 200)}" if edit.note else "")
            lines = [name] if self.is_narrow or not edit.note else [name, clip(edit.note, 32)]
            width = DIGIT * max(len(line) for line in lines) + 12
            rule = element("line", class_="edit-rule", x1=x, x2=x, y1=self.top - 4, y2=self.bottom)
            inside = [rule]
            side = _side(x, width, taken, end)
            taken = x + width if side == "start" else x
            if side:
                at = x + 6 if side == "start" else x - 6
                anchor = "end" if side == "end" else None
                inside.append(label(at, y, lines[0], class_="ink halo", anchor=anchor))
                inside.extend(
                    label(at, y + 14, line, class_="minor halo", anchor=anchor) for line in lines[1:]
                )
            inside.append(element("title", tooltip))
            elements.append(
                element(
                    "a" if edit.href else "g", *inside, href=edit.href, tabindex="-1" if edit.href else None
                )
            )
        return elements

    def _marks(self, best: int | None, href: Callable[[int], str] | None) -> Svg:
        """Return the marks of all trials but the best one; those on the front are drawn last."""
        if not self.around:  # the first drawing, which has all trials
            hrefs = [href(point.number) for point in self.points] if href else None
            surrounded = wrappers(self._tooltips(), hrefs)
            self.around.update(zip([point.number for point in self.points], surrounded, strict=True))
        points, xs, ys = self._drawn(best)
        around, front = self.around, self.front
        low, high = (self.low, self.high) if self.y else (-INFINITY, INFINITY)
        outside = [
            0 if point[1] is None or low <= point[1] <= high else 1 if point[1] > high else -1
            for point in points
        ]
        drawn = shapes([point[2] for point in points], xs, ys, self.radius, outside)
        pairs = [around[point[0]] for point in points]
        marks = [f"{pair[0]}{mark}{pair[1]}" for pair, mark in zip(pairs, drawn, strict=True)]
        if front:
            is_front = [point[1] is not None and point[0] in front for point in points]
            radius = self.radius + 1
            on_front = [
                f'{pair[0]}<circle class="dot is-front" cx="{px(x)}" cy="{px(y)}" r="{radius:g}"/>{pair[1]}'
                for pair, x, y in compress(zip(pairs, xs, ys, strict=True), is_front)
            ]
            marks = [mark for mark, is_in in zip(marks, is_front, strict=True) if not is_in] + on_front
        # Without a best trial, one on the front, else the last, is the chart's tab stop.
        if not self.steps and marks:
            marks[-1] = marks[-1].replace(' tabindex="-1"', "", 1)
        return Svg("".join(marks))

    def _tooltips(self) -> list[str]:
        """Return the tooltip of each trial."""
        if self.y:
            texts = self.y.texts([0.0 if point.value is None else point.value for point in self.points])
        else:
            texts = [""] * len(self.points)
        low, high = (self.low, self.high) if self.y else (0.0, 0.0)
        return [
            (f"#{point[0]}, {text}; {point[4]}" if point[4] else f"#{point[0]}, {text}")
            if point[2] == "succeeded"
            and point[1] is not None
            and low <= point[1] <= high
            and not point[3]
            and point[0] not in self.front
            else self._tooltip(point, text)
            for point, text in zip(self.points, texts, strict=True)
        ]

    def _tooltip(self, point: Point, text: str) -> str:
        """Return the tooltip of a trial with the text of its value."""
        number, value, state, note, params = point
        tooltip = f"#{number}" if value is None else f"#{number}, {text}"
        if state != "succeeded" or value is None:
            tooltip += f", {WORDS[state]}"
        if number in self.front:
            tooltip += ", on the front"
        if value is not None and not self.low <= value <= self.high:
            tooltip += ", above the axis range" if value > self.high else ", below the axis range"
        if note:
            tooltip += f": {clip(note, 200)}"
        return f"{tooltip}; {params}" if params else tooltip

    def _best(self, href: Callable[[int], str] | None) -> list[Svg]:
        if not self.steps or not self.y:
            return []
        ys = [min(max(self.y.at(value), self.top), self.bottom) for _, value in self.steps]
        xs = [self.x.at(number) for number, _ in self.steps]
        path = f"M{px(xs[0])},{px(ys[0])}"
        for x, y in zip(xs[1:], ys[1:], strict=True):
            path += f"H{px(x)}V{px(y)}"
        path += f"H{px(max(self.x.at(self.last), xs[-1]))}"
        number, value = self.steps[-1]
        dot = element("circle", class_="dot is-best", cx=xs[-1], cy=ys[-1], r=4)
        params = next((point.params for point in self.points if point.number == number), "")
        tooltip = f"#{number}, {self.y.text(value)}, the best{f'; {params}' if params else ''}"
        mark = linked(dot, tooltip, href(number) if href else None, is_stop=True)
        return [element("path", class_="best-line", d=path), mark]

    def _labels(self, marks: Mapping[int, str], best_text: str) -> list[Svg]:
        if not self.y:
            return []
        elements: list[Svg] = []
        taken: list[tuple[float, float]] = []
        by_number = {point.number: point for point in self.points} if marks else {}
        label_candidates = [(n, v, best_text or self.y.text(v)) for n, v in self.steps[-1:]]
        label_candidates += [
            (n, value, clip(text, 24))
            for n, text in marks.items()
            if n in by_number and (value := by_number[n].value) is not None
        ]
        for number, value, text in label_candidates:
            x, y = self.x.at(number), min(max(self.y.at(value), self.top), self.bottom)
            half = len(text) * DIGIT / 2
            near = any(abs(x - other_x) < half + 30 and abs(y - other_y) < 14 for other_x, other_y in taken)
            below = self.is_down != near and y + 17 <= self.bottom
            taken.append((x, y))
            at_y = y + 17 if below else max(y - 9, 9)
            at_x = min(max(x, self.first_x + half), self.last_x - half)
            elements.append(label(at_x, at_y, text, class_="strong halo", anchor="middle"))
        return elements

    def _nothing(self) -> str:
        if not self.points:
            return "No trials started yet"
        return "No values yet"


def _thinned(points: Sequence[Point], keep: Collection[int]) -> Sequence[Point]:
    """Return every so many points, up to about `MOST_NARROW`, and those whose numbers are in `keep`."""
    if len(points) <= MOST_NARROW:
        return points
    every = -(-len(points) // MOST_NARROW)
    last = (len(points) - 1) % every
    return [point for place, point in enumerate(points) if place % every == last or point.number in keep]


def _best_steps(points: Sequence[Point], direction: str) -> list[tuple[int, float]]:
    steps: list[tuple[int, float]] = []
    for point in points:
        value = point.value
        if value is None or point.state != "succeeded":
            continue
        if not steps or (value < steps[-1][1] if direction == "minimize" else value > steps[-1][1]):
            steps.append((point.number, value))
    return steps


def _side(x: float, width: float, taken: float, end: float) -> str | None:
    if x + width <= end and x >= taken:
        return "start"
    return "end" if x - width >= taken else None


def _describe(drawing: _Drawing, metric: str, edits: Sequence[Edit]) -> str:
    counts = Counter([point.state for point in drawing.points])
    values = [point.value for point in drawing.points if point.value is not None]
    with_value = len(values)
    outside = len([value for value in values if not drawing.low <= value <= drawing.high])
    summary = ", ".join(f"{counts[state]:,} {words}" for state, words in WORDS.items() if counts[state])
    sentences = [f"{clip(metric, 80)} of {trials(len(drawing.points))}{f': {summary}' if summary else ''}."]
    if not with_value:
        sentences.append(drawing._nothing() + ".")
    if drawing.steps and drawing.y:
        (first, begun), (number, value) = drawing.steps[0], drawing.steps[-1]
        text = drawing.y.text
        if first == number:
            sentences.append(f"The best is {text(value)} at trial {number}.")
        else:
            verb = "falls" if drawing.is_down else "rises"
            sentences.append(
                f"Best so far {verb} from {text(begun)} at trial {first} to {text(value)} at trial {number}."
            )
    on_front = (
        len([point for point in drawing.points if point.number in drawing.front]) if drawing.front else 0
    )
    if on_front:
        sentences.append(f"{trials(on_front)} on the Pareto front.")
    if outside:
        sentences.append(
            f"{trials(outside)} far from the others {'is' if outside == 1 else 'are'} outside the axis range."
        )
    if edits:
        after = sorted({edit.after for edit in edits})
        numbers = ", ".join(str(number) for number in after[:5]) + (
            f" and {len(after) - 5} more" if after[5:] else ""
        )
        sentences.append(f"The experiment was edited after trial {numbers}.")
    if drawing.left:
        sentences.append(f"{trials(drawing.left)} of the budget remaining.")
    return " ".join(sentences)
