"""An Idempotency-Key makes a POST act once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.models import Answer, Experiment, Queue, Role, User
from experiments.scheduler.expired_rows import purge
from tests.people import make_settings
from tests.support.threads import Thread

EXPERIMENTS = "/workspaces/lab/experiments"
BODY = {"name": "once", "settings": make_settings().document()}


def test_the_same_request_gets_the_same_answer_and_acts_once(api, bob, lab):
    caller = api(bob)
    first = caller.post(EXPERIMENTS, BODY, Idempotency_Key="k1")
    again = caller.post(EXPERIMENTS, BODY, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content and again["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first
    assert Experiment.objects.count() == 1
    assert (
        api(bob).post(EXPERIMENTS, BODY, Idempotency_Key="k1").json()["id"] != first.json()["id"]
    )  # another token's key


def test_a_key_of_another_request_is_refused_and_what_failed_may_be_sent_again(api, bob, lab):
    caller = api(bob)
    assert caller.post(EXPERIMENTS, {**BODY, "name": ""}, Idempotency_Key="k").status_code == 422
    assert not Answer.objects.exists()
    assert caller.post(EXPERIMENTS, BODY, Idempotency_Key="k").status_code == 201
    other = caller.post(EXPERIMENTS, {**BODY, "name": "two"}, Idempotency_Key="k")
    assert other.status_code == 409 and "another request" in other.json()["detail"]
    assert caller.post(EXPERIMENTS, BODY, Idempotency_Key="x" * 256).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_two_at_the_same_moment_make_one(api, bob, lab):
    """The second waits for the first's transaction, and repeats its answer."""
    caller, answers = api(bob), []
    together = threading.Barrier(4)

    def send():
        together.wait()
        answers.append(caller.post(EXPERIMENTS, BODY, Idempotency_Key="k"))

    for thread in [Thread(send) for _ in range(4)]:
        thread.outcome()
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == Experiment.objects.count() == 1
    assert sum("Idempotent-Replay" in answer for answer in answers) == 3


def test_an_answer_is_kept_for_a_day(api, bob, lab):
    caller = api(bob)
    caller.post(EXPERIMENTS, BODY, Idempotency_Key="k")
    assert purge() is False and Answer.objects.exists()
    Answer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert caller.post(EXPERIMENTS, BODY, Idempotency_Key="k").status_code == 201
    assert Experiment.objects.count() == 2
    Answer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    purge()
    assert not Answer.objects.exists()


def test_a_stored_answer_is_not_repeated_to_who_lost_the_right(api, bob, alice, lab):
    """TD-Z4: a member who left, one who may only see now, an experiment that was made private."""
    caller = api(bob, workspace=None)
    made = caller.post(EXPERIMENTS, BODY, Idempotency_Key="k").json()
    stop = f"/experiments/{made['id']}/enqueue"
    assert caller.post(stop, {}, Idempotency_Key="k2").status_code == 200
    experiment = Experiment.objects.get()

    lab.admit(bob, Role.VIEWER)
    for path, body, key in ((EXPERIMENTS, BODY, "k"), (stop, {}, "k2")):
        refused = caller.post(path, body, Idempotency_Key=key)
        assert refused.status_code == 403 and "operator" in refused.json()["detail"]
    lab.admit(bob, Role.OPERATOR)
    assert caller.post(stop, {}, Idempotency_Key="k2")["Idempotent-Replay"] == "true"

    Experiment.objects.update(creator=alice, visibility="private")
    assert caller.post(stop, {}, Idempotency_Key="k2").status_code == 404
    Experiment.objects.update(visibility="workspace")
    lab.members.filter(user=bob).delete()
    for path, body, key in ((EXPERIMENTS, BODY, "k"), (stop, {}, "k2")):
        gone = caller.post(path, body, Idempotency_Key=key)
        assert gone.status_code == 404 and made["id"] not in gone.content.decode()
    assert Experiment.objects.get().version == experiment.version, "nothing ran again"


def test_an_answer_outlives_what_it_tells_of_while_the_right_lasts(api, bob, lab):
    """An experiment in the trash is still answered for: the request was made once."""
    caller = api(bob)
    made = caller.post(EXPERIMENTS, BODY, Idempotency_Key="k").json()
    path = f"/experiments/{made['id']}/clone"
    assert caller.post(path, {}, Idempotency_Key="k2").status_code == 201
    assert caller.delete(f"/experiments/{made['id']}").status_code in (200, 204)
    assert caller.post(path, {}, Idempotency_Key="k2")["Idempotent-Replay"] == "true"


def test_an_administrators_answer_needs_an_administrator_again(api, root, lab):
    """TD-Z4"""
    Queue.default()
    caller = api(root, workspace=None, role=Role.OWNER)
    assert caller.post("/queues/default/pause", Idempotency_Key="k").status_code == 200
    assert caller.post("/queues/default/pause", Idempotency_Key="k")["Idempotent-Replay"] == "true"
    lab.admit(root, Role.OWNER)
    User.objects.filter(pk=root.pk).update(is_superuser=False)
    assert caller.post("/queues/default/pause", Idempotency_Key="k").status_code == 403


def test_an_answer_of_an_earlier_version_is_not_repeated(api, bob, lab):
    """TD-Z4: what it needed is not known."""
    caller = api(bob)
    caller.post(EXPERIMENTS, BODY, Idempotency_Key="k")
    Answer.objects.update(checks=None)
    assert caller.post(EXPERIMENTS, BODY, Idempotency_Key="k").status_code == 409
    assert Experiment.objects.count() == 1
