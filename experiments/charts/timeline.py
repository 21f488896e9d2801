"""The timeline: when each trial ran, one lane per slot of a worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from experiments.charts.drawing.axes import DIGIT, FULL_WIDTHS, Box, Drawing, below, drawn, empty, is_narrow
from experiments.charts.drawing.marks import WORDS, kinds_of, linked, trials
from experiments.charts.drawing.scale import Time
from experiments.charts.drawing.svg import Chart, Svg, clip, element, label

MOST_LANES = 24
LANE = {True: 22.0, False: 30.0}  # height, by whether the drawing has many lanes
TITLE = "Timeline"


@dataclass(frozen=True, slots=True)
class Run:
    """A trial with its worker and times; `ended_at` is None while it runs."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    tooltip: str = ""
    href: str | None = None


def timeline(
    runs: Sequence[Run],
    *,
    now: datetime,
    best: Collection[int],
    total: int,
    edits: Mapping[int, datetime] | None = None,
    widths: Sequence[int] = FULL_WIDTHS,
    key: str = "timeline",
) -> Chart:
    """Draw when each trial ran. `edits` are revisions with their times; `now` ends the bars of running trials.

    Slots have no numbers: a trial gets the first lane of its worker that is free when it starts.
    """
    lanes = lanes_of(runs, now)
    hidden = max(0, len(lanes) - MOST_LANES)
    shown = lanes[:MOST_LANES]
    description = f"{trials(len(runs))}{f' of {total:,}' if len(runs) < total else ''} in {len(lanes)} slots."
    if hidden:
        description += f" {hidden} slots are not shown."

    def draw(width: int) -> Drawing:
        if not shown:
            return empty("No trials started yet", width, 160)
        lane = LANE[len(shown) > 8]
        height = 16 + lane * len(shown) + 26
        most = 11 if is_narrow(width) else 20
        names = [_clipped(name, most) for name, _ in shown]
        box = Box(16 + DIGIT * max(map(len, names)), width - 14, 12, height - 26)
        every = [run for _, of_lane in shown for run in of_lane]
        start = min(run.started_at for run in every)
        end = max(run.ended_at or now for run in every)
        x = Time(start, end, start=box.left, end=box.right, count=3 if is_narrow(width) else 7)
        elements: list[Svg] = [
            element("line", class_="grid-line", x1=tick.at, x2=tick.at, y1=box.top, y2=box.bottom)
            for tick in x.ticks
        ]
        # The number of hidden slots is at the left, in the line of the times.
        apart = [
            tick for tick in x.ticks if not hidden or tick.at - DIGIT * len(tick.label) / 2 > box.left - 4
        ]
        elements.append(below(apart, box))
        bars = []
        for place, (name, (runs, of_lane)) in enumerate(zip(names, shown, strict=True)):
            y = box.top + lane * place
            elements.append(
                element("line", class_="grid-line", x1=box.left, x2=box.right, y1=y + lane, y2=y + lane)
            )
            title = [element("title", runs)] if name != runs else []
            elements.append(
                element("g", label(box.left - 10, y + lane / 2 + 4, name, class_="ink", anchor="end"), *title)
            )
            bars += [_bar(run, x, y, lane, now, best, is_narrow(width)) for run in of_lane]
        elements.append(element("g", *_with_stop(bars)))
        if hidden:
            elements.append(
                label(box.left - 10, box.bottom + 17, f"+{hidden} slots", class_="minor", anchor="end")
            )
        for revision, at in (edits or {}).items():
            if start <= at <= end:
                elements.append(_rule("edit-rule", x.at(at), box, f"Revision {revision}"))
        if any(run.ended_at is None for run in every):
            elements.append(_rule("now-rule", x.at(now), box, "Now"))
        return Drawing(elements, height)

    svg = drawn(draw, widths, key=key, title=TITLE, description=description)
    rows = [
        (run.number, name, run.started_at, run.ended_at, WORDS.get(run.state, run.state))
        for name, of_lane in lanes
        for run in of_lane
    ]
    drawn_runs = [run for _, of_lane in shown for run in of_lane]
    kinds = kinds_of(
        {run.state for run in drawn_runs if run.number not in best},
        best=any(run.number in best for run in drawn_runs),
        revision="edit-rule" in svg,
    )
    return Chart(svg, TITLE, description, ("Trial", "Slot", "Started", "Ended", "State"), rows, kinds)


def _clipped(lane: str, length: int) -> str:
    """Shorten the name of a lane, but keep the place that distinguishes the slots of a worker."""
    worker, dot, place = lane.rpartition(" · ")
    return f"{clip(worker, length - len(place) - 3)}{dot}{place}" if dot else clip(lane, length)


def lanes_of(runs: Sequence[Run], now: datetime) -> list[tuple[str, list[Run]]]:
    """Return the lanes as (name, runs in order of their start), grouped by worker."""
    workers: dict[str, list[list[Run]]] = {}
    for run in sorted(runs, key=lambda run: (run.started_at, run.number)):
        slots = workers.setdefault(run.worker, [])
        free = next((slot for slot in slots if (slot[-1].ended_at or now) <= run.started_at), None)
        if free is None:
            slots.append([run])
        else:
            free.append(run)
    return [
        (f"{worker} · {place}" if len(slots) > 1 else worker, slot)
        for worker, slots in sorted(workers.items())
        for place, slot in enumerate(slots)
    ]


def _bar(
    run: Run, x: Time, y: float, lane: float, now: datetime, best: Collection[int], narrow: bool
) -> tuple:
    left, right = x.at(run.started_at), x.at(run.ended_at or now)
    width = max(1.5, right - left - 1)
    state = "best" if run.number in best else "running" if run.state == "stopping" else run.state
    rect = (
        f'<rect class="slot is-{state}" x="{left:.1f}" y="{y + 4:.1f}" '
        f'width="{width:.1f}" height="{lane - 8:.1f}" rx="2"/>'
    )
    name = str(run.number)
    text = ""
    if not narrow and width > 6 + DIGIT * len(name):
        text = label(left + width / 2, y + lane / 2 + 3.5, name, class_="in-bar", anchor="middle")
    return f"{rect}{text}", run.tooltip or f"#{run.number}", run.href


def _with_stop(bars: Sequence[tuple]) -> list[Svg]:
    return [
        linked(drawn_bar, tooltip, href, is_stop=place == len(bars) - 1)
        for place, (drawn_bar, tooltip, href) in enumerate(bars)
    ]


def _rule(css: str, x: float, box: Box, tooltip: str) -> Svg:
    line = element("line", class_=css, x1=x, x2=x, y1=box.top - 6, y2=box.bottom)
    return element("g", line, element("title", tooltip))
