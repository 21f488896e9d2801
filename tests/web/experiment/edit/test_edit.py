"""Update experiment, and the edit of a draft: filled, refused, stale, restored, and with its consequences."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import Event, Experiment, Outcome, Queue, Settings, Trial, status
from experiments.models.settings import LOCKED
from experiments.web.experiment.edit.views import WHY_LOCKED
from tests.people import as_, end_all, look_at, make_settings
from tests.web.filled import filled

pytestmark = pytest.mark.once

# Everything that is hard to show and read back.
ODD = {
    "command": "set -e\n\n  echo 'a  b'\npython train.py --lr ${lr}",
    "environment": {"URL": "http://x/?a=b", "LINES": "one\ntwo", "EMPTY": ""},
    "passes_arguments": True,
    "weights": {"accuracy": 1, "latency": -0.5},
    "goal": 0.1 + 0.2,
    "algorithm": "TPE",
    "algorithm_arguments": {"n_startup_trials": 3, "multivariate": False},
    "max_duration_s": 100_000.123,
    "max_trial_duration_s": 90_061,
    "stop_grace_s": 0,
    "max_trials": None,
    "constraints": ["lr < 0.05 or mode == '1'", "lr > 1e-4"],
    "fixed": {"mode": "a, b"},
    "starting_points": [{"lr": 0.01, "mode": "a, b"}, {"lr": 0.02}],
    "early_stopping": "Medianstop",
    "early_stopping_arguments": {"start_step": 5},
    "space_document": {
        "lr": {"_type": "loguniform", "_value": [1e-05, 0.1]},
        "mode": {"_type": "choice", "_value": ["a, b", "1", 1.5, "x\ny", True, None, ' "q"']},
    },
}


def url_of(experiment: Experiment, query: str = "") -> str:
    return reverse("experiment-edit", args=["lab", experiment.public_id]) + query


def message_text(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def details_of(experiment: Experiment) -> str:
    return reverse("experiment", args=["lab", experiment.public_id])


def submit(client: Client, experiment: Experiment, form: dict | None = None, query: str = "", **changes):
    """Sends the page with changes, as it was drawn (or as `form` was) a moment ago."""
    form = form or filled(client.get(url_of(experiment, query)))
    return client.post(url_of(experiment, query), {**form, "submit": "1", **changes})


def preview(client: Client, experiment: Experiment, **changes) -> str:
    """The consequences in words, as the script beside the form asks for them."""
    form = filled(client.get(url_of(experiment)))
    headers = {"HX-Request": "true", "HX-Target": "preview"}
    response = client.post(url_of(experiment), {**form, "preview": "1", **changes}, headers=headers)
    assert response.status_code == 200
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(text.split())


def fresh(experiment: Experiment) -> Experiment:
    return Experiment.objects.get(pk=experiment.pk)


# --- where it is offered ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", status.EXPERIMENT_STATES)
def test_edit_is_offered_exactly_where_the_matrix_has_it(state, in_state, bob):
    """PAI-M1, TD-A1, TD-A2: in the row, on details, and by its address; elsewhere 409 with the way out."""
    experiment = in_state(state)
    is_offered = state in ("draft", "running", "paused")
    details = as_(bob).get(reverse("experiment", args=["lab", experiment.public_id])).content.decode()
    row = as_(bob).get(reverse("experiments", args=["lab"])).content.decode()
    assert (f'href="{url_of(experiment)}"' in details) is is_offered
    assert (f'href="{url_of(experiment)}"' in row) is is_offered
    page = as_(bob).get(url_of(experiment))
    assert page.status_code == (200 if is_offered else 409)
    if not is_offered:
        assert experiment.way_out("update") in page.content.decode()
        answer = as_(bob).post(url_of(experiment), {"submit": "1", "seen": "1", "name": "typed"})
        assert answer.status_code == 409 and 'value="typed"' in answer.content.decode()
    title = "Edit experiment" if state == "draft" else "Update experiment"
    assert not is_offered or f"<h1>{title}</h1>" in page.content.decode()


def test_a_viewer_may_not_and_a_stranger_sees_nothing(running, carol, dave):
    experiment = running()
    for person, wanted in ((carol, 403), (dave, 404)):
        for answer in (
            as_(person).get(url_of(experiment)),
            as_(person).post(url_of(experiment), {"submit": "1"}),
        ):
            assert answer.status_code == wanted
    assert fresh(experiment).revision.number == 1


# --- filled, unchanged -----------------------------------------------------------------------------------------


def test_a_page_that_nobody_touched_changes_nothing(running, bob):
    """PAI-M1: filled with the current values; what is hard to show is not lost by being shown."""
    experiment = running(**ODD)
    before = fresh(experiment)
    answer = submit(as_(bob), experiment)
    assert answer.status_code == 302 and "No changes to save" in message_text(answer)
    assert fresh(experiment).settings == before.settings and fresh(experiment).revision.number == 1


def test_one_change_leaves_everything_else_to_the_last_digit(running, bob):
    """PAI-M2, TD-U1: one revision; the rest is as it was."""
    experiment = running(**ODD)
    answer = submit(as_(bob), experiment, concurrency="3", note="more machines")
    assert answer["Location"] == reverse("experiment", args=["lab", experiment.public_id])
    assert "Saved as revision 2." in message_text(answer)
    changed = fresh(experiment)
    assert before_but(experiment, concurrency=3) == changed.settings
    assert (changed.revision.number, changed.revision.by, changed.revision.note) == (2, bob, "more machines")
    assert changed.state == "running" and Event.objects.filter(verb="update", by=bob).count() == 1


def before_but(experiment: Experiment, **changes) -> Settings:
    return Settings.stored({**experiment.revisions.get(number=1).document, **changes})


def test_a_changed_row_leaves_the_other_rows_as_they_are(running, bob):
    """TD-U5: choices of every kind survive being shown as a row."""
    experiment = running(**ODD)
    submit(as_(bob), experiment, **{"space-0-values": "0.001, 0.1"})
    space = fresh(experiment).settings.space_document
    assert space == {**ODD["space_document"], "lr": {"_type": "loguniform", "_value": [0.001, 0.1]}}
    assert [type(item) for item in space["mode"]["_value"]] == [
        type(item) for item in ODD["space_document"]["mode"]["_value"]
    ]


def test_a_draft_can_be_edited_whole(draft, bob, lab):
    """TD-A1: metric, direction, algorithm too; and what describes it, in the same submit."""
    experiment = draft()
    answer = submit(
        as_(bob),
        experiment,
        name="second",
        new_project="Vision",
        tags="a, b",
        metric="loss",
        direction="minimize",
        algorithm="TPE",
    )
    assert answer.status_code == 302
    changed = fresh(experiment)
    assert (changed.name, changed.project.name, changed.tags) == ("second", "Vision", ["a", "b"])
    assert (changed.settings.objective, changed.algorithm) == ("minimize loss", "TPE")
    assert changed.project in lab.projects.all() and changed.state == "draft"


def test_what_describes_it_changes_at_once_and_makes_no_revision(running, bob):
    """TD-U8."""
    experiment = running()
    answer = submit(as_(bob), experiment, name="better", description="why")
    assert "settings did not change" in message_text(answer)
    assert (fresh(experiment).name, fresh(experiment).revision.number) == ("better", 1)


def test_the_surplus_is_stopped_when_asked(running, bob):
    """TD-U3: the newest."""
    experiment = running(taken=3, concurrency=3)
    submit(as_(bob), experiment, concurrency="1", stop_surplus="on")
    states = dict(experiment.trials.values_list("number", "state"))
    assert (states[1], states[2], states[3]) == ("running", "stopping", "stopping")


def test_early_stopping_is_applied_to_running_trials_when_asked(running, bob):
    """TD-U6: the consequences say which rule judges the running ones, and how many run too long already."""
    experiment = running(taken=2)
    experiment.trials.update(started_at=timezone.now() - timedelta(seconds=100))
    rule = {"early_stopping": "Threshold", "early_stopping_arguments": "upper=2.5\nlower=null"}
    text = preview(as_(bob), experiment, **rule, max_trial_duration_s="1m")
    assert "Running trials keep the early-stopping rule of their revision." in text
    assert "The new time limit applies to them too: 2 trials already exceed the limit and are stopped" in text
    text = preview(as_(bob), experiment, **rule, apply_to_running="on", max_trial_duration_s="1h")
    assert "The new early stopping applies to them too, including past results." in text
    assert "The new time limit applies to them too." in text
    submit(as_(bob), experiment, **rule, apply_to_running="on")
    assert fresh(experiment).settings.early_stopping_arguments == {"upper": 2.5, "lower": None}
    assert list(experiment.trials.values_list("rule_revision", flat=True)) == [2, 2]
    assert "No changes to save" in message_text(submit(as_(bob), experiment))


# --- refused ---------------------------------------------------------------------------------------------------


def test_faults_are_said_at_their_fields_and_nothing_changes(running, bob):
    """PAI-M3."""
    experiment = running()
    faulty = {"max_trials": "many", "name": "", "space-0-values": "1, 0", "description": "kept"}
    answer = submit(as_(bob), experiment, **faulty)
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"max_trials", "name", "space_document"}
    page = answer.content.decode()
    assert "Fix 3 fields to save the changes" in page and 'value="many"' in page and "kept" in page
    after = fresh(experiment)
    assert (after.revision.number, after.description, after.version) == (1, "", experiment.version)


def test_a_fault_between_settings_and_words_changes_neither(running, bob):
    """All or nothing: too many tags, with a new concurrency."""
    experiment = running()
    answer = submit(as_(bob), experiment, concurrency="5", tags=",".join(map(str, range(30))))
    assert answer.status_code == 422 and "At most 20 tags" in answer.content.decode()
    assert (fresh(experiment).revision.number, fresh(experiment).concurrency) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value"), [("metric", "loss"), ("direction", "minimize"), ("algorithm", "TPE")]
)
def test_locked_fields_are_text_with_the_reason_and_a_crafted_one_is_refused(running, bob, name, value):
    """TD-U9."""
    experiment = running()
    client = as_(bob)
    page = client.get(url_of(experiment))
    assert name not in filled(page) and "Clone to change" in page.content.decode()
    assert WHY_LOCKED[name] in page.content.decode() and WHY_LOCKED.keys() == LOCKED.keys()
    assert reverse("experiment-action", args=["lab", experiment.public_id, "clone"]) in page.content.decode()
    answer = submit(client, experiment, concurrency="5", **{name: value})
    assert answer.status_code == 422 and "Clone the experiment to change it." in answer.content.decode()
    assert fresh(experiment).revision.number == 1


# --- two people ------------------------------------------------------------------------------------------------


def test_a_stale_page_is_refused_and_shows_who_changed_what(running, alice, bob):
    """PAI-M3, TD-A: who did what is told, what was typed stays, what was not touched is fresh; again, and it holds."""
    experiment = running(max_trials=6)
    mine = filled(as_(bob).get(url_of(experiment)))
    submit(as_(alice), experiment, max_trials="20", **{"space-0-values": "0.001, 0.01"})
    answer = submit(as_(bob), experiment, mine, concurrency="4")
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "<b>alice</b> saved revision 2" in page and "<del>6</del>" in page and "<ins>20</ins>" in page
    assert (fresh(experiment).revision.number, fresh(experiment).concurrency) == (2, 2)
    again = filled(answer)
    assert (again["concurrency"], again["max_trials"], again["seen"]) == ("4", "20", "2")
    assert again["space-0-values"] == "0.001, 0.01"
    assert submit(as_(bob), experiment, again).status_code == 302
    after = fresh(experiment)
    assert (after.revision.number, after.concurrency, after.max_trials) == (3, 4, 20)
    assert after.settings.space_document["lr"]["_value"] == [0.001, 0.01]


def test_a_name_changed_meanwhile_is_not_overwritten(running, alice, bob):
    experiment = running()
    mine = filled(as_(bob).get(url_of(experiment)))
    experiment.describe(by=alice, name="alice's name")
    answer = submit(as_(bob), experiment, mine, concurrency="4")
    assert answer.status_code == 409 and "alice changed name." in answer.content.decode()
    assert (fresh(experiment).name, fresh(experiment).concurrency) == ("alice's name", 2)


def test_the_same_update_from_two_tabs_makes_one_revision(running, bob):
    """Also a double click: the second is told that it is so already."""
    experiment = running()
    mine = filled(as_(bob).get(url_of(experiment)))
    assert submit(as_(bob), experiment, mine, max_trials="20").status_code == 302
    second = submit(as_(bob), experiment, mine, max_trials="20")
    assert second.status_code == 302 and "Already saved as revision 2." in message_text(second)
    assert experiment.revisions.count() == 2


def test_an_experiment_that_ended_meanwhile_keeps_what_was_typed(running, bob):
    """TD-A2: 409 names the state and the way out."""
    experiment = running(max_trials=1)
    mine = filled(as_(bob).get(url_of(experiment)))
    end_all(experiment)
    assert fresh(experiment).state == "completed"
    answer = submit(as_(bob), experiment, mine, max_trials="50", note="go on")
    page = answer.content.decode()
    assert answer.status_code == 409 and "while the experiment is completed" in page
    assert 'value="50"' in page and 'value="go on"' in page and ">Save<" not in page
    assert fresh(experiment).revision.number == 1


@pytest.mark.parametrize("seen", ["", "x", "-1", "99999999999", "7", "²"])
def test_a_crafted_revision_number_is_stale_and_no_more(running, bob, seen):
    experiment = running()
    answer = submit(as_(bob), experiment, seen=seen, concurrency="4")
    assert answer.status_code == 409 and fresh(experiment).revision.number == 1


def test_a_draft_enqueued_meanwhile_does_not_lose_a_locked_change_silently(draft, worker, bob, alice):
    experiment = draft()
    mine = filled(as_(bob).get(url_of(experiment)))
    experiment.enqueue(by=alice)
    look_at(experiment)
    Trial.take(worker, ["default"])
    answer = submit(as_(bob), experiment, mine, metric="loss")
    assert answer.status_code == 422 and "Existing results measure this metric" in answer.content.decode()


# --- restored --------------------------------------------------------------------------------------------------


def test_an_earlier_revision_is_restored_by_an_update(running, bob):
    """TD-X1: prefilled, nothing before the submit, then a new revision with the old values."""
    experiment = running(**ODD)
    client = as_(bob)
    submit(client, experiment, concurrency="5", environment="A=1", command="python train.py ${lr}")
    page = client.get(url_of(experiment, "?restore=1"))
    assert "Values from revision 1" in page.content.decode()
    assert fresh(experiment).revision.number == 2
    answer = submit(client, experiment, query="?restore=1")
    assert answer.status_code == 302
    after = fresh(experiment)
    assert after.revision.number == 3 and after.settings == before_but(experiment)


def test_a_revision_with_another_objective_restores_the_rest_and_says_so(draft, worker, bob, alice):
    """TD-U9: the locked differences are explained, and stay away."""
    experiment = draft(metric="loss", direction="minimize", max_trials=9)
    experiment.edit(make_settings(metric="accuracy", max_trials=20), by=alice, seen=1)
    experiment.enqueue(by=alice)
    look_at(experiment)
    Trial.take(worker, ["default"])
    client = as_(bob)
    page = client.get(url_of(experiment, "?restore=1")).content.decode()
    assert (
        "Metric was loss and stays accuracy." in page and "Direction was minimize and stays maximize." in page
    )
    assert submit(client, experiment, query="?restore=1").status_code == 302
    after = fresh(experiment)
    assert (after.settings.objective, after.max_trials) == ("maximize accuracy", 9)


@pytest.mark.parametrize("number", ["0", "2", "x", "", "-1", "1" * 30, "²"])
def test_a_revision_that_is_not_there_is_404(running, bob, number):
    assert as_(bob).get(url_of(running(), f"?restore={number}")).status_code == 404


# --- consequences ----------------------------------------------------------------------------------------------


def test_the_consequences_are_told_before_it_is_accepted(running, worker, bob):
    """TD-X1, TD-X4: differences, finished trials outside, running ones, next ones, surplus, the end."""
    experiment = running(taken=2, algorithm="TPE", algorithm_arguments={"n_startup_trials": 1})
    for trial, value in zip(experiment.trials.filter(state="running"), (0.5, 0.9), strict=True):
        Trial.objects.filter(pk=trial.pk).update(params={"lr": value / 10, "layers": 1}, raw=None)
        trial.settle(Outcome(value=value))
    look_at(experiment)  # what learns is asked for no more than slots need
    while Trial.take(worker, ["default"]):
        pass
    client = as_(bob)
    assert "Change a field to preview its effect." in preview(client, experiment)
    text = preview(client, experiment, concurrency="1", **{"space-0-values": "0.06, 0.1"})
    assert "2 changes" in text and "lr loguniform 0.0001, 0.1 loguniform 0.06, 0.1" in text
    assert "1 of 2 finished trials is outside the new search space." in text
    assert "They stay visible but no longer inform the search." in text
    assert (
        "2 running trials keep their revision. 1 over the new concurrency: no new trials start until" in text
    )
    assert "New trials use revision 2." in text
    text = preview(client, experiment, goal="0.8")
    assert (
        "The experiment will end: goal reached. No new trials start; the experiment completes when 2 running "
        "trials have ended." in text
    )
    assert fresh(experiment).revision.number == 1


def test_without_a_finished_trial_nobody_pretends_to_know(running, bob):
    """TD-X4: honest."""
    assert "No trial has finished yet" in preview(as_(bob), running())


def test_faults_stand_in_the_preview_and_no_consequence_of_half_a_form(running, bob):
    text = preview(as_(bob), running(), concurrency="many")
    assert "Concurrency: Enter a whole number." in text and "New trials" not in text


def test_without_script_the_consequences_are_the_page(running, bob):
    """TD-X6: Preview changes is a button."""
    experiment = running()
    form = filled(as_(bob).get(url_of(experiment)))
    page = as_(bob).post(url_of(experiment), {**form, "preview": "1", "max_trials": "20"})
    html = page.content.decode()
    assert page.status_code == 200 and "<html" in html and "<ins>20</ins>" in html and "Was 6." in html
    assert fresh(experiment).revision.number == 1


def test_the_page_costs_as_many_queries_with_many_trials_as_with_few(
    running, worker, bob, django_assert_max_num_queries
):
    """TD-X7."""
    few, many = running("few", max_trials=100), running("many", max_trials=100)
    for _ in range(15):
        end_all(many)
        while Trial.take(worker, ["default"]):
            pass
    end_all(few)
    while Trial.take(worker, ["default"]):
        pass
    assert many.trials.count() > 15
    costs = []
    for experiment in (few, many):
        client = as_(bob)
        form = filled(client.get(url_of(experiment)))
        sent = {**form, "preview": "1", "space-0-values": "0.06, 0.1"}
        with django_assert_max_num_queries(30) as seen:
            assert client.post(url_of(experiment), sent).status_code == 200
        costs.append(len(seen))
    assert costs[0] == costs[1]


# --- the queue -------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(lab) -> Queue:
    queue = Queue.objects.create(name="gpu")
    queue.workspaces.add(lab)
    return queue


def test_another_queue_is_told_beforehand_and_takes_what_has_not_started(
    running, draft, alice, bob, gpu, worker
):
    """TD-U8: the consequence in numbers; then the waiting trial is the other queue's, and no revision is made."""
    experiment, before = running(), draft("before")
    before.enqueue(by=alice, queue=gpu)
    look_at(before)
    consequences = preview(as_(bob), experiment, queue=gpu.pk)
    assert "Queue default gpu" in consequences and "1 change" in consequences
    assert (
        "Queue gpu: 1 waiting trial moves to the end of the queue, behind 1 experiment; no worker serves"
        in consequences
    )
    assert (
        "Running trials finish on their current workers." in consequences and "New trials" not in consequences
    )
    answer = submit(as_(bob), experiment, queue=gpu.pk)
    assert answer.status_code == 302 and "Moved to queue gpu." in message_text(answer)
    experiment = fresh(experiment)
    assert (experiment.queue, experiment.revision.number, experiment.running_count) == (gpu, 1, 1)
    assert Trial.take(worker, ["gpu"]).experiment == before
    assert (
        "bob moved this experiment from default to gpu"
        in as_(bob).get(details_of(experiment)).content.decode()
    )


