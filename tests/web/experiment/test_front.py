"""TD-C9: the pages of an experiment with several objectives: the front in place of the best trial."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Experiment, Hypervolume
from experiments.scheduler import hypervolume, importance
from tests.models.test_front import TWO, fill, result, settle
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
    for query, sentence in (("front:maybe", "“front” is yes or no"), ("best:3", "ranks by one objective")):
        refused = as_(carol).get(f"{trials}?filter={query}")
        assert refused.status_code == 400 and sentence in refused.content.decode()


def test_list_home_and_wall_show_the_size_and_the_best_of_each(front, bob):
    for name, where in (("experiments", ["lab"]), ("home", []), ("wall", ["lab"])):
        html = as_(bob).get(reverse(name, args=where), follow=True).content.decode()
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
    assert (
        "100 trials on the Pareto front" in html and "100 on the front, 1,9" in html and " of 10,00" in html
    )


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
    assert "Further objectives" in html and "The Pareto front is that of these objectives." in html
    single = make_settings()
    assert not single.is_multi_objective
