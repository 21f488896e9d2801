"""TD-D3: the leaderboard by project, tag and metric: baseline, delta, spread over replicates, trials and compute."""

from __future__ import annotations

import csv
import re
from statistics import stdev

import pytest

from experiments.models import Baseline, Experiment, Outcome, Refused, Trial
from tests.people import as_

PAGE = "/w/lab/leaderboard/"


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def names(response) -> list[str]:
    return [row.entry.experiment.name for row in response.context["rows"]]


@pytest.fixture
def ended(running, worker):
    """Makes experiments with these results: `ended("a", 0.5, 0.7)`."""

    def make(name: str, *values: float, **settings: object) -> Experiment:
        count = len(values)
        experiment = running(name, taken=count, concurrency=count, max_trials=count, **settings)
        trials = experiment.trials.filter(state="running").order_by("number")
        for trial, value in zip(trials, values, strict=True):
            trial.settle(Outcome(value=value, exit_code=0))
        experiment.refresh_from_db()
        return experiment

    return make


def test_experiments_are_ranked_by_their_best_succeeded_trial(ended, carol):
    """TD-D3, TD-V2: in the metric's direction; the most used metric by default."""
    ended("low", 0.5), ended("high", 0.7, 0.9), ended("middle", 0.8)
    ended("loss", 0.1, metric="loss", direction="minimize")
    page = as_(carol).get(PAGE)
    assert names(page) == ["high", "middle", "low"] and [row.entry.rank for row in page.context["rows"]] == [
        1,
        2,
        3,
    ]
    ended("worse", 0.3, metric="loss", direction="minimize")
    assert names(as_(carol).get(f"{PAGE}?metric=loss")) == ["loss", "worse"]
    assert "lower is better" in as_(carol).get(f"{PAGE}?metric=loss").content.decode()


def test_the_baseline_stands_on_top_with_differences_from_it(ended, lab, bob, carol):
    """TD-D3: settable by operators, one per project and metric; better or worse in the metric's direction."""
    base, good, bad = ended("base", 0.75), ended("good", 0.8), ended("bad", 0.5)
    url = f"{PAGE}{base.public_id}/pin/"
    assert as_(carol).post(url).status_code == 403
    here = f"{PAGE}?project=Default&metric=accuracy"
    assert as_(bob).post(url, {"here": here})["Location"] == here
    assert as_(bob).post(url, {"here": "https://evil.example/"})["Location"] == PAGE
    assert Baseline.objects.get().experiment == base, "once"
    page = as_(carol).get(f"{PAGE}?project=Default")
    assert names(page) == ["base", "good", "bad"]
    rows = page.context["rows"]
    assert [(row.entry.rank, row.delta, row.role) for row in rows[1:]] == [
        (1, "+0.0500", "good"),
        (2, "−0.2500", "bad"),
    ]
    assert "Pin as baseline" not in page.content.decode() and "vs. baseline +0.0500" in text_of(page)
    as_(bob).post(f"{PAGE}{good.public_id}/pin/")
    assert names(as_(carol).get(f"{PAGE}?project=Default"))[0] == "good" and Baseline.objects.count() == 1
    as_(bob).post(f"{PAGE}{good.public_id}/unpin/")
    assert not Baseline.objects.exists()
    assert [event.verb for event in good.events.all()[:2]] == ["unpin_baseline", "pin_baseline"]
    assert bad.events.filter(verb="pin_baseline").count() == 0


def test_without_a_result_there_is_no_baseline(draft, bob):
    with pytest.raises(Refused, match="Only an experiment with a result"):
        Baseline.pin(draft(), by=bob)


