"""TD-C9: the pages of an experiment with several objectives: the front in place of the best trial."""

from __future__ import annotations

import csv
import io
import re
import threading
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Experiment, Hypervolume, Point
from experiments.scheduler import hypervolume, importance
from tests.models.test_pareto_front import TWO, fill, result, settle
from tests.people import as_, make_settings

pytestmark = pytest.mark.django_db
ROWS = {"accuracy": (0.5, 0.6, 0.4, 0.7), "latency_ms": (3.0, 4.0, 9.0, 8.0)}


def page(user, experiment: Experiment, name: str = "experiment", *more: object, query: str = "") -> str:
    response = as_(user).get(reverse(name, args=["lab", experiment.public_id, *more]) + query)
    assert response.status_code == 200, response.content.decode()[-2000:]
    return response.content.decode()


@pytest.fixture
def front(running, worker) -> Experiment:
    """Four results: #3 is dominated, the others are the front."""
    experiment = running(taken=0, max_trials=9, **TWO)
    settle(experiment, worker, *(result(*values) for values in zip(*ROWS.values(), strict=True)))
    return experiment


def test_the_overview_shows_the_front_instead_of_a_best_trial(front, carol):
    html = page(carol, front)
    assert "Best trial<" not in html and "Optimization history" not in html
    assert "3 trials on the Pareto front" in html
    assert 'id="pareto"' in html and "accuracy ↑ against latency_ms ↓, 3 on the front, 4 results" in html
    for number in (1, 2, 4):
        assert f'data-key="front-{number}"' in html
    assert 'data-key="front-3"' not in html
    assert "Best accuracy" in html and "Best latency_ms" in html
    assert f"{reverse('experiment-trials', args=['lab', front.public_id])}?filter=front:yes" in html


def test_an_overview_without_results_says_so(draft, running, carol):
    assert "no results yet" in page(carol, draft(**TWO))
    assert "No trial has a result yet." in page(carol, running("second", **TWO))


def test_a_single_objective_has_no_front(running, worker, carol):
    experiment = running(taken=0)
    settle(experiment, worker, result(0.5))
    html = page(carol, experiment)
    assert "Pareto" not in html and "ypervolume" not in html
    for chart in ("pareto", "hypervolume"):
        address = reverse("experiment-chart", args=["lab", experiment.public_id, chart])
        assert as_(carol).get(address).status_code == 404
    trials = reverse("experiment-trials", args=["lab", experiment.public_id])
    assert as_(carol).get(f"{trials}?filter=front:yes").status_code == 400


def test_the_table_marks_and_selects_the_front(front, carol):
    html = page(carol, front, "experiment-trials")
    assert html.count('title="On the Pareto front"') == 3
    assert 'aria-label="Column latency_ms"' in html
    for query, numbers in (("front:yes", {1, 2, 4}), ("front!=yes", {3, 5, 6}), ("latency_ms<4", {1})):
        shown = page(carol, front, "experiment-trials", query=f"?filter={query}&state=succeeded")
        selected = {n for n in range(1, 7) if f'data-key="trial-{n}"' in shown}
        assert selected == numbers - {5, 6}, query
    trials = reverse("experiment-trials", args=["lab", front.public_id])
    for query, sentence in (("front:maybe", "“front” takes yes or no"), ("best:3", "ranks by one objective")):
        refused = as_(carol).get(f"{trials}?filter={query}")
        assert refused.status_code == 400 and sentence in refused.content.decode()


def test_list_home_and_wall_show_the_size_and_the_best_of_each(front, bob):
    for name, where, query in (
        ("experiments", ["lab"], ""),
        ("home", [], ""),
        ("wall", ["lab"], "?page=running"),
    ):
        html = as_(bob).get(f"{reverse(name, args=where)}{query}", follow=True).content.decode()
        assert "accuracy 0.7000 ↑, latency_ms 3 ↓" in html, name


