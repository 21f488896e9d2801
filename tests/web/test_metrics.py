"""`GET /metrics`: figures for Prometheus."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from experiments.models import Lease, Queue, Worker

BEARER = {"Authorization": "Bearer s3cret"}


@pytest.fixture(autouse=True)
def token(settings, db):
    settings.METRICS_TOKEN = "s3cret"


def figures():
    response = Client().get("/metrics", headers=BEARER)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_it_counts_trials_slots_and_workers(running, worker):
    """TD-S1: Prometheus `/metrics`."""
    experiment = running(taken=2)
    Worker.objects.update(lease_s=3600)  # however slow the machine is
    seen = figures()
    assert seen["trialdeck_trials", "running"] == 2
    assert seen["trialdeck_trials", "waiting"] == experiment.trials.filter(state="waiting").count()
    assert (seen["trialdeck_slots",], seen["trialdeck_slots_busy",]) == (8, 2)
    assert (seen["trialdeck_workers", "up"], seen["trialdeck_workers", "gone"]) == (1, 0)
    assert seen["trialdeck_queue_running_trials", "default"] == 2
    assert seen["trialdeck_queue_longest_wait_seconds", "default"] == 0
    assert seen["trialdeck_control_up",] == 0


def test_it_tells_late_gone_and_draining_workers_apart(worker):
    now = timezone.now()
    for name, changes in {
        "late": {"heard_at": now - timedelta(minutes=40)},
        "gone": {"gone_at": now},
        "draining": {"is_draining": True},
    }.items():
        other = Worker.register(name, host="there", pid=1, queues=["default"], slots=1, lease_s=15)
        Worker.objects.filter(pk=other.pk).update(**changes)
    Worker.objects.update(lease_s=3600)
    seen = figures()
    assert [seen["trialdeck_workers", state] for state in ("up", "late", "gone", "draining")] == [1, 1, 1, 1]
    assert seen["trialdeck_slots",] == 10


def test_it_has_the_longest_wait_of_a_queue_and_the_scheduler(draft, alice):
    experiment = draft()
    experiment.enqueue(by=alice)
    type(experiment).objects.filter(pk=experiment.pk).update(enqueued_at=timezone.now() - timedelta(hours=2))
    Lease.hold("beat", "control", for_=timedelta(seconds=30))
    seen = figures()
    assert 7200 <= seen["trialdeck_queue_longest_wait_seconds", "default"] < 7300
    assert seen["trialdeck_queue_experiments", "default"] == 1
    assert seen["trialdeck_control_up",] == 1


@pytest.mark.parametrize(("left_s", "lag_s", "up"), [(9, 1, 1), (4, 6, 1), (-50, 60, 0)])
def test_it_has_the_time_since_the_schedulers_last_tick(db, left_s, lag_s, up):
    """TD-S1: it grows when the scheduler hangs or is gone."""
    Lease.hold("beat", "control", for_=timedelta(seconds=left_s))
    seen = figures()
    assert lag_s <= seen["trialdeck_scheduler_lag_seconds",] < lag_s + 50
    assert seen["trialdeck_control_up",] == up


def test_the_number_of_queries_is_fixed(running, alice, django_assert_num_queries):
    running(taken=2)
    Client().get("/metrics", headers=BEARER)
    with django_assert_num_queries(6):
        figures()
    for number in range(3):
        Queue.objects.create(name=f"q{number}")
        Worker.register(f"w-{number}", host="there", pid=1, queues=[f"q{number}"], slots=1, lease_s=15)
    running("second", taken=1)
    with django_assert_num_queries(6):
        figures()


def test_no_private_name_is_in_it(running):
    experiment = running("confidential", taken=1)
    text = Client().get("/metrics", headers=BEARER).content.decode()
    assert not [
        name for name in ("confidential", "lab", "alice", "w1", experiment.public_id) if f'"{name}"' in text
    ]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer ü"}])
def test_without_the_token_there_is_nothing(headers):
    response = Client().get("/metrics", headers=headers)
    assert response.status_code == 401 and b"trialdeck_trials" not in response.content


def test_it_is_off_without_a_token_and_for_an_empty_one(settings):
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