def test_the_spread_is_over_trials_with_the_best_ones_values(ended, worker, bob, carol):
    """TD-D3: mean and sample deviation of replicates; one trial has no spread."""
    experiment = ended("replicated", 0.6, 0.8)
    best = experiment.trials.get(number=2)
    values = [0.8]
    for trial, value in zip(best.replicate(by=bob, count=3), (0.7, 0.75, 0.5), strict=True):
        taken = Trial.take(worker, ["default"])
        assert taken == trial
        taken.settle(Outcome(value=value, exit_code=0))
        values.append(value)
    ended("single", 0.9)
    rows = as_(carol).get(PAGE).context["rows"]
    single, replicated = rows
    assert single.spread == "" and single.entry.spread.deviation is None
    spread = replicated.entry.spread
    assert spread.count == 4 and spread.mean == pytest.approx(sum(values) / 4)
    assert spread.deviation == pytest.approx(stdev(values)), "of a sample, on both databases"
    assert names(as_(carol).get(f"{PAGE}?rank=mean")) == ["single", "replicated"]
    experiment.trials.filter(number=2).update(value=5)
    Experiment.objects.filter(pk=experiment.pk).update(best_value=5)
    assert names(as_(carol).get(PAGE)) == ["replicated", "single"]
    page = as_(carol).get(f"{PAGE}?rank=mean")
    assert names(page) == ["replicated", "single"]


def test_private_experiments_are_absent(ended, alice, bob, carol):
    """TD-D3: as an entry, as the baseline, in the totals and in the file."""
    secret, shown = ended("secret", 0.99), ended("shown", 0.5)
    Baseline.pin(secret, by=alice)
    secret.describe(by=alice, visibility="private")
    for path in (f"{PAGE}?project=Default", "/w/lab/leaderboard.csv?project=Default"):
        response = as_(carol).get(path)
        content = b"".join(response.streaming_content) if response.streaming else response.content
        assert b"secret" not in content and b"0.99" not in content and b"shown" in content
    page = as_(carol).get(f"{PAGE}?project=Default")
    assert page.context["board"].experiment_count == 1 and page.context["rows"][0].delta == ""
    assert as_(bob).post(f"{PAGE}{secret.public_id}/pin/").status_code == 404
    assert names(as_(alice).get(f"{PAGE}?project=Default")) == ["secret", "shown"]
    assert shown.public_id in as_(alice).get(PAGE).content.decode()


def test_project_and_tag_filter(ended, lab, alice, carol):
    vision = lab.projects.create(name="vision")
    first, second = ended("first", 0.5), ended("second", 0.6)
    second.describe(by=alice, project=vision, tags=["nightly"])
    assert names(as_(carol).get(f"{PAGE}?project=vision")) == ["second"]
    assert names(as_(carol).get(f"{PAGE}?tag=nightly")) == ["second"]
    assert names(as_(carol).get(f"{PAGE}?tag=night")) == []
    assert names(as_(carol).get(f"{PAGE}?since=7d")) == ["second", "first"]
    assert first.project != vision


def test_trials_and_compute_are_summed_over_all(ended, carol):
    first = ended("first", 0.5, 0.4)
    Experiment.objects.filter(pk=first.pk).update(compute_s=5400)
    ended("second", 0.6)
    page = text_of(as_(carol).get(PAGE))
    assert "Trials 3 2 experiments" in page and "Compute 1.5 slot h" in page


def test_the_page_has_a_fixed_number_of_queries(ended, bob, carol, django_assert_num_queries):
    """TD-D3: bounded, whatever there is."""
    Baseline.pin(ended("a", 0.5), by=bob)
    client = as_(carol)
    client.get(PAGE)
    with django_assert_num_queries(11):
        client.get(f"{PAGE}?project=Default")
    for number in range(4):
        ended(f"b{number}", 0.6, 0.7)
    with django_assert_num_queries(11):
        client.get(f"{PAGE}?project=Default&rank=mean")


@pytest.mark.parametrize(
    "query", ["project=nowhere", "metric=nothing", "rank=worst", "since=1y", "direction=up", "x=1"]
)
@pytest.mark.parametrize("path", [PAGE, "/w/lab/leaderboard.csv"])
def test_wrong_values_are_refused(query, path, ended, carol):
    ended("a", 0.5)
    assert as_(carol).get(f"{path}?{query}").status_code == 400


def test_the_file_has_unrounded_values(ended, carol):
    """TD-D3: CSV."""
    ended("=a", 0.123456789012)
    answer = as_(carol).get("/w/lab/leaderboard.csv")
    rows = list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))
    assert rows[0]["name"] == "'=a" and rows[0]["best"] == "0.123456789012" and rows[0]["rank"] == "1"