def test_a_page_of_before_does_not_move_it_back(running, alice, bob, gpu):
    """TD-U8: whoever did not touch the queue does not choose one; two clicks move it once."""
    experiment = running()
    page = filled(as_(bob).get(url_of(experiment)))
    experiment.move_to(gpu, by=alice)
    assert submit(as_(bob), experiment, page, max_trials="9").status_code == 302
    assert fresh(experiment).queue == gpu
    assert submit(as_(bob), experiment, page | {"queue": gpu.pk, "seen": "2"}).status_code == 302
    assert experiment.events.filter(verb="move_to").count() == 1


def test_a_queue_of_others_is_refused_at_its_field(running, bob, gpu, lab):
    gpu.workspaces.remove(lab)
    experiment = running()
    assert f'<option value="{gpu.pk}"' not in as_(bob).get(url_of(experiment)).content.decode()
    answer = submit(as_(bob), experiment, queue=gpu.pk, max_trials="9")
    assert answer.status_code == 422 and "has no access to the queue" in answer.content.decode()
    assert fresh(experiment).revision.number == 1


def test_a_draft_says_where_it_will_run(draft, bob, gpu):
    """TD-A1, TD-F8"""
    experiment = draft()
    assert "Moved to queue gpu." in message_text(submit(as_(bob), experiment, queue=gpu.pk))
    assert (fresh(experiment).queue, fresh(experiment).state) == (gpu, "draft")


