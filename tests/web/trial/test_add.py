"""Trials that nobody proposed: with values typed by hand, and replicas of a good one."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from experiments.models import Event, Experiment, Failure, Outcome, Trial
from tests.models.test_matrix import STATES
from tests.people import as_, end_all, look_at

pytestmark = pytest.mark.once

MIXED = {
    "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "units/0": {"_type": "randint", "_value": [1, 9]},
    "layers": {"_type": "choice", "_value": [1, True, "two", [3, 4]]},
    "csrfmiddlewaretoken": {"_type": "normal", "_value": [0, 1]},
}


def url_of(experiment: Experiment) -> str:
    return reverse("experiment-add", args=["lab", experiment.public_id])


def replicas_of(trial: Trial) -> str:
    return reverse("trial-replicate", args=["lab", trial.experiment.public_id, trial.number])


def message_text(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def values(form) -> dict[str, object]:
    """What a browser sends when nothing is changed."""
    return {
        form.add_prefix(name): form.get_initial_for_field(field, name) for name, field in form.fields.items()
    }


@pytest.fixture
def mixed(running) -> Experiment:
    """A running experiment with every kind of field, and one trial in the hands of the worker."""
    return running(space_document=MIXED, concurrency=1)


@pytest.fixture
def good(running) -> Trial:
    """A succeeded trial of a running experiment."""
    return end_all(running(concurrency=1)).trials.get(number=1)


# --- by hand -------------------------------------------------------------------------------------------------------


def test_the_form_is_filled_with_the_best_trials_values_to_the_last_digit(mixed, bob):
    """TD-A16: sent as it is, it tries exactly what the best one tried."""
    best = end_all(mixed).trials.get(number=1)
    client = as_(bob)
    form = client.get(url_of(mixed)).context["form"]
    response = client.post(url_of(mixed), values(form))
    added = mixed.trials.get(source="added")
    assert response.url == reverse("trial", args=["lab", mixed.public_id, added.number])
    assert added.params == best.params and type(added.params["layers"]) is type(best.params["layers"])
    assert (added.state, added.ordinal) == ("waiting", None)
    before = mixed.proposed_count
    mixed.refresh_from_db()
    assert mixed.proposed_count == before, "free of budget"
    assert Event.objects.filter(verb="add", by=bob, trial=added).exists()


def test_values_reach_the_trial_as_what_they_are(mixed, bob):
    """TD-A16: a choice keeps its type, a number its digits."""
    sent = {"v-lr": "1e-3", "v-units/0": "7", "v-layers": "3", "v-csrfmiddlewaretoken": "-0.1"}
    response = as_(bob).post(url_of(mixed), sent)
    added = mixed.trials.get(source="added")
    assert added.params == {"lr": 0.001, "units/0": 7, "layers": [3, 4], "csrfmiddlewaretoken": -0.1}
    assert added.raw is not None and "Added trial" in message_text(response)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("v-lr", ""),
        ("v-lr", "fast"),
        ("v-lr", "nan"),
        ("v-lr", "1e999"),
        ("v-units/0", "1.5"),
        ("v-units/0", "9" * 400),
        ("v-layers", "4"),
        ("v-layers", "-1"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_nothing_is_made(mixed, bob, name, typed):
    sent = {"v-lr": "1e-3", "v-units/0": "7", "v-layers": "0", "v-csrfmiddlewaretoken": "0", name: typed}
    response = as_(bob).post(url_of(mixed), sent)
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [name.removeprefix("v-")]
    assert not mixed.trials.filter(source="added").exists()


def test_values_outside_of_the_space_are_tried_and_the_answer_says_that_they_do_not_inform(mixed, bob):
    sent = {"v-lr": "5", "v-units/0": "7", "v-layers": "0", "v-csrfmiddlewaretoken": "0"}
    response = as_(bob).post(url_of(mixed), sent)
    assert "outside the search space" in message_text(response)
    assert mixed.trials.get(source="added").params["lr"] == 5.0


def test_values_that_break_a_constraint_are_tried_and_the_answer_says_so(running, bob):
    """NNI-S2: the constraints are for proposals."""
    experiment = running(constraints=["layers < 3", "lr < 0.05"])
    answer = as_(bob).post(url_of(experiment), {"v-lr": "0.09", "v-layers": "1"})
    assert "The values violate the constraint lr < 0.05" in message_text(answer)
    assert experiment.trials.get(source="added").params == {"lr": 0.09, "layers": 2}


def test_a_double_click_adds_one_trial(mixed, bob):
    client = as_(bob)
    sent = values(client.get(url_of(mixed)).context["form"])
    first, second = client.post(url_of(mixed), sent), client.post(url_of(mixed), sent)
    assert first.url == second.url and "No trial was added" in message_text(second)
    assert mixed.trials.filter(source="added").count() == 1


@pytest.mark.parametrize("state", STATES)
def test_adding_is_offered_exactly_while_it_runs_or_is_paused(in_state, bob, state):
    """TD-A16: elsewhere the control is absent and the request is 409, with the way out."""
    experiment = in_state(state)
    before = experiment.trials.count()
    client, is_offered = as_(bob), state in ("running", "paused")
    page = client.get(reverse("experiment-trials", args=["lab", experiment.public_id])).content.decode()
    assert (url_of(experiment) in page) is is_offered
    question = client.get(url_of(experiment))
    sent = {"v-lr": "0.01", "v-layers": "0"}
    response = client.post(url_of(experiment), sent)
    assert (question.status_code, response.status_code) == ((200, 302) if is_offered else (409, 409))
    assert experiment.trials.count() == before + is_offered
    if not is_offered:
        assert state in response.content.decode()


def test_while_paused_the_question_says_that_it_will_wait(in_state, bob):
    """TD-A16: it starts after Unpause; the question says so."""
    assert "wait until it is unpaused" in as_(bob).get(url_of(in_state("paused"))).content.decode()


# --- replicas ------------------------------------------------------------------------------------------------------


def test_replicas_are_new_trials_with_the_same_values(good, bob):
    """PAI-R4: a verb of its own. Free of budget, linked to the good one, their results inform the search."""
    client = as_(bob)
    form = client.get(replicas_of(good)).context["form"]
    response = client.post(replicas_of(good), {"count": 2, "seen": form["seen"].value()})
    made = list(Trial.objects.filter(source="replica"))
    assert [(replica.params, replica.rerun_of, replica.attempt) for replica in made] == [
        (good.params, good, 1)
    ] * 2
    assert "2 replicas of #1" in message_text(response)
    experiment, before = good.experiment, good.experiment.proposed_count
    experiment.refresh_from_db()
    assert experiment.proposed_count == before, "free of budget"
    page = client.get(reverse("trial", args=["lab", experiment.public_id, made[0].number])).content.decode()
    assert "replica of #1" in page


def test_a_replicas_result_informs_the_search(running, bob, worker):
    experiment = end_all(running(concurrency=1, max_trials=2))
    good = experiment.trials.get(number=1)
    experiment.trials.get(number=2).stop(by=bob)
    (replica,) = good.replicate(by=bob, count=1)
    taken = Trial.take(worker, ["default"])
    assert taken == replica
    taken.settle(Outcome(value=0.9, exit_code=0))
    look_at(experiment)
    assert (experiment.best_number, experiment.best_value) == (replica.number, 0.9)
    taken.refresh_from_db()
    assert taken.informs


def test_a_second_click_makes_no_second_set(good, bob):
    client = as_(bob)
    for _ in range(2):
        response = client.post(replicas_of(good), {"count": 3, "seen": 0})
    assert "already has 3 replicas" in message_text(response)
    assert Trial.objects.filter(source="replica").count() == 3


@pytest.mark.parametrize("count", ["", "0", "-1", "101", "many", "1.5"])
def test_a_count_that_is_not_possible_is_refused_at_its_field(good, bob, count):
    response = as_(bob).post(replicas_of(good), {"count": count, "seen": 0})
    assert response.status_code == 422 and list(response.context["form"].errors) == ["count"]
    assert not Trial.objects.filter(source="replica").exists()


def test_only_a_succeeded_trial_can_be_replicated(running, bob):
    experiment = end_all(running(concurrency=1), Outcome(failure=Failure.EXIT_CODE, exit_code=1))
    response = as_(bob).post(replicas_of(experiment.trials.get(number=1)), {"count": 1, "seen": 0})
    assert response.status_code == 409 and "#1 is failed" in response.content.decode()


def test_replicate_is_offered_only_while_the_experiment_goes_on(good, bob):
    client = as_(bob)
    page = reverse("trial", args=["lab", good.experiment.public_id, 1])
    assert replicas_of(good) in client.get(page).content.decode()
    good.experiment.stop(by=bob)
    end_all(good.experiment)
    assert replicas_of(good) not in client.get(page).content.decode()
    assert client.post(replicas_of(good), {"count": 1, "seen": 0}).status_code == 409


def test_a_viewer_may_neither_add_nor_replicate(good, carol):
    client = as_(carol)
    assert client.get(url_of(good.experiment)).status_code == 403
    assert client.post(replicas_of(good), {"count": 1, "seen": 0}).status_code == 403
    page = client.get(reverse("experiment-trials", args=["lab", good.experiment.public_id])).content.decode()
    assert url_of(good.experiment) not in page