def test_the_charts_are_drawings_and_files(front, carol):
    hypervolume.store(front, {"steps": [[1, 0.0], [2, 0.4], [4, 0.9]]})
    html = page(carol, front, "experiment-charts")
    assert html.index('id="pareto"') < html.index('id="hypervolume"') < html.index('id="history"')
    for chart, columns, first in (
        ("pareto", ["Trial", "accuracy", "latency_ms", "On the front"], ["1", "0.5", "3.0", "true"]),
        ("hypervolume", ["Results", "Hypervolume"], ["1", "0.0"]),
    ):
        assert 'id="data"' in page(carol, front, "experiment-chart", chart)
        ElementTree.fromstring(page(carol, front, "experiment-chart-svg", chart))
        rows = list(csv.reader(io.StringIO(page(carol, front, "experiment-chart-csv", chart))))
        assert rows[:2] == [columns, first]


def test_every_chart_that_marks_the_best_marks_the_front(front, bob, carol):
    """TD-C9: "best" is the front everywhere."""
    for chart, mark in (
        ("history", "dot is-front"),
        ("contour", "pin is-best"),
        ("slices", "dot is-best"),
        ("timeline", "slot is-best"),
    ):
        html = page(carol, front, "experiment-chart", chart)
        drawing = re.search(rf'<svg[^>]*aria-labelledby="{chart}-|<svg class="chart', html)
        assert drawing and "</i>On the front</span>" in html and "Best" not in key_of(html), chart
        drawings = [svg for svg in html.split("<svg ")[1:] if "chart" in svg[:60]]
        assert drawings and all(svg.count(f'class="{mark}"') == 3 for svg in drawings), chart
    rows = list(csv.reader(io.StringIO(page(carol, front, "experiment-chart-csv", "history"))))
    assert rows[0] == ["Trial", "accuracy", "State", "On the front"]
    assert [row[3] for row in rows[1:5]] == ["true", "true", "false", "true"]
    history = page(carol, front, "experiment-chart", "history")
    assert "#2, 0.6000, on the front" in history and "3 trials on the Pareto front." in history


def key_of(html: str) -> str:
    """The words of a chart's key."""
    return re.sub("<[^>]+>", " ", html.split('<p class="key">')[1].split("</p>")[0])


def test_the_axes_of_three_objectives_are_chosen(running, worker, carol):
    experiment = running(taken=0, further_objectives={"latency_ms": "minimize", "size": "minimize"})
    settle(experiment, worker, result(0.5, 3, 7), result(0.6, 4, 9))
    html = page(carol, experiment, "experiment-chart", "pareto", query="?px=size&py=latency_ms")
    assert "latency_ms ↓ against size ↓" in html and "<option selected>size</option>" in html
    html = page(carol, experiment, "experiment-chart", "pareto", query="?px=size&py=size")
    assert "two different objectives" in html
    chart = reverse("experiment-chart", args=["lab", experiment.public_id, "pareto"])
    assert as_(carol).get(f"{chart}?px=energy").status_code == 400


def test_trial_and_its_script(front, carol):
    html = page(carol, front, "trial", 1)
    assert 'title="On the Pareto front"' in html and "latency_ms" in html
    assert 'title="On the Pareto front"' not in page(carol, front, "trial", 3)
    assert "python train.py --lr" in page(carol, front, "trial-script", 1)


def test_pages_cost_the_same_for_10000_trials(running, carol):
    """And none reads more rows than the charts' sample and a page."""
    few = running("few", taken=0, **TWO)
    fill(few, 60)
    lots = running("lots", taken=0, **TWO)
    fill(lots, 10_000)
    client = as_(carol)
    for name, query in (
        ("experiment", ""),
        ("experiment-trials", ""),
        ("experiment-trials", "?filter=front:yes"),
        ("experiment-charts", ""),
    ):
        costs = []
        for experiment in (few, lots):
            with CaptureQueriesContext(connection) as queries:
                client.get(reverse(name, args=["lab", experiment.public_id]) + query)
            costs.append(len(queries))
        assert costs[1] <= costs[0] + 3, (name, query)  # the sample's: front, latest and evenly spaced
    html = page(carol, lots, "experiment")
    assert "100 trials on the Pareto front" in html
    drawn = re.search(r"100 on the front, ([\d,]+) of 10,\d{3} trials", html)
    assert drawn, "the panel says how many are drawn, and of how many"
    assert 900 < int(drawn[1].replace(",", "")) <= 1_200


