"""The component gallery, in debug mode only: every component in every state, in both themes side by side."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from experiments.charts import curve, history, outcome, sparkline, stacked, trend, utilization, whisker
from experiments.charts.drawing.svg import Chart, Svg
from experiments.messages import DASH
from experiments.models import Project, status
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.curve_axis import CurveAxis
from experiments.web.workspace.projects import Card, Sums

from . import highlight
from .controls import Chip, Tab
from .summaries import Fact

LONG = (
    "A name far longer than any column of a table, written without regard for the people who read the table"
)
WORD = "unbroken-" * 12
ADDRESS = "#components"
DIFF = """\
--- a/train.py
+++ b/train.py
@@ -1,2 +1,2 @@
 import torch
-epochs = 10
+epochs = 60
"""


class SampleForm(forms.Form):
    """One field of every kind."""

    name = forms.CharField(label="Name", max_length=20)
    project = forms.ChoiceField(label="Project", choices=[("a", "Default"), ("b", LONG)])
    new_project = forms.CharField(label="Create new", required=False)
    project_text = forms.CharField(initial="Default", required=False)
    creates_project = forms.CharField(required=False)
    unknown_name = "a new project"
    max_trials = forms.IntegerField(label="Max trials", min_value=1, help_text="Including failed ones.")
    duration = forms.FloatField(label="Max duration", required=False)
    command = forms.CharField(label="Command", widget=forms.Textarea(attrs={"rows": 3}))
    queue = forms.ChoiceField(
        label="Queue", widget=forms.RadioSelect, choices=[("a", "default"), ("b", "gpu")]
    )
    rerun_failed = forms.BooleanField(
        label="Rerun the failed trials", required=False, help_text="Reruns do not count towards max trials."
    )

    def clean_rerun_failed(self) -> bool:
        if self.cleaned_data["rerun_failed"]:
            raise forms.ValidationError("No failed trials to rerun.")
        return False


@dataclass(frozen=True)
class Drawn:
    """A chart with a title that says what to check."""

    title: str
    svg: str


def show(request: HttpRequest) -> HttpResponse:
    """404 unless TRIALDECK_DEBUG=1."""
    if not settings.DEBUG:
        raise Http404
    return render(request, "patterns/show.html", {"columns": [_column(theme) for theme in ("light", "dark")]})


def _column(theme: str) -> dict[str, object]:
    filled = {
        "name": "ResNet baseline",
        "project": "a",
        "max_trials": 64,
        "command": "python train.py",
        "queue": "a",
    }
    wrong = {"name": WORD, "project": "c", "max_trials": 0, "command": "", "queue": "z", "rerun_failed": "on"}
    return {
        "theme": theme,
        "experiment_states": list(status.EXPERIMENT_STATES),
        "trial_states": list(status.TRIAL_STATES),
        "icons": _icons(),
        "actions": _actions(),
        "menu": [
            Button("Clone", ADDRESS, icon="clone"),
            Button("Reset to draft", ADDRESS, icon="reset", why_not="Running. Stop it first."),
            Button("Delete", ADDRESS, icon="trash", is_danger=True),
        ],
        "curve_axes": [
            CurveAxis(is_time=True, without_times=("#14",), count=3, unit="minutes", unit_s=60),
            CurveAxis(is_time=False, without_times=("#14",), count=1),
        ],
        "form": SampleForm(initial=filled, auto_id=f"{theme}-form-%s"),
        "wrong_form": SampleForm(wrong, auto_id=f"{theme}-wrong-%s"),
        "facts": [
            Fact("Best accuracy", "0.9731", note="#57, 12 m ago", title="0.97312345"),
            Fact("Trials", "79", of="of 120", note="41 remaining"),
            Fact("Elapsed", "4 h 36 m", note="since 13:40"),
            Fact("Search", WORD, note=LONG),
            Fact("Goal", DASH),
        ],
        "pairs": [
            ("Machine", "node-7.cluster.local"),
            ("Exit", ""),
            ("Peak memory", "2.1 GB"),
            ("Note", LONG + WORD),
        ],
        "chips": [
            Chip("", "All", count=12_345, url=ADDRESS, is_current=True),
            *(
                Chip(state.word, state.label, count=count, url=ADDRESS, is_current=False)
                for count, state in enumerate(status.EXPERIMENT_STATES.values())
            ),
        ],
        "tabs": [
            Tab("Overview", ADDRESS, is_current=True),
            Tab("Trials", ADDRESS, is_current=False, count=10_000),
            Tab("Configuration", ADDRESS, is_current=False),
        ],
        "diff": highlight.read(DIFF, query="epochs", is_diff=True),
        "pager": {
            "summary": "251 to 300 of 2,914",
            "start": ADDRESS,
            "previous": ADDRESS,
            "pages": [(number, ADDRESS, number == 6) for number in (4, 5, 6, 7, 8)],
            "next": ADDRESS,
            "end": ADDRESS,
        },
        "short_pager": {"summary": "1 to 3 of 3"},
        "bars": _bars(),
        "sparks": _sparks(),
        "cards": _cards(),
        "histories": _histories(theme),
        "curves": _curves(theme),
        "days": _days(theme),
        "spreads": _spreads(),
        "stacks": _stacks(theme),
        "trends": _trends(),
        "messages": [
            Message("info", "ResNet baseline reset to a draft."),
            *(Message(level, text) for level, text in TOASTS),
        ],
        "long": LONG,
        "word": WORD,
        "log": "\n".join(f"epoch {n:3}: loss {1 / (n + 1):.4f}" for n in range(8)) + "\n" + WORD * 3,
    }


@dataclass(frozen=True)
class Message:
    """Mimics a message of django.contrib.messages, for the template."""

    level_tag: str
    text: str

    def __str__(self) -> str:
        return self.text


TOASTS = (
    ("success", "Stopping ResNet baseline: waiting for 3 trials."),
    ("warning", "Stopped 2 of 5 experiments. 3 had already ended."),
    ("error", f"Delete is not possible while {LONG} is running. Stop it first."),
)


def _icons() -> list[str]:
    path = finders.find("glyphs.svg")
    return re.findall(r'id="i-([\w-]+)"', Path(path).read_text()) if path else []


def _actions() -> list[Button]:
    return [
        Button("New experiment", ADDRESS, icon="plus", is_primary=True),
        Button("Pause", ADDRESS, icon="pause"),
        Button("Clone", ADDRESS),
        Button("Publish", ADDRESS, icon="lock", why_not="Running. Stop it first."),
    ]


def _bars() -> list[Drawn]:
    def drawn(title: str, left: int = 0, *, is_big: bool = False, **counts: int) -> Drawn:
        return Drawn(title, outcome.outcome(counts, left=left, is_big=is_big))

    usual: dict[str, Any] = {
        "succeeded": 61,
        "early_stopped": 9,
        "failed": 6,
        "stopped": 2,
        "stopping": 1,
        "running": 4,
        "waiting": 3,
    }
    return [
        drawn("all states", 34, is_big=True, **usual),
        drawn("all states, in a row", 34, **usual),
        drawn("one failed among 100,000", succeeded=99_999, failed=1),
        drawn("nothing yet", 64),
        drawn("no budget, nothing", 0),
        drawn("all failed", failed=12),
    ]


def _cards() -> list[Card]:
    actions = [Button("Edit", ADDRESS, icon="edit")]
    utilization = Sums(total=12_345, running=123, completed=77, compute_s=9_876_543)
    described = Project(pk=1, name="vision", description=LONG)
    with_destination = Project(pk=2, name="speech", destination="s3://artifacts.example:9000/bucket/" + WORD)
    return [
        Card(None, ADDRESS, Sums()),
        Card(described, ADDRESS, Sums(total=3, running=1, completed=1, compute_s=700), actions),
        Card(with_destination, ADDRESS, Sums(total=1), actions),
        Card(Project(pk=3, name=WORD), ADDRESS, utilization, actions),
    ]


def _sparks() -> list[Drawn]:
    def drawn(title: str, *steps: tuple[int, float]) -> Drawn:
        return Drawn(title, sparkline.sparkline(steps, last=100))

    return [
        drawn("improving", (1, 0.2), (7, 0.5), (30, 0.61), (80, 0.9)),
        drawn("one value", (3, 0.5)),
        drawn("nothing"),
        drawn("huge", (1, 1e300), (50, -1e300)),
    ]


def _histories(theme: str) -> list[Drawn]:
    states = ("succeeded",) * 8 + ("early_stopped", "failed")
    usual = [
        history.Point(
            n, None if n % 10 == 9 else 0.9 - 0.6 / (n + 1) + 0.05 * math.sin(n * 7), states[n % 10]
        )
        for n in range(1, 90)
    ]
    usual += [
        history.Point(90, None, "running"),
        history.Point(91, 0.88, "running"),
        history.Point(92, None, "stopped"),
    ]
    edits = [history.Edit(40, 2, "alice", "space"), history.Edit(42, 3, "bob", LONG)]
    extreme = [history.Point(n, (-10.0) ** (n * 3), "succeeded") for n in range(1, 100)]
    tiny = [history.Point(n, 1e-9 * (n % 7 + 1), "succeeded") for n in range(1, 30)]

    def drawn(title: str, name: str, points: list[history.Point], **more: Any) -> Drawn:
        arguments = {"direction": "maximize", "metric": "accuracy", "key": f"{theme}-history-{name}", **more}
        return Drawn(title, history.history(points, **arguments).svg)

    return [
        drawn("with edits, lanes, budget left", "usual", usual, left=28, edits=edits, href=lambda n: ADDRESS),
        drawn("one trial", "one", [history.Point(1, 0.5, "succeeded")]),
        drawn("only failed ones", "failed", [history.Point(n, None, "failed") for n in range(1, 6)]),
        drawn("from −10²⁹⁷ to 10²⁹⁴", "extreme", extreme),
        drawn("tiny values, minimized", "tiny", tiny, direction="minimize"),
    ]


def _curves(theme: str) -> list[Drawn]:
    def series(number: int, steps: int = 60, *, is_live: bool = False) -> curve.Series:
        points = [(step, 1 - 1 / (step / 9 + 1) - 0.02 * (number % 5)) for step in range(steps)]
        return curve.Series(number, points, is_live)

    def drawn(title: str, name: str, own: curve.Series, **more: Any) -> Drawn:
        arguments = {"direction": "maximize", "metric": "accuracy", "key": f"{theme}-curve-{name}", **more}
        return Drawn(title, curve.curve(own, **arguments).svg)

    gaps = curve.Series(7, [(step, None if 20 < step < 30 else math.sin(step / 9)) for step in range(60)])
    other_series = [series(number) for number in range(10, 30)]
    return [
        drawn(
            "running, among others",
            "live",
            series(3, 30, is_live=True),
            siblings=other_series,
            best=series(5),
            last_step=60,
        ),
        drawn("one point", "one", series(3, 1)),
        drawn("with a gap", "gap", gaps),
        drawn("huge", "huge", curve.Series(2, [(0, 1e300), (1, -1e300), (10**9, 5.0)])),
    ]


def _days(theme: str) -> list[Drawn]:
    end = datetime(2026, 11, 21, 13, 48, tzinfo=UTC)
    start = end - timedelta(hours=24)

    def bar(place: int, slots: float) -> utilization.Bar:
        began = start + timedelta(minutes=12 + 15 * place)
        until = min(began + timedelta(minutes=15), end)
        return utilization.Bar(began, until, slots * (0.5 + 0.4 * math.sin(place / 9)), slots)

    def drawn(title: str, name: str, bars: list[utilization.Bar], slots: int) -> Drawn:
        chart = utilization.busy(bars, start=start, end=end, slots=slots, key=f"{theme}-busy-{name}")
        return Drawn(title, chart.svg)

    usual = [bar(place, 18 if place < 60 else 14) for place in range(96) if not 20 < place < 26]
    return [
        drawn("a day, with a gap", "usual", usual, 18),
        drawn("nothing measured", "nothing", [], 4),
        drawn("thousands", "many", [bar(place, 12_345) for place in range(96)], 12_345),
    ]


def _spreads() -> list[Svg]:
    def drawn(best: float, mean: float | None, deviation: float | None, baseline: float | None) -> Svg:
        return whisker.whisker(
            best,
            mean=mean,
            deviation=deviation,
            baseline=baseline,
            low=0.7,
            high=0.9,
            description=f"best {best}",
        )

    return [drawn(0.85, 0.83, 0.01, 0.79), drawn(0.72, None, None, 0.79), drawn(0.9, 0.7, 0.5, None)]


def _trends() -> list[Svg]:
    return [
        trend.trend([0.1, 0.5, 0.4, 0.9], role="good"),
        trend.trend([5, 3, None, 4, 1], role="bad"),
        trend.trend([2.0] * 12),
    ]


def _stacks(theme: str) -> list[Chart]:
    weeks = [f"{day} Nov" for day in (2, 9, 16, 23)]
    series = [
        stacked.Series(name, [place + week for week in range(4)]) for place, name in enumerate("abcdef")
    ]
    full = stacked.stacked(
        weeks, series, title="Six series", unit="hours", key=f"{theme}-six", limit=25, limit_name="soft limit"
    )
    empty = stacked.stacked(weeks, [], title="No usage", unit="hours", key=f"{theme}-no")
    return [full, empty]
