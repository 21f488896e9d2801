"""`GET /metrics`: figures for Prometheus."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus

import pytest
import redis
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from experiments import histograms
from experiments.broker import socket_path
from experiments.models import Experiment, Lease, Queue, Trial, User, Worker
from experiments.scheduler.beat import Beat
from experiments.worker.start_times import StartTimes
from tests.people import look_at
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

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


@pytest.fixture
def counting(broker: Valkey) -> Iterator[None]:
    """Histograms begin at 0."""
    histograms._pending.take()
    broker.wipe()
    yield
    histograms._pending.take()


def test_requests_are_counted_by_kind_and_status(counting: None, client: Client, alice: User) -> None:
    """TD-S1: request times; health checks are not among them."""
    client.force_login(alice)
    client.get("/nothing-here/")
    client.get("/nothing-here/", headers={"HX-Request": "true"})
    client.get("/api/v1/me")
    client.get("/api/v1/me")
    client.get("/healthz")
    seen = figures()
    counts = {name[1:]: value for name, value in seen.items() if name[0] == "trialdeck_request_seconds_count"}
    assert counts == {("page", "4xx"): 1, ("fragment", "4xx"): 1, ("api", "2xx"): 2}
    assert seen["trialdeck_request_seconds_bucket", "api", "+Inf", "2xx"] == 2
    assert 0 < seen["trialdeck_request_seconds_sum", "api", "2xx"] < 60


def test_requests_are_not_counted_without_a_token(counting: None, settings: object, client: Client) -> None:
    settings.METRICS_TOKEN = ""  # type: ignore[attr-defined]
    assert client.get("/api/v1/me").status_code == HTTPStatus.UNAUTHORIZED
    assert histograms._pending.take() == ({}, {})


def test_the_sums_are_those_of_all_processes(counting: None) -> None:
    """TD-S1: each bucket holds what is at most its bound, and whoever counted it."""
    for seconds in (0.01, 0.011, 4000.0):
        histograms.CLAIM_TO_START.observe(seconds)
    assert histograms.flush()
    histograms.CLAIM_TO_START.observe(0.2)  # of another process
    assert histograms.flush()
    seen = figures()
    name = "trialdeck_claim_to_start_seconds"
    at_most = {le: seen[f"{name}_bucket", le] for le in ("0.01", "0.025", "0.1", "0.25", "1800", "+Inf")}
    assert at_most == {"0.01": 1, "0.025": 2, "0.1": 2, "0.25": 3, "1800": 3, "+Inf": 4}
    assert seen[f"{name}_count",] == 4
    assert seen[f"{name}_sum",] == pytest.approx(4000.221)


def test_what_is_observed_is_counted_by_itself(counting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histograms, "FLUSH_S", 0.01)
    histograms.TICK.observe(2.0)
    eventually(lambda: (histograms.read() or {}).get(histograms.TICK), what="the count in the broker")


def test_a_slot_is_timed_from_claim_to_start_and_from_end_to_the_next_start(counting: None) -> None:
    """TD-S1: the time in which a slot has no trial is no delay."""
    starts, now = StartTimes(), time.monotonic()
    starts.waits()
    starts.started(claimed_at=now - 3, at=now)
    starts.ended()
    starts.started(claimed_at=now, at=time.monotonic() + 7)
    starts.ended()
    starts.waits()
    starts.started(claimed_at=now, at=now + 50)
    seen = figures()
    claims = {le: seen["trialdeck_claim_to_start_seconds_bucket", le] for le in ("2.5", "5", "10", "60")}
    assert claims == {"2.5": 0, "5": 1, "10": 2, "60": 3}
    assert seen["trialdeck_end_to_next_start_seconds_count",] == 1
    assert 7 <= seen["trialdeck_end_to_next_start_seconds_sum",] < 8


@pytest.mark.django_db(transaction=True)
def test_the_wait_of_an_experiment_is_counted_once(
    counting: None, draft: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    experiment = draft(concurrency=2)
    experiment.enqueue(by=alice)
    look_at(experiment)
    Experiment.objects.filter(pk=experiment.pk).update(enqueued_at=timezone.now() - timedelta(seconds=200))
    assert Trial.take(worker, ["default"]) and Trial.take(worker, ["default"])
    seen = figures()
    waits = [seen["trialdeck_queue_wait_seconds_bucket", le, "default"] for le in ("60", "300")]
    assert (waits, seen["trialdeck_queue_wait_seconds_count", "default"]) == ([0, 1], 1)


def test_ticks_of_the_scheduler_are_counted(counting: None, db: None) -> None:
    """TD-S1: between two of the same control process; another's, or a pause, is none of its own."""
    beat = Beat()
    for now in (100.0, 102.0, 150.0):
        assert beat.tick(now)
    seen = figures()
    ticks = [seen["trialdeck_scheduler_tick_seconds_bucket", le] for le in ("2.25", "30", "60")]
    assert ticks == [1, 1, 2]


def test_without_a_broker_the_figures_of_the_database_are_there(settings: object, db: None) -> None:
    """TD-S1: the broker is a convenience."""
    settings.CELERY_BROKER_URL = "redis+socket:///nowhere/valkey.sock?virtual_host=0"  # type: ignore[attr-defined]
    histograms.CLAIM_TO_START.observe(1.0)
    seen = figures()
    assert seen["trialdeck_broker_up",] == 0
    assert "trialdeck_slots" in {name for name, *_ in seen}
    assert not [name for name, *_ in seen if name.startswith("trialdeck_claim_to_start")]


def test_buckets_of_another_version_are_read(counting: None, broker: Valkey) -> None:
    """An upgrade changes bounds and labels; the counts stay in the broker."""
    client = redis.Redis(unix_socket_path=str(socket_path(broker.data)))
    client.hset(histograms.TICK.key, mapping={"99": 2, "sum": "5.5", "a\x1f1": 4})
    seen = figures()
    assert seen["trialdeck_scheduler_tick_seconds_bucket", "+Inf"] == 2
    assert seen["trialdeck_scheduler_tick_seconds_sum",] == 5.5