def test_the_hypervolume_is_computed_in_the_background(front):
    background = hypervolume.Background()
    assert background.due() == front
    background.work(front)
    kept = Hypervolume.objects.get(experiment=front)
    assert kept.reference == [0.4, 9.0] and kept.succeeded_count == 4
    # Of (0.5, 3) 0.1 · 6, and so on: the areas up to (0.4, 9).
    assert [result for result, _ in kept.steps] == [1, 2, 4]
    assert [volume for _, volume in kept.steps] == pytest.approx([0.6, 1.1, 1.2])
    assert background.due() is None
    Experiment.objects.filter(pk=front.pk).update(succeeded_count=5)
    assert background.due() == front
    Experiment.objects.filter(pk=front.pk).update(succeeded_count=4, epoch=1)
    assert background.due() == front


def test_what_goes_wrong_in_the_background_is_kept_as_an_answer(front, carol):
    background = hypervolume.Background()
    answer = importance.compute({"rows": "?"}, background.ending, module="experiments.search.hypervolume")
    hypervolume.store(front, answer)
    assert background.due() is None
    assert "The computation failed" in page(carol, front)


def test_settings_are_shown_and_locked(front, bob, alice):
    """TD-U9"""
    assert "latency_ms=minimize" in page(bob, front, "experiment-configuration")
    html = page(bob, front, "experiment-edit")
    assert "Additional objectives" in html and "The Pareto front is based on these objectives." in html
    single = make_settings()
    assert not single.is_multi_objective


# --- the objective of the other charts -----------------------------------------------------------------------


def csv_of(user, experiment: Experiment, chart: str, query: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(page(user, experiment, "experiment-chart-csv", chart, query=query))))


@pytest.mark.parametrize("chart", ["history", "parallel"])
def test_charts_show_the_objective_of_the_address(front, carol, chart):
    """TD-C1: the values and the order are those of the chosen objective."""
    for metric, best in (("accuracy", "4"), ("latency_ms", "1")):
        columns, *rows = csv_of(carol, front, chart, f"?objective={metric}")
        values = {row[0]: float(row[1]) for row in rows if row[1]}
        assert columns[1] == metric
        assert values == {str(place): value for place, value in enumerate(ROWS[metric], start=1)}
        if chart == "parallel":
            assert rows[0][0] == best


def test_slices_correlation_contour_and_distribution_are_of_the_objective(running, carol):
    experiment = running(taken=0, max_trials=100, **TWO)
    fill(experiment, 60)
    query = "?objective=latency_ms"
    latencies = [5 + place / 10 for place in range(60)]
    columns, *rows = csv_of(carol, experiment, "slices", query)
    assert "latency_ms" in columns and float(rows[0][columns.index("latency_ms")]) in latencies
    columns, *rows = csv_of(carol, experiment, "edf", query)
    assert sorted({float(row[columns.index("latency_ms")]) for row in rows}) == pytest.approx(latencies)
    columns, *rows = csv_of(carol, experiment, "importance", query + "&importance=correlation")
    shares = {row[0]: row[1] for row in rows}
    ranks = np.arange(60)
    layers = ranks % 3 + 1
    expected = np.corrcoef(rank(layers), ranks)[0, 1]
    assert float(shares["lr"]) == pytest.approx(1) and float(shares["layers"]) == pytest.approx(expected)
    assert "latency_ms" in csv_of(carol, experiment, "contour", query)[0]


def rank(values: np.ndarray) -> np.ndarray:
    """Ranks, equal values sharing their mean rank."""
    return np.array([(values < value).sum() + (values == value).sum() / 2 for value in values])


def test_curves_are_of_the_objective_the_best_of_it_first(running, worker, carol):
    experiment = running(taken=0, max_trials=9, **TWO)
    settle(experiment, worker, result(0.5, 3), result(0.6, 2))
    for trial in experiment.trials.filter(state="succeeded"):
        Point.objects.bulk_create(
            Point(trial=trial, name=name, step=step, value=step * scale)
            for name, scale in (("accuracy", 0.1), ("latency_ms", trial.number))
            for step in range(3)
        )
    experiment.trials.filter(state="succeeded").update(last_step=2, last_value=0.2)
    svg = page(carol, experiment, "experiment-chart-svg", "curves", query="?objective=latency_ms")
    assert "latency_ms" in svg
    columns, *rows = csv_of(carol, experiment, "curves", "?objective=latency_ms")
    lasts = {row[0]: float(row[1]) for row in rows if row[2] == "2"}
    assert columns == ["Trial", "latency_ms", "Step"] and lasts == {"2": 4.0, "1": 2.0}
    assert list(dict.fromkeys(row[0] for row in rows)) == ["2", "1"]


