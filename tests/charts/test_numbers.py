"""What charts compute, against Optuna's and numpy's own results."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import numpy as np
import optuna
import pytest
from optuna.visualization._edf import _get_edf_info
from optuna.visualization._slice import _get_slice_plot_info
from scipy.stats import spearmanr

from experiments.charts.contour import COLUMNS, ROWS, isoband, surface_of
from experiments.charts.drawing.axes import Box
from experiments.charts.drawing.marks import TrialMark
from experiments.charts.drawing.parameter_axis import Parameter
from experiments.charts.durations import bins, histogram
from experiments.charts.edf import by_revision, share_at
from experiments.charts.importance import spearman
from experiments.charts.intermediate import quantile, quartiles, smooth
from experiments.charts.parallel import level, ranked
from experiments.charts.slices import local_mean, slice_points
from experiments.charts.timeline import Run, lanes_of
from experiments.search.importance import NoImportance, importances

SPACE = {
    "lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
    "layers": optuna.distributions.IntDistribution(1, 8),
    "optimizer": optuna.distributions.CategoricalDistribution(["sgd", "adam", "lamb"]),
}


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    rng = random.Random(7)
    study = optuna.create_study(direction="minimize")
    for _ in range(40):
        params = {
            "lr": 10 ** rng.uniform(-5, -1),
            "layers": rng.randint(1, 8),
            "optimizer": rng.choice(["sgd", "adam", "lamb"]),
        }
        value = np.log10(params["lr"]) ** 2 + params["layers"] + rng.gauss(0, 0.3)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=SPACE, value=float(value)))
    return study


@pytest.fixture
def marks(study) -> list[TrialMark]:
    return [TrialMark(trial.number, trial.value, params=trial.params) for trial in study.trials]


def test_the_distribution_is_optunas(study, marks):
    """TD-C1: the same share at each value that optuna.visualization.plot_edf draws."""
    info = _get_edf_info(study)
    [(revision, values)] = by_revision(marks)
    assert revision is None
    assert [share_at(values, x) for x in info.x_values] == pytest.approx(list(info.lines[0].y_values))


def test_a_distribution_has_one_line_per_revision_with_enough_trials():
    marks = [TrialMark(n, float(n), revision=1 + n // 4) for n in range(9)]
    assert by_revision(marks) == [(1, [0.0, 1.0, 2.0, 3.0]), (2, [4.0, 5.0, 6.0, 7.0])]


def test_slices_have_optunas_points(study, marks):
    """TD-C1"""
    for subplot in _get_slice_plot_info(study, None, None, "value").subplots:
        assert slice_points(marks, subplot.param_name) == list(zip(subplot.x, subplot.y, strict=True))


def test_importance_is_optunas(study, marks):
    """TD-C1: fANOVA over the ranges of the search space, choices as choices."""
    expected = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    columns = {name: [mark.params[name] for mark in marks] for name in SPACE}
    bounds = {"lr": [1e-5, 1e-1], "layers": [1, 8]}
    got = importances(columns, [mark.value for mark in marks], bounds=bounds, choices=["optimizer"])
    assert sorted(got, key=got.get) == sorted(expected, key=expected.get)
    for name, share in expected.items():
        assert got[name] == pytest.approx(share, abs=0.03)
    assert sum(got.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("columns", "values", "words"),
    [
        ({"x": [1.0] * 9}, [1.0] * 9, "needs 10"),
        ({"x": list(range(12))}, [1.0] * 12, "same value"),
        ({"x": [1] * 12, "y": [None, *range(11)]}, list(range(12)), "No parameter"),
    ],
)
def test_importance_says_why_there_is_none(columns, values, words):
    with pytest.raises(NoImportance, match=words):
        importances(columns, values)


def test_importance_survives_huge_values_booleans_and_many_choices():
    values = [(-1.0) ** n * 1e308 for n in range(20)]
    columns = {
        "flag": [n % 2 == 0 for n in range(20)],
        "word": [str(n) for n in range(20)],
        "x": list(range(20)),
    }
    got = importances(columns, values, choices=["flag", "word"])
    assert max(got, key=got.get) == "flag" and all(0 <= share <= 1 for share in got.values())


def test_correlation_is_scipys_with_ties():
    """TD-C1"""
    rng = random.Random(3)
    pairs = [(float(rng.randint(0, 9)), rng.random() + n / 30) for n in range(30)]
    assert spearman(pairs) == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    assert spearman([(1.0, 2.0)] * 5) is None and spearman([(1.0, 2.0)]) is None


@pytest.mark.parametrize("scale", [0.004, 1.0, 700.0, 86_400.0])
def test_run_times_are_counted_as_by_numpy(scale):
    """TD-C1"""
    rng = random.Random(5)
    values = [scale * rng.lognormvariate(0, 0.4) for _ in range(500)]
    edges = bins(values)
    assert histogram(values, edges) == np.histogram(values, edges)[0].tolist()
    assert sum(histogram(values, edges)) == 500 and 3 < len(edges) <= 26


def test_a_run_time_far_beyond_the_others_does_not_squeeze_them():
    values = [60.0 + n for n in range(99)] + [1e6]
    edges = bins(values)
    assert edges[-1] == 1e6 and edges[-2] < 300
    assert histogram(values, edges)[-1] == 1
    assert bins([0.0]) == [0, 0.001]


def test_quartiles_are_numpys():
    """TD-C1"""
    rng = random.Random(9)
    curves = [[(step, rng.random()) for step in range(5)] for _ in range(7)]
    band = quartiles([*curves, [(0, None), (1, float("nan"))], [(9, 1.0)]])
    expected = np.percentile([[value for _, value in curve] for curve in curves], [25, 50, 75], axis=0)
    assert [row[0] for row in band] == [0, 1, 2, 3, 4]
    assert np.array([row[1:] for row in band]) == pytest.approx(expected.T)
    assert quantile([4.0], 0.3) == 4.0


def test_smoothing_is_an_exponential_mean_and_none_keeps_the_values():
    assert smooth([(0, 1.0), (1, None), (2, 3.0), (3, 5.0)], 0.5) == [(0, 1.0), (2, 2.0), (3, 3.5)]
    assert smooth([(0, 1.0), (2, 3.0)], 0.0) == [(0, 1.0), (2, 3.0)]


def test_the_surface_of_a_contour_is_the_kernel_mean(marks):
    """TD-C1: binning moves a trial by at most half a cell."""
    x, y = Parameter("lr", 1e-5, 1e-1, is_log=True), Parameter("layers", 1, 8)
    surface = surface_of(marks, x, y, direction="minimize")
    assert np.shape(surface.means) == (ROWS, COLUMNS)
    values = [mark.value for mark in marks]
    assert min(values) <= np.min(surface.means) and np.max(surface.means) <= max(values)
    row, column = 20, 28
    u, v = column / (COLUMNS - 1), row / (ROWS - 1)
    weights = [
        np.exp(
            -0.5 * (((np.log10(m.params["lr"]) + 5) / 4 - u) / 0.07) ** 2
            - 0.5 * (((m.params["layers"] - 1) / 7 - v) / 0.07) ** 2
        )
        for m in marks
    ]
    assert surface.means[row][column] == pytest.approx(np.average(values, weights=weights), rel=0.05)
    assert surface.edges == sorted(surface.edges, reverse=True)


def test_a_band_is_the_region_at_or_above_its_edge():
    """The area of marching squares of a plane is that of the half plane."""
    heights = [[column / 10 for column in range(11)] for _ in range(6)]
    path = isoband(heights, 0.25, Box(0, 100, 0, 50))
    assert path.startswith("M25,") and isoband(heights, 2.0, Box(0, 100, 0, 50)) == ""


def test_the_best_lines_are_on_top_and_have_the_strongest_color(marks):
    best = ranked(marks, "minimize")
    assert best[0].value == min(mark.value for mark in marks)
    assert ranked(marks, "maximize")[0].value == max(mark.value for mark in marks)
    assert [level(place, 10) for place in range(10)] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1] and level(0, 1) == 5


def test_a_trial_takes_the_first_free_lane_of_its_worker():
    """TD-C1: two trials of one lane never overlap."""
    at = datetime(2026, 1, 1)

    def run(number: int, worker: str, start: int, end: int | None) -> Run:
        ended = None if end is None else at + timedelta(minutes=end)
        return Run(number, worker, at + timedelta(minutes=start), ended, "succeeded")

    runs = [run(1, "b", 0, 5), run(2, "b", 1, 2), run(3, "b", 2, 9), run(4, "b", 6, None), run(5, "a", 0, 1)]
    lanes = lanes_of(runs, at + timedelta(minutes=20))
    assert [(name, [run.number for run in lane]) for name, lane in lanes] == [
        ("a", [5]),
        ("b · 0", [1, 4]),
        ("b · 1", [2, 3]),
    ]


def test_local_mean_follows_a_line():
    points = [(float(x), 2.0 * x) for x in range(101)]
    assert local_mean(points, [50.0], 5.0) == pytest.approx([100.0])
