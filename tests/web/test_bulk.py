"""Several rows at once: it says how many it applies to, acts on those, answers per row."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from experiments.models import Experiment, Failure, Outcome, Trial, Workspace
from experiments.web import bulk
from experiments.web.bulk import MOST_REASONS
from tests.models.test_matrix import STATES
from tests.people import as_

FAILED = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="ValueError: no")


def message_text(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def trials_url(experiment: Experiment, verb: str = "") -> str:
    if verb:
        return reverse("trials-bulk", args=["lab", experiment.public_id, verb])
    return reverse("experiment-trials", args=["lab", experiment.public_id])


def list_url(verb: str = "") -> str:
    return reverse("experiments-bulk", args=["lab", verb]) if verb else reverse("experiments", args=["lab"])


def text(response) -> str:
    return unescape(response.content.decode())


@pytest.fixture
def mixed(running) -> Experiment:
    """#1 and #2 have failed, #3 has succeeded, #4 runs, #5 runs, #6 waits."""
    experiment = running(taken=5, concurrency=6, max_trials=6)
    for number, outcome in ((1, FAILED), (2, FAILED), (3, Outcome(value=0.5, exit_code=0))):
        trial = experiment.trials.get(number=number)
        trial.settle(outcome)
    return experiment


# --- trials --------------------------------------------------------------------------------------------------------


def test_the_question_says_how_many_it_applies_to_and_why_not_to_the_others(mixed, bob):
    """PAI-R2, PAI-R4: nothing happens before the confirmed POST."""
    response = as_(bob).get(trials_url(mixed, "rerun") + "?trial=1&trial=2&trial=3&trial=4")
    page = text(response)
    assert "Rerun 2 trials?" in page and "Applies to 2 of the 4" in page and "starts a job" in page
    assert "Succeeded: only failed trials can be rerun" in page and "Running: only failed" in page
    assert not mixed.trials.filter(source="rerun").exists()


def test_a_rerun_of_many_reaches_those_it_can_and_answers_per_trial(mixed, bob):
    """PAI-R4, TD-X2: a new trial for each, linked to its failed one; one message says what was refused and why."""
    response = as_(bob).post(trials_url(mixed, "rerun"), {"trial": ["1", "2", "3", "99"]})
    again = mixed.trials.filter(source="rerun").order_by("number")
    assert [(trial.rerun_of.number, trial.attempt, trial.state) for trial in again] == [
        (1, 2, "waiting"),
        (2, 2, "waiting"),
    ]
    assert response.url == trials_url(mixed)
    assert (
        "Rerunning 2 trials as #7 to #8. Skipped: #3: Succeeded: only failed trials can be rerun."
        in message_text(response)
    )
    assert len(get_messages(response.wsgi_request)) == 1


def test_what_is_selected_beyond_the_most_at_a_time_is_named(mixed, draft, bob, monkeypatch):
    """PAI-R4, TD-V2: no selected row is passed over in silence, neither by the question nor by the action."""
    monkeypatch.setattr(bulk, "MOST", 1)
    left_out = "#2: At most 1 at a time. Select these next."
    page = text(as_(bob).get(trials_url(mixed, "rerun") + "?trial=1&trial=2"))
    assert "Applies to 1 of the 2 selected" in page and "At most 1 at a time. Select these next." in page
    response = as_(bob).post(trials_url(mixed, "rerun"), {"trial": ["1", "2"]})
    assert f"Rerunning 1 trial. Skipped: {left_out}" in message_text(response)
    assert [trial.rerun_of.number for trial in mixed.trials.filter(source="rerun")] == [1]
    response = as_(bob).post(list_url("pause"), {"pick": [mixed.public_id, draft().public_id]})
    assert "Paused 1 experiment. Skipped: " in message_text(response) and "At most 1" in message_text(
        response
    )


def test_sent_twice_it_reruns_once(mixed, bob):
    """PAI-R4: the second of a double click is refused per trial, with the one that waits already."""
    client = as_(bob)
    for _ in range(2):
        response = client.post(trials_url(mixed, "rerun"), {"trial": ["1", "2"]})
    assert "No changes made. #1: #7 has the same values and is waiting" in message_text(response)
    assert mixed.trials.filter(source="rerun").count() == 2


def test_of_equal_failures_one_is_rerun(mixed, bob):
    """PAI-R1: the question says so before."""
    first = mixed.trials.get(number=1)
    Trial.objects.filter(experiment=mixed, number=2).update(
        params=first.params, values_digest=first.values_digest
    )
    client = as_(bob)
    page = text(client.get(trials_url(mixed, "rerun") + "?trial=1&trial=2"))
    assert "Rerun 1 trial?" in page and "#1 has the same values. One rerun is enough" in page
    client.post(trials_url(mixed, "rerun"), {"trial": ["1", "2"]})
    assert mixed.trials.filter(source="rerun").count() == 1


