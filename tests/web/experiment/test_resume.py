"""What Resume and Pause ask: a larger budget, the failed ones again, what goes on."""

from __future__ import annotations

from html import unescape

import pytest
from django.urls import reverse

from experiments.models import Experiment, Failure, Outcome
from tests.people import as_, end_all

pytestmark = pytest.mark.once

FAILED = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="boom")


def url_of(experiment: Experiment, verb: str) -> str:
    return reverse("experiment-action", args=["lab", experiment.public_id, verb])


def question(user, experiment: Experiment, verb: str = "resume"):
    return as_(user).get(url_of(experiment, verb))


def as_filled(form) -> dict[str, object]:
    """What a browser sends when nothing is changed."""
    values = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture
def stopped(running, bob):
    """Makes experiments that were stopped after their first trial."""

    def make(**changes: object) -> Experiment:
        experiment = running(**changes)
        experiment.stop(by=bob)
        return end_all(experiment)

    return make


def test_each_limit_that_is_set_can_be_enlarged(stopped, bob):
    """TD-A9: max trials, max duration, goal."""
    experiment = stopped(max_duration_s=7200, goal=0.9)
    form = question(bob, experiment).context["form"]
    assert (form["max_duration_h"].value(), form["goal"].value()) == (2.0, 0.9)
    sent = as_filled(form) | {"max_trials": 50, "max_duration_h": 3, "goal": 0.95}
    as_(bob).post(url_of(experiment, "resume"), sent)
    experiment.refresh_from_db()
    settings = experiment.settings
    assert (experiment.state, settings.max_trials, settings.max_duration_s, settings.goal) == (
        "pending",
        50,
        10_800,
        0.95,
    )


def test_what_is_left_as_it_is_makes_no_revision(stopped, bob):
    experiment = stopped(max_duration_s=5000.0, goal=0.9)
    as_(bob).post(url_of(experiment, "resume"), as_filled(question(bob, experiment).context["form"]))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.revision.number) == ("pending", 1)
    assert experiment.settings.max_duration_s == 5000.0


def test_limits_that_are_not_set_are_not_asked_for(stopped, bob):
    form = question(bob, stopped()).context["form"]
    assert "max_duration_h" not in form.fields and "goal" not in form.fields


@pytest.mark.parametrize(
    ("limit_s", "ran_s", "hours"),
    [(3600, 4000, 1.67), (3, 4, 0.0017), (3, 300, 0.125), (86400, 100_000, 41.67)],
)
def test_a_spent_duration_is_asked_for_with_a_larger_one_filled_in(stopped, bob, limit_s, ran_s, hours):
    """TD-A9: sent as it is, it goes on, however short the limit is and however long the last trials ran beyond it."""
    experiment = stopped(max_duration_s=limit_s)
    Experiment.objects.filter(pk=experiment.pk).update(ran_s=ran_s)
    experiment.trials.update(was_interrupted=False)
    experiment.refresh_from_db()
    form = question(bob, experiment).context["form"]
    assert form["max_duration_h"].value() == hours
    refused = as_(bob).post(
        url_of(experiment, "resume"), as_filled(form) | {"max_duration_h": limit_s / 3600}
    )
    assert f"{ran_s:,} s of {limit_s:,} s were used. Increase it" in refused.content.decode()
    as_(bob).post(url_of(experiment, "resume"), as_filled(form))
    experiment.refresh_from_db()
    assert experiment.state == "pending"
    assert experiment.settings.max_duration_s == pytest.approx(hours * 3600)


def test_a_spent_duration_is_not_enlarged_while_interrupted_trials_are_left(stopped, bob):
    """TD-A9: they are retried whatever is spent."""
    experiment = stopped(max_duration_s=3600)
    Experiment.objects.filter(pk=experiment.pk).update(ran_s=4000)
    experiment.refresh_from_db()
    form = question(bob, experiment).context["form"]
    assert form["max_duration_h"].value() == 1.0
    as_(bob).post(url_of(experiment, "resume"), as_filled(form))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.revision.number) == ("pending", 1)
    assert experiment.trials.filter(state="waiting").count() == 1


def test_a_reached_goal_that_is_left_is_refused_and_without_one_it_goes_on(running, bob):
    """TD-A9."""
    experiment = end_all(running(goal=0.4, concurrency=1))
    assert experiment.reason == "goal reached"
    form = question(bob, experiment).context["form"]
    kept = as_filled(form) | {"goal": "0.4"}
    assert as_(bob).post(url_of(experiment, "resume"), kept).status_code == 409
    as_(bob).post(url_of(experiment, "resume"), kept | {"goal": ""})
    experiment.refresh_from_db()
    assert (experiment.state, experiment.settings.goal) == ("pending", None)


def test_the_failed_ones_are_rerun_if_that_is_ticked(running, bob):
    """TD-A9: it says how many; free of the budget."""
    experiment = end_all(running(max_trials=1, concurrency=1), FAILED)
    response = question(bob, experiment)
    assert "Rerun the failed trials (1)" in unescape(response.content.decode())
    sent = as_filled(response.context["form"]) | {"rerun_failed": "on", "max_trials": 1}
    as_(bob).post(url_of(experiment, "resume"), sent)
    assert experiment.trials.get(source="rerun").rerun_of.number == 1


def test_pause_says_what_goes_on_and_what_waits(running, bob):
    """TD-A7: in numbers."""
    experiment = running(taken=2, concurrency=3, max_duration_s=3600)
    page = unescape(question(bob, experiment, "pause").content.decode())
    assert "2 running trials finish" in page and "1 waiting trial starts after" in page
    assert "does not count toward the max duration" in page