def test_the_objective_is_a_link_that_stays_in_all_links(front, carol):
    html = page(carol, front, "experiment-charts", query="?objective=latency_ms&top=5")
    links = re.findall(r'<a[^>]*aria-current="true"[^>]*>latency_ms</a>', html)
    assert len(links) == 1 and '<a href="?top=5">accuracy</a>' in html
    assert "latency_ms by trial" in html
    for chart in ("history", "parallel", "slices"):
        for kind in ("svg", "csv"):
            url = reverse(f"experiment-chart-{kind}", args=["lab", front.public_id, chart])
            assert f'href="{url}?objective=latency_ms&amp;top=5"' in html
    assert '<input type="hidden" name="objective" value="latency_ms">' in html, "of the form of options"
    overview = page(carol, front, query="?objective=latency_ms")
    assert 'aria-current="true">latency_ms</a>' in overview
    refused = as_(carol).get(reverse("experiment-charts", args=["lab", front.public_id]) + "?objective=loss")
    assert refused.status_code == 400 and "Allowed: accuracy, latency_ms." in refused.content.decode()


def test_importance_is_computed_for_each_objective_as_by_optuna(running, carol):
    """TD-C1: lr explains one objective and layers the other; the shares are those of Optuna's own evaluator."""
    experiment = running(taken=0, max_trials=100, **TWO)
    fill(experiment, 24)
    filled = list(experiment.trials.filter(state="succeeded"))
    for trial in filled:
        trial.final_metrics = {"latency_ms": float(trial.params["layers"])}
    experiment.trials.bulk_update(filled, ["final_metrics"])
    Experiment.objects.filter(pk=experiment.pk).update(succeeded_count=24)
    document = importance.inputs(experiment)
    assert list(document["further"]) == ["latency_ms"] and len(document["further"]["latency_ms"]) == 24
    kept = importance.store(experiment, document, importance.compute(document, threading.Event()))
    shares = kept.further["latency_ms"]["shares"]
    assert kept.shares["lr"] > 0.9 and shares["layers"] > 0.9
    expected = optunas_shares(document["columns"], document["further"]["latency_ms"])
    assert shares == pytest.approx(expected, abs=0.05)
    rows = csv_of(carol, experiment, "importance", "?objective=latency_ms")[1:]
    assert rows[0][0] == "layers" and float(rows[0][1]) == kept.further["latency_ms"]["shares"]["layers"]
    html = page(carol, experiment, "experiment-charts", query="?objective=latency_ms")
    assert "for latency_ms, 24 trials" in html


def optunas_shares(columns: dict[str, list], values: list[float]) -> dict[str, float]:
    space = {
        "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1),
        "layers": optuna.distributions.CategoricalDistribution([1, 2, 3]),
    }
    study = optuna.create_study()
    for place, value in enumerate(values):
        params = {name: cells[place] for name, cells in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )


def test_files_of_the_front_are_the_best(front, carol, alice):
    """TD-C7, TD-C9: the viewer, the table of files and the shared page have the front in place of a best trial."""
    from tests.web.files import leave

    for trial in front.trials.exclude(result=None):
        leave(trial, "metrics.json", b"{}")
    html = page(carol, front, "artifact-viewer", query="?file=metrics.json")
    first, _, others = html.partition("Other trials")
    assert "This file across the Pareto front" in first
    for number in (1, 2, 3):
        is_on_front = front.trials.get(number=number).is_on_front
        assert (f">#{number}</a>" in first) == is_on_front and (f">#{number}</a>" in others) != is_on_front
    files = page(carol, front, "experiment-artifacts")
    assert files.count(">front</span>") == front.front_size and ">best</span>" not in files