def test_a_draft_is_edited_and_tried_at_once(draft, bob):
    """TD-F2: what was typed is saved, and runs once; what is wrong is said and runs not."""
    experiment = draft()
    form = filled(as_(bob).get(url_of(experiment)))
    answer = as_(bob).post(url_of(experiment), {**form, "try": "1", "max_trials": "no"})
    assert answer.status_code == 422 and not experiment.clones.exists()
    answer = as_(bob).post(url_of(experiment), {**form, "try": "1", "command": "echo ${lr}"})
    tried = experiment.clones.get()
    assert answer["Location"] == f"{url_of(experiment)}?test={tried.public_id}#counts"
    assert (tried.settings.command, tried.trials.get().state) == ("echo ${lr}", "waiting")
    assert (fresh(experiment).state, fresh(experiment).settings.command) == ("draft", "echo ${lr}")


def test_nothing_under_way_is_tried(running, bob):
    experiment = running()
    assert "try one trial" not in as_(bob).get(url_of(experiment)).content.decode()
    form = filled(as_(bob).get(url_of(experiment)))
    assert as_(bob).post(url_of(experiment), {**form, "try": "1"}).status_code == 409
    assert not experiment.clones.exists()


def test_source_packages_and_container_change_for_later_trials(running, bob):
    """TD-U7: on the one door under way; what nobody typed stays."""
    experiment = running()
    changed = {"repository": "https://example.org/code.git", "reference_kind": "tag", "reference": "v2"}
    changed |= {"packages_from": "list", "packages": "numpy==2.3.4\r\nscipy", "image": "python:3.12"}
    assert submit(as_(bob), experiment, **changed).status_code == 302
    settings = fresh(experiment).settings
    assert (settings.repository, settings.reference_kind, settings.reference) == (
        "https://example.org/code.git",
        "tag",
        "v2",
    )
    assert (settings.packages_from, settings.packages) == ("list", "numpy==2.3.4\nscipy")
    assert settings.image == "python:3.12" and settings.command == experiment.settings.command
    submit(as_(bob), experiment, max_trials="9")
    assert fresh(experiment).settings.repository == "https://example.org/code.git"


def test_a_destination_is_locked_under_way(running, bob):
    """TD-U9: told, with the reason, and refused from a crafted request."""
    experiment = running()
    page = as_(bob).get(url_of(experiment)).content.decode()
    assert "Existing output files are stored here." in page and 'name="destination"' not in page
    answer = submit(as_(bob), experiment, destination="/mnt/share")
    assert answer.status_code == 422 and fresh(experiment).settings.destination == ""
