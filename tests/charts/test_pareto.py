"""TD-C9: the Pareto front of two objectives, and the hypervolume by number of results."""

from __future__ import annotations

import re

import pytest

from experiments.charts.drawing.marks import TrialMark
from experiments.charts.hypervolume import hypervolume
from experiments.charts.pareto import Objective, ParetoMark, pareto
from tests.charts.reading import having_class, read_chart, texts

UP, DOWN = Objective("accuracy", "maximize"), Objective("latency_ms", "minimize")
NASTY = "<b>\"'&]]>\x00 " + "x" * 300
HUGE = [(1e308, -1e308), (-1e308, 5e-324), (0.0, -0.0), (1e-308, 1e308)]


def marks(values, front=()):
    return [
        ParetoMark(TrialMark(number, each[0], href=f"/t/{number}/"), tuple(each), is_front=number in front)
        for number, each in enumerate(values, 1)
    ]


def line_of(chart):
    """The path of the front in the first drawing."""
    return re.search(r'class="front" d="([^"]+)"', chart.svg)[1]


@pytest.mark.parametrize(
    "values", [[], [(0.5, 3.0)], [(0.5, 3.0)] * 30, HUGE], ids=["none", "one", "equal", "huge"]
)
@pytest.mark.parametrize("objectives", [(UP, DOWN), (DOWN, UP), (UP, UP), (DOWN, DOWN)])
def test_any_values_are_a_drawing_for_each_width(values, objectives):
    chart = pareto(marks(values, front=range(1, 99)), objectives, total=99, widths=(1070, 640, 320))
    assert len(read_chart(chart.svg)) == 3
    assert len(chart.rows) == len(values)
    named = [Objective(NASTY, each.direction) for each in objectives]
    read_chart(pareto(marks(values), named, total=99).svg)
    read_chart(hypervolume([(n, abs(value[0])) for n, value in enumerate(values, 1)], results=50).svg)


@pytest.mark.parametrize(
    ("objectives", "front"),
    [
        ((DOWN, DOWN), [(1.0, 9.0), (3.0, 2.0), (6.0, 1.0)]),
        ((UP, DOWN), [(9.0, 8.0), (4.0, 3.0), (2.0, 1.0)]),
        ((UP, UP), [(9.0, 1.0), (4.0, 3.0), (2.0, 8.0)]),
    ],
)
def test_the_line_goes_from_the_best_value_across_to_the_worst(objectives, front):
    """Each step keeps the value of the better trial up to the next one: what is behind the line is dominated."""
    path = line_of(pareto(marks(front, front=range(1, 9)), objectives, total=9))
    assert path == line_of(pareto(marks(front[::-1], front=range(1, 9)), objectives, total=9))
    up, across = objectives
    horizontal, vertical = (
        [float(number) for number in re.findall(rf"{letter}([-\d.]+)", path)] for letter in "HV"
    )
    assert len(vertical) == len(front) and len(horizontal) == len(front) + 1
    assert vertical == sorted(vertical, reverse=up == UP), "better and better"
    assert horizontal == sorted(horizontal, reverse=across == UP), "worse and worse"
    assert horizontal[0] == float(re.match(r"M([-\d.]+),", path)[1])


def test_marks_table_and_words_tell_the_front():
    chart = pareto(marks([(0.5, 3.0), (0.4, 4.0), (0.7, 8.0)], front=(1, 3)), (UP, DOWN), total=3)
    wide, narrow = read_chart(chart.svg)
    for drawing in (wide, narrow):
        assert len(having_class(drawing, "is-front")) == 2 and len(having_class(drawing, "is-faint")) == 1
        assert {"#1", "#3", "accuracy ↑", "latency_ms ↓"} <= set(texts(drawing))
    assert chart.columns == ("Trial", "accuracy", "latency_ms", "On the front")
    assert chart.rows == [(1, 0.5, 3.0, True), (3, 0.7, 8.0, True), (2, 0.4, 4.0, False)]
    assert chart.description == "2 trials on the Pareto front, accuracy against latency_ms, 3 trials."


def test_three_objectives_have_no_line():
    """A trial of the front may be behind others in two of three objectives."""
    size = Objective("size", "minimize")
    chart = pareto(marks([(0.5, 3.0, 1.0), (0.4, 4.0, 0.5)], front=(1, 2)), (UP, DOWN, size), x=2, total=2)
    assert 'class="front"' not in chart.svg
    assert chart.columns == ("Trial", "accuracy", "latency_ms", "size", "On the front")


def test_many_dominated_trials_are_thinned_and_the_front_stays():
    values = [(n / 1000, n / 10 + 5) for n in range(1900)] + [(9.0, 1.0)]
    chart = pareto(marks(values, front=(1901,)), (UP, DOWN), total=9999)
    wide, narrow = read_chart(chart.svg)
    assert len(having_class(wide, "dot")) <= 501 and len(having_class(narrow, "dot")) <= 201
    assert len(having_class(narrow, "is-front")) == 1
    assert "1,901 trials out of 9,999." in chart.description


def test_the_hypervolume_is_a_line_of_steps():
    chart = hypervolume([(1, 0.0), (4, 0.5), (9, 0.75)], results=20)
    assert chart.rows == [(1, 0.0), (4, 0.5), (9, 0.75)]
    assert chart.description == "Hypervolume of the Pareto front by number of results, 0.75 after 20."
    path = re.search(r'class="best-line" d="([^"]+)"', chart.svg)[1]
    assert re.fullmatch(r"M[\d.]+,[\d.]+(H[\d.]+V[\d.]+){3}H[\d.]+", path)
    assert read_chart(hypervolume([], results=0).svg)