def test_stop_of_many_stops_what_runs_or_waits(mixed, bob):
    """TD-A15: the others are told as ended."""
    client = as_(bob)
    assert "Stop 3 trials?" in text(
        client.get(trials_url(mixed, "stop") + "?trial=3&trial=4&trial=5&trial=6")
    )
    response = client.post(trials_url(mixed, "stop"), {"trial": ["3", "4", "5", "6"]})
    states = dict(mixed.trials.filter(number__gte=3, number__lte=6).values_list("number", "state"))
    assert states == {3: "succeeded", 4: "stopping", 5: "stopping", 6: "stopped"}
    assert message_text(response) == "Stopping 3 trials. Skipped: #3: Already ended: succeeded."


@pytest.mark.parametrize("verb", ["stop", "rerun"])
@pytest.mark.parametrize("state", STATES)
def test_actions_are_there_exactly_while_the_matrix_offers_them(in_state, bob, state, verb):
    """TD-A14, TD-A15. Comparing is always possible (TD-C5), so the boxes stay."""
    experiment = in_state(state)
    number = experiment.trials.values_list("number", flat=True).first() or 1
    if not experiment.trials.exists():
        assert trials_url(experiment, verb) not in text(as_(bob).get(trials_url(experiment)))
        return
    is_offered = state in ("running", "paused")
    page = text(as_(bob).get(trials_url(experiment)))
    assert (trials_url(experiment, verb) in page) is is_offered
    assert 'name="trial"' in page and f"{trials_url(experiment).removesuffix('trials/')}compare/" in page
    if not is_offered:
        response = as_(bob).post(trials_url(experiment, verb), {"trial": [str(number)]})
        assert response.status_code == 409 and state in text(response)


def test_the_view_that_it_was_ticked_in_comes_back(mixed, bob):
    """TD-X6: the question's form carries the address with its filters; no other site's, no other page's."""
    client, view = as_(bob), trials_url(mixed) + "?state=failed&sort=-value"
    question = client.get(
        trials_url(mixed, "rerun") + "?trial=1", headers={"referer": f"http://testserver{view}"}
    )
    assert question.context["back"] == view
    sent = {"trial": "1", "back": view}
    assert client.post(trials_url(mixed, "rerun"), sent).url == view
    for elsewhere in ("https://example.com/", "//example.com/", "/admin/"):
        sent = {"trial": "2", "back": elsewhere}
        assert client.post(trials_url(mixed, "rerun"), sent).url == trials_url(mixed)


@pytest.mark.parametrize("query", ["", "?trial=", "?trial=x", "?trial=99", "?trial=-1", "?trial=" + "9" * 30])
def test_where_nothing_is_ticked_it_says_so(mixed, bob, query):
    response = as_(bob).get(trials_url(mixed, "rerun") + query)
    assert response.status_code == 302 and "No rows selected" in message_text(response)


def test_after_an_update_it_asks_for_the_settings(mixed, bob, alice):
    """TD-U7: original by default, current if asked for."""
    settings = mixed.settings.document() | {"command": "python other.py ${lr}"}
    mixed.update(type(mixed.settings).checked(settings), by=alice, seen=1)
    client = as_(bob)
    assert "Current settings" in text(client.get(trials_url(mixed, "rerun") + "?trial=1"))
    client.post(trials_url(mixed, "rerun"), {"trial": "1", "command": "original"})
    client.post(trials_url(mixed, "rerun"), {"trial": "2", "command": "current"})
    again = mixed.trials.filter(source="rerun").order_by("number")
    assert [(trial.revision.number, trial.keeps_revision) for trial in again] == [(1, True), (2, False)]


def test_the_question_takes_as_many_queries_for_one_as_for_many(mixed, bob, django_assert_max_num_queries):
    client, costs = as_(bob), []
    for query in ("?trial=1", "?trial=1&trial=2&trial=3&trial=4&trial=5"):
        with django_assert_max_num_queries(25) as seen:
            assert client.get(trials_url(mixed, "rerun") + query).status_code == 200
        costs.append(len(seen))
    assert costs[0] == costs[1]


def test_a_viewer_may_only_compare_trials(mixed, carol):
    """TD-C5: no other action is offered for the ticked rows, nor accepted."""
    client = as_(carol)
    actions = re.findall(r'formaction="[^"]*/([a-z]+)/"', text(client.get(trials_url(mixed))))
    assert actions == ["compare"]
    assert client.post(trials_url(mixed, "stop"), {"trial": "4"}).status_code == 403
    assert client.get(trials_url(mixed, "publish") + "?trial=4").status_code == 404


