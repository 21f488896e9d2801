"""Whatever an experiment holds, its charts are drawings: no number escapes, no name breaks the markup."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from experiments.charts.contour import contour
from experiments.charts.drawing.marks import TrialMark
from experiments.charts.drawing.parameter_axis import Parameter
from experiments.charts.durations import Ended, durations
from experiments.charts.edf import edf
from experiments.charts.importance import importance
from experiments.charts.intermediate import Curve, intermediate
from experiments.charts.parallel import parallel
from experiments.charts.slices import slices
from experiments.charts.timeline import Run, timeline
from tests.charts.reading import having_class, read_chart, texts

NASTY = "<b>\"'&]]>\x00 " + "x" * 300
AXES = [
    Parameter("lr", 1e-5, 1e-1, is_log=True),
    Parameter("layers", 1, 8, is_whole=True),
    Parameter("optimizer", choices=("sgd", "adam")),
    Parameter("flag", choices=("true", "false", "null")),
    Parameter(NASTY, 0, 1),
    Parameter("mu"),
    Parameter("many", choices=tuple(f"choice {n}" for n in range(100))),
]


def mark(number: int, value: float | None, state: str = "succeeded") -> TrialMark:
    params = {
        "lr": 10.0 ** -(number % 5 + 1),
        "layers": number % 8 + 1,
        "optimizer": "sgd" if number % 2 else "rmsprop",
        "flag": (True, False, None)[number % 3],
        NASTY: number / 7 % 1,
        "mu": math.sin(number) * 1e3,
        "many": f"choice {number % 120}",
    }
    if number % 4 == 0:
        del params["layers"]  # a conditional parameter
    return TrialMark(
        number, value, state, params, tooltip=NASTY, href=f"/t/{number}/", revision=1 + number // 20
    )


VALUES = {
    "none": [],
    "one": [0.5],
    "equal": [0.5] * 30,
    "usual": [0.5 + 0.3 * math.sin(n) for n in range(60)],
    "huge": [1e308, -1e308, 1e-308, 0.0, -0.0, 5e-324, *[10.0**n for n in range(-20, 20)]],
    "not finite": [float("nan"), float("inf"), float("-inf"), None, 0.1, 0.2],
    "no value": [None] * 5,
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_any_values_are_a_drawing_for_each_width(name, direction):
    """TD-C1: 0 trials, 1 trial, all alike, huge, NaN and infinite values; nested, boolean and long names."""
    marks = [mark(number, value) for number, value in enumerate(VALUES[name], 1)]
    common = {"metric": NASTY, "best": {1}}
    charts = [
        parallel(
            marks, AXES, metric=NASTY, direction=direction, total=99, flipped=["lr", NASTY], log=["layers"]
        ),
        contour(marks, AXES[0], AXES[1], direction=direction, total=99, **common),
        contour(marks, AXES[2], AXES[4], direction=direction, total=99, key="other", **common),
        contour(marks, AXES[6], AXES[5], direction=direction, total=99, key="third", **common),
        *slices(marks, AXES, **common),
        *slices(marks, AXES, is_log=True, key="log", **common),
        edf(marks, metric=NASTY),
        edf(marks, metric=NASTY, is_log=True, key="log-edf"),
    ]
    for chart in charts:
        root = read_chart(chart.svg)
        for drawing in root:
            stops = [link for link in drawing.iter("a") if link.get("tabindex") is None]
            assert len(stops) == min(len(list(drawing.iter("a"))), 1)


@pytest.mark.parametrize("name", VALUES)
def test_any_reports_and_run_times_are_a_drawing(name):
    values = VALUES[name]
    curves = [Curve(n, list(enumerate(values, n)), NASTY, f"/t/{n}/", is_live=n == 3) for n in range(1, 7)]
    read_chart(intermediate(curves, other_curves=curves, metric=NASTY, best={1}, smoothing=0.6).svg)
    read_chart(durations([Ended(abs(value) if value else 0.0, "failed") for value in values]).svg)
    read_chart(importance([(NASTY, value) for value in values], is_signed=True).svg)
    read_chart(importance([(NASTY, value) for value in values], is_signed=False, key="i").svg)


def test_the_lanes_of_a_worker_with_a_long_name_stay_apart():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [Run(n, "gpu-machine-in-the-cellar", at, None, "running") for n in range(1, 13)]
    shown = texts(
        read_chart(timeline(runs, now=at + timedelta(hours=1), best=(), total=12, widths=(320,)).svg)
    )
    assert "gpu-ma… · 0" in shown and "gpu-m… · 11" in shown


def test_the_number_of_hidden_slots_does_not_touch_a_time():
    """At the left, in the line of the times."""
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for slots, is_shown in ((30, False), (3, True)):
        runs = [Run(n, f"worker {n}", at, at + timedelta(hours=1), "succeeded") for n in range(slots)]
        drawn = texts(read_chart(timeline(runs, now=at, best=(), total=slots, widths=(1070,)).svg))
        assert ("12:00" in drawn) is is_shown and "12:10" in drawn and ("+6 slots" in drawn) is not is_shown


def test_a_timeline_of_many_workers_and_one_instant_is_a_drawing():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [
        Run(n, f"{NASTY}{n}", at, at if n % 2 else None, "running", NASTY, f"/t/{n}/") for n in range(1, 60)
    ]
    chart = timeline(runs, now=at, best={3}, total=99, edits={2: at, 3: at - timedelta(days=9)})
    read_chart(chart.svg)
    assert "36 slots are not shown" in chart.description or "35 slots are not shown" in chart.description
    assert {"+36 slots", "+35 slots"} & set(texts(read_chart(chart.svg))), "and what is not shown"
    assert "No trials started yet" in texts(read_chart(timeline([], now=at, best=(), total=0).svg))


def test_a_line_breaks_where_a_trial_has_no_such_parameter():
    marks = [mark(4, 0.1), mark(5, 0.2)]
    root = read_chart(parallel(marks, AXES[:3], metric="m", direction="maximize", total=2, widths=(640,)).svg)
    paths = {thread.get("d").count("M") for thread in having_class(root, "thread")}
    assert paths == {1, 2}


def test_flipping_an_axis_turns_its_labels_and_lines():
    marks = [mark(1, 0.1), mark(2, 0.9)]
    plain, flipped = (
        read_chart(
            parallel(marks, AXES[:1], metric="m", direction="maximize", total=2, flipped=f, widths=(640,)).svg
        )
        for f in ([], ["lr"])
    )
    assert [t for t in texts(plain) if t in ("0.1", "1e-5")] == ["0.1", "1e-5"]
    assert [t for t in texts(flipped) if t in ("0.1", "1e-5")] == ["1e-5", "0.1"]


def test_choices_of_an_earlier_revision_have_a_place_on_the_axis():
    axis = AXES[2].covering(["sgd", "rmsprop"])
    assert axis.choices == ("sgd", "adam", "rmsprop")
    wide = AXES[6].covering(["another"])
    assert len(wide.choices) == 40 and wide.choices[-1] == "others"
    assert wide.scale(start=0, end=100).at("another") == 100
