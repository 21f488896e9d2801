"""The administrator's acts: the same verbs, their refusals as messages, who did it in the history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Experiment, Outcome, Trial, User, Worker
from experiments.web.ui import descriptions
from tests.people import look_at

pytestmark = pytest.mark.once


@pytest.fixture
def door(root: User) -> Client:
    """A browser in which the administrator is signed in."""
    client = Client()
    client.force_login(root)
    return client


def listed(name: str) -> str:
    return reverse(f"admin:experiments_{name}_changelist")


def send(door: Client, name: str, verb: str, *rows: object, **more: object) -> list[str]:
    """Chooses the rows and the act, says yes where it asks. The messages of the answer."""
    sent = {"action": verb, "_selected_action": [row.pk for row in rows], "yes": "1", **more}
    answer = door.post(listed(name), sent, follow=True)
    assert answer.status_code == 200
    return [str(message) for message in answer.context["messages"]]


def test_it_stops_experiments_and_says_who(door: Client, running: Callable[..., Experiment], draft) -> None:
    """TD-A8: what can be stopped is, what cannot is told with its reason."""
    first, other = running("first"), draft("other")
    message = send(door, "experiment", "stop", first, other)
    assert message[0] == f"Stopping: {first}."
    assert message[1].startswith(f"{other}: Stop is not possible while the experiment is a draft")
    first.refresh_from_db()
    assert first.state == "stopping"
    assert first.events.get(verb="stop", trial=None).by.username == "root"
    assert send(door, "experiment", "stop", first) == [f"Already done, nothing changed: {first}."]


def test_it_asks_before_it_stops_and_nothing_happens_until_then(
    door: Client, running: Callable[..., Experiment]
) -> None:
    experiment = running(taken=2)
    answer = door.post(listed("experiment"), {"action": "stop", "_selected_action": [experiment.pk]})
    page = answer.content.decode()
    assert "2 running trials will be stopped" in page and str(experiment) in page
    experiment.refresh_from_db()
    assert experiment.state == "running"


def test_it_pauses_dequeues_and_deletes(door: Client, in_state: Callable[..., Experiment]) -> None:
    """TD-A6, TD-A7, TD-A13."""
    ended, active, pending = (in_state(state) for state in ("completed", "running", "pending"))
    assert send(door, "experiment", "pause", active) == [f"Paused: {active}."]
    assert send(door, "experiment", "dequeue", pending) == [f"Dequeued: {pending}."]
    message = send(door, "experiment", "delete", ended, active)
    assert f"Moved to trash: {ended}." in message
    assert any("Delete is not possible while the experiment is paused" in text for text in message)
    for row, verb in ((active, "pause"), (pending, "dequeue"), (ended, "delete")):
        assert Experiment.everything.get(pk=row.pk).events.get(verb=verb).by.username == "root"
    assert not Experiment.objects.filter(pk=ended.pk).exists()
    assert send(door, "experiment", "stop", ended) == [
        f"{ended}: This experiment is in the trash. Restore it first."
    ]


def test_it_stops_and_reruns_trials(door: Client, running: Callable[..., Experiment]) -> None:
    """PAI-T1, PAI-R3, PAI-T2."""
    experiment = running(taken=2)
    first, two = experiment.trials.filter(state="running")
    first.settle(Outcome(failure="exit_code", exit_code=1))
    assert send(door, "trial", "rerun", first) == [f"Rerun queued: {first}."]
    assert first.reruns.get().events.get(verb="rerun").by.username == "root"
    assert "has the same values" in send(door, "trial", "rerun", first)[0], (
        "a second click makes no second one"
    )
    message = send(door, "trial", "stop", two, first)
    assert message == [f"Stopping: {two}.", f"Already done, nothing changed: {first}."]
    two.refresh_from_db()
    assert two.state == "stopping"


def test_a_trial_marked_as_lost_is_tried_again(door: Client, running: Callable[..., Experiment]) -> None:
    experiment = running()
    stuck = experiment.trials.get(state="running")
    assert send(door, "trial", "mark_lost", stuck) == [f"Marked as lost: {stuck}."]
    stuck.refresh_from_db()
    assert (stuck.state, stuck.failure, stuck.detail) == (
        "failed",
        "worker_lost",
        "root marked the trial as lost.",
    )
    event = stuck.events.get(verb="mark_lost")
    assert (
        event.by.username == "root" and descriptions.feed_entries([event])[0].before == "root marked as lost"
    )
    again = stuck.reruns.get()
    assert (again.state, again.source, again.params) == ("waiting", "retry", stuck.params)
    assert not stuck.settle(Outcome(value=0.9, exit_code=0)), "what the worker says is void"
    assert send(door, "trial", "mark_lost", stuck) == [f"Already done, nothing changed: {stuck}."]
    assert "has not started" in send(door, "trial", "mark_lost", again)[0]


def test_a_lost_trial_without_retries_left_is_told_so(
    door: Client, running: Callable[..., Experiment]
) -> None:
    stuck = running(retries=0).trials.get(state="running")
    message = send(door, "trial", "mark_lost", stuck)
    assert "will not be retried" in message[1]
    assert not stuck.reruns.exists()


def test_it_drains_a_worker_and_lets_it_serve_again(door: Client, worker: Worker) -> None:
    """CML-Q3."""
    assert send(door, "worker", "drain", worker) == ["Draining: w1."]
    assert not Worker.objects.serving().exists()
    assert send(door, "worker", "drain", worker) == ["Already done, nothing changed: w1."]
    assert send(door, "worker", "undrain", worker) == ["Undrained: w1."]
    assert Worker.objects.serving().exists()
    history = door.get(reverse("admin:experiments_worker_history", args=[worker.pk])).content.decode()
    assert "Draining." in history and "root" in history


def test_a_released_worker_loses_its_trials_and_they_are_tried_again(
    door: Client, running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-X5: the administrator need not wait for the lease to run out."""
    experiment = running(taken=2)
    ask = {"action": "release", "_selected_action": [worker.pk]}
    assert "2 running trials will be marked as lost" in door.post(listed("worker"), ask).content.decode()
    worker.refresh_from_db()
    assert worker.gone_at is None
    assert send(door, "worker", "release", worker) == ["Lease released: w1."]
    event = experiment.events.get(verb="release")
    assert (
        descriptions.feed_entries([event])[0].before == "root released a worker's trials"
        and event.why == "worker w1"
    )
    look_at(experiment)
    lost = experiment.trials.filter(failure="worker_lost")
    assert [trial.reruns.get().source for trial in lost] == ["retry", "retry"]
    assert send(door, "worker", "release", worker) == ["Already done, nothing changed: w1."]