# --- experiments ---------------------------------------------------------------------------------------------------

MATRIX = {
    "enqueue": {"draft": "pending"},
    "pause": {"running": "paused"},
    "unpause": {"paused": "running"},
    "stop": {"pending": "stopping", "running": "stopping", "paused": "stopping"},
    "delete": {state: state for state in ("draft", "stopped", "completed", "failed")},
}


@pytest.mark.parametrize("verb", MATRIX)
def test_an_action_on_experiments_in_every_state_reaches_those_of_the_matrix(in_state, bob, verb):
    """TD-A: each row does what it would do alone; the others keep their state, with the reason told."""
    in_turn = sorted(STATES, key=lambda state: state == "pending")  # last: its trial is free for any worker
    every = {state: in_state(state, name=state, concurrency=1) for state in in_turn}
    client = as_(bob)
    ids = [experiment.public_id for experiment in every.values()]
    page = text(client.get(list_url(verb), {"pick": ids}))
    count = len(MATRIX[verb])
    assert f"{verb.capitalize()} {count} experiment{'s' if count > 1 else ''}?" in page
    response = client.post(list_url(verb), {"pick": ids})
    for state, experiment in every.items():
        after = Experiment.everything.get(pk=experiment.pk)
        assert after.state == MATRIX[verb].get(state, state)
        assert (after.trashed_at is not None) is (verb == "delete" and state in MATRIX[verb])
        is_told = f" {state}: " in message_text(response)
        assert is_told is (state not in MATRIX[verb]) or len(STATES) - count > MOST_REASONS
    assert len(get_messages(response.wsgi_request)) == 1


def test_stop_says_in_numbers_what_will_end(running, bob):
    first, second = running("one", taken=2), running("two", taken=1)
    page = text(as_(bob).get(list_url("stop"), {"pick": [first.public_id, second.public_id]}))
    assert "3 running trials will end" in page and "all 2 selected" in page


def test_what_does_not_exist_for_a_person_is_not_reached(draft, alice, bob, dave):
    """PAI-P1, PAI-L2: private ones and those of another workspace are as if they were not there."""
    private, open_ = draft("secret"), draft("open")
    private.describe(by=alice, visibility="private")
    other = Workspace.open("other", owner=dave)
    foreign = Experiment.draft(other, by=dave, name="foreign", settings=open_.settings)
    ids = [experiment.public_id for experiment in (private, open_, foreign)] + ["", "%", "x" * 10_000]
    client = as_(bob)
    page = text(client.get(list_url("delete"), {"pick": ids}))
    assert "secret" not in page and "foreign" not in page and "Delete 1 experiment?" in page
    client.post(list_url("delete"), {"pick": ids})
    assert set(Experiment.objects.values_list("name", flat=True)) == {"secret", "foreign"}


def test_a_published_one_is_deleted_by_an_owner_only(in_state, alice, bob):
    """TD-A13."""
    experiment = in_state("published")
    response = as_(bob).post(list_url("delete"), {"pick": experiment.public_id})
    assert "requires the owner role" in message_text(response)
    assert (
        message_text(as_(alice).post(list_url("delete"), {"pick": experiment.public_id}))
        == "Moved to trash: 1 experiment."
    )


def test_a_queue_that_is_not_granted_is_told_per_row(draft, bob, worker):
    from experiments.models import Queue

    good, bad = draft("good"), draft("bad")
    Experiment.objects.filter(pk=bad.pk).update(queue=Queue.objects.create(name="gpu"))
    response = as_(bob).post(list_url("enqueue"), {"pick": [good.public_id, bad.public_id]})
    assert "Enqueued 1 experiment. Skipped: bad: The queue gpu is not available" in message_text(response)


def test_names_never_become_html(draft, bob):
    experiment = draft("<b>bold</b>" + "x" * 60)
    page = as_(bob).get(list_url("delete"), {"pick": experiment.public_id}).content.decode()
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page


def test_a_viewer_may_only_compare_experiments(draft, carol):
    """TD-C5: no other action is offered for the ticked rows, nor accepted."""
    experiment, client = draft(), as_(carol)
    assert re.findall(r'formaction="[^"]*/([a-z]+)/"', text(client.get(list_url()))) == ["compare"]
    assert client.post(list_url("delete"), {"pick": experiment.public_id}).status_code == 403
    assert client.get(list_url("publish"), {"pick": experiment.public_id}).status_code == 404


def test_where_automl_is_off_nothing_is_done(draft, lab, bob):
    """PAI-P1."""
    experiment = draft()
    Workspace.objects.filter(pk=lab.pk).update(has_automl=False)
    assert as_(bob).post(list_url("delete"), {"pick": experiment.public_id}).status_code == 409