def test_a_worker_that_beats_meanwhile_keeps_its_lease(worker: Worker, root: User) -> None:
    from experiments.models import Refused

    read = Worker.objects.get(pk=worker.pk)
    worker.heartbeat()
    with pytest.raises(Refused, match="so it is alive. Drain it instead"):
        read.release(by=root)
    assert Worker.objects.present().exists()


def test_staff_without_rights_are_offered_nothing(running: Callable[..., Experiment], worker: Worker) -> None:
    """Rights to see give no rights to act, and a crafted request does nothing."""
    experiment = running()
    staff = User.objects.create_user("staff", password="staff-knows", is_staff=True)
    seen = Client()
    seen.force_login(staff)
    picked = {"yes": "1", "_selected_action": [experiment.pk]}
    assert seen.post(listed("experiment"), {"action": "stop", **picked}).status_code == 403
    for word in ("view", "change", "delete"):
        staff.user_permissions.add(
            *Permission.objects.filter(codename__in=[f"{word}_{name}" for name in ("experiment", "worker")])
        )
    assert 'name="action"' not in seen.get(listed("experiment")).content.decode()
    assert seen.post(listed("experiment"), {"action": "stop", **picked}).status_code == 200
    assert (
        seen.post(listed("worker"), {"action": "drain", "_selected_action": [worker.pk]}).status_code == 200
    )
    experiment.refresh_from_db()
    worker.refresh_from_db()
    assert experiment.state == "running" and not worker.is_draining


def test_a_crafted_choice_is_answered_with_a_sentence(
    door: Client, running: Callable[..., Experiment]
) -> None:
    running()
    for wrong in ("x", "1; drop", "9" * 40, "²"):
        answer = door.post(listed("trial"), {"action": "stop", "_selected_action": [wrong]}, follow=True)
        assert [str(text) for text in answer.context["messages"]] == ["Select rows in this list."]
    answer = door.post(listed("trial"), {"action": "stop", "_selected_action": [987654]}, follow=True)
    [message] = [str(text) for text in answer.context["messages"]]
    assert message == "The selected rows are no longer in this list. Reload it and select again."


def test_twenty_thousand_trials_are_listed_with_a_few_bounded_queries_and_not_acted_on_at_once(
    door: Client, running: Callable[..., Experiment]
) -> None:
    """TD-X7: a list reads a page of rows, and counts no further than it shows."""
    experiment = running()
    seed(experiment, 20_000)
    with CaptureQueriesContext(connection) as queries:
        page = door.get(listed("trial")).content.decode()
    assert "10000 trials" in page
    assert len(queries) <= 8
    rows = [parameters["sql"] for parameters in queries if "experiments_trial" in parameters["sql"]]
    assert rows and all("LIMIT" in sql for sql in rows), "a query without an end"
    assert not any("DISTINCT" in sql for sql in rows)
    for query in ("?state=running", f"?q={experiment.public_id}", f"?q={experiment.public_id}-7", "?p=199"):
        with CaptureQueriesContext(connection) as more:
            assert door.get(listed("trial") + query).status_code == 200
        assert len(more) <= len(queries)
    message = send(door, "trial", "stop", experiment.trials.first(), select_across="1")
    assert message == [
        "Nothing was changed. Narrow the list with a search or filter, and select at most 200 rows."
    ]
    assert not Trial.objects.filter(state="stopping").exists()


def seed(experiment: Experiment, count: int) -> None:
    """Settled trials, written straight into the table."""
    first = experiment.last_number + 1
    rows = (
        Trial(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            params={"lr": 0.01},
            values_digest="0" * 40,
            state="succeeded",
            value=0.5,
        )
        for number in range(first, first + count)
    )
    Trial.objects.bulk_create(rows, batch_size=2000)
