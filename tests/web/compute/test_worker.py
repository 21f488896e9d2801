"""One worker in the browser: CML-Q3, TD-X5."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Outcome, Queue, Trial, Usage, User, Worker, Workspace
from experiments.worker.worker import LocalWorker
from tests.people import as_, look_at, make_settings

pytestmark = pytest.mark.once


@pytest.fixture
def others(running, worker, alice, dave, root) -> list[Experiment]:
    """A private one of alice's, and one of dave's, each with one trial on the worker."""
    hidden = running("hush-hush", taken=1, concurrency=1)
    hidden.describe(by=alice, visibility="private")
    attic = Workspace.open("attic", owner=dave)
    theirs = Experiment.draft(attic, by=dave, name="up-there", settings=make_settings(concurrency=1))
    theirs.enqueue(by=dave)
    look_at(theirs)
    assert Trial.take(worker, ["default"]).experiment == theirs
    Queue.create("gpu-of-attic", by=root, workspaces=[attic])
    Worker.objects.update(queues=["default", "gpu-of-attic"])
    return [hidden, theirs]


def page(client: Client, **query: str) -> str:
    response = client.get(reverse("worker", args=["w1"]), query)
    assert response.status_code == 200
    return response.content.decode()


def test_it_tells_what_runs_what_ended_and_how_its_machine_does(running, worker, carol):
    """Slots with links, pid, elapsed; outcome and cause of what ended; GPUs, CPU and memory; the last day."""
    experiment = running(taken=4, concurrency=4)
    runs, good, bad, lost = experiment.trials.filter(state="running").order_by("number")
    runs.begun(pid=4711)
    good.settle(Outcome(value=0.5, exit_code=0, peak_memory=2_100_000_000))
    bad.settle(Outcome(failure="exit_code", exit_code=3, detail="KeyError: 'x'"))
    lost.settle(Outcome.lost("The worker w1 was lost."))
    again = Trial.take(worker, ["default"])
    again.settle(Outcome(value=0.4))
    gpu = {"name": "NVIDIA A100", "use": 0.92, "memory_used": 4e10, "memory": 8e10}
    machine = {"cores": 8, "cpu": 0.425, "load": 3.1, "memory_used": 8e9, "memory": 64e9, "gpus": [gpu]}
    assert worker.heartbeat(machine)
    at = timezone.now() - timedelta(hours=1)
    measured = {"slot_s": 900 * 8, "busy_s": 900 * 2, "cpu": 0.5, "memory": 8e9}
    Usage.objects.create(worker=worker, at=at, until_at=at + timedelta(minutes=15), **measured)
    html = page(as_(carol))
    for number in (1, 2, 3, 4):
        assert reverse("trial", args=["lab", experiment.public_id, number]) in html
    for text in (
        *("1/8", "pid 4711", "7 slots free", "42%, load 3.1", "8.0 GB of 64.0 GB", "25%"),
        *("NVIDIA A100: 92%, 40.0 GB of 80.0 GB", "2.1 GB", "Exit code 3: KeyError: &#x27;x&#x27;"),
        *(
            "Worker lost",
            "1 lost with this worker",
            "2 succeeded, 2 failed",
            'class="spark is-long"',
            "Working",
        ),
    ):
        assert text in html, text
    assert html.index("#4</a>") < html.index("#3</a>"), "the latest stands first"
    assert "Drain" not in html, "only an administrator may"
    head = re.compile(r"<th[^>]*>\s*Slots\s*</th>")
    assert head.search(page(as_(carol), show="data")) and not head.search(html)


def test_what_i_may_not_see_is_named_by_what_it_is(others, bob, dave, worker, root):
    """docs/behaviors.md, Terms: neither name nor ID, running or ended; queues that I may not use are counted."""

    def told_to(user: User) -> str:
        html = page(as_(user))
        assert "up-there" in page(as_(root)) and "hush-hush" in page(as_(root))
        return html

    html = told_to(bob)
    assert ">private<" in html and ">another workspace<" in html and "1 more" in html
    for trial in Trial.objects.filter(state="running"):
        trial.settle(Outcome(failure="exit_code", detail="secret words"))
    after = told_to(bob)
    assert "No trials you have access to" in after and "2 failed" in after
    for name in (
        "hush-hush",
        "up-there",
        *(user.public_id for user in others),
        "gpu-of-attic",
        "secret words",
    ):
        assert name not in html and name not in after
    seen = told_to(dave)
    assert "gpu-of-attic" in seen and "up-there" in seen and "hush-hush" not in seen


def test_it_says_why_it_takes_nothing(running, worker, bob, root):
    """TD-X5: drained by whom, silent and since when, what cannot be killed and holds a slot, gone."""
    running(taken=1, concurrency=1)
    assert "No running trials" not in page(as_(bob)) and "callout" not in page(as_(bob))
    worker.heartbeat({"disk_free": 4096, "disk": 50_000_000_000})
    assert "Disk full" in page(as_(bob)) and "4.1 kB of 50.0 GB free" in page(as_(bob))
    worker.drain(by=root)
    html = page(as_(bob))
    assert "Drained by root since" in html and "1 trial can finish first" in html
    assert reverse("worker-action", args=["w1", "undrain"]) not in html
    assert reverse("worker-action", args=["w1", "undrain"]) in page(as_(root))
    worker.undrain(by=root)
    trial = Trial.objects.get(state="running")
    trial.settle(Outcome(survivors=(77, 78)))
    assert worker.heartbeat({"stuck": [{"trial": trial.pk, "pids": [77, 78]}]})
    html = page(as_(bob))
    assert "1 slot out of service" in html and "2 processes could not be killed: pid 77, 78" in html
    assert "7 slots free" in html, "and in none of them anything runs"
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=12))
    html = page(as_(bob))
    late = re.search(r"Late, last heartbeat (\d+) s ago; 0 trials running", html)
    assert "Unresponsive" in html and late and int(late[1]) >= 12
    Worker.objects.get(name="w1").leave()
    html = page(as_(bob))
    assert "Offline since" in html and "out of service" not in html
    Worker.objects.get(name="w1").forget(by=root)
    assert as_(bob).get(reverse("worker", args=["w1"])).status_code == 404


def test_a_worker_tells_what_it_could_not_kill(tmp_path):
    """TD-X5: with the look at its machine; each takes a slot out of service."""
    worker = LocalWorker(name="w1", queues=["default"], slots=2, data=tmp_path)
    worker.ending.set()
    worker._watch_machine()
    assert "stuck" not in worker._machine and worker.out_of_service == 0
    worker.stuck.append({"trial": 7, "pids": [77]})
    worker._watch_machine()
    assert worker._machine["stuck"] == [{"trial": 7, "pids": [77]}] and worker.out_of_service == 1


def test_it_asks_the_same_few_questions_whatever_ran_there(running, worker, carol):
    """A fixed number of queries; an unchanged poll draws nothing."""
    client, url = as_(carol), reverse("worker", args=["w1"])

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(client)
        return len(captured)

    running("a", taken=2, concurrency=2)
    first = Trial.objects.first()
    first.settle(Outcome(value=0.5))
    few = queries()
    for name in ("b", "c"):
        experiment = running(name, taken=3, concurrency=3)
        for trial in experiment.trials.filter(state="running")[:2]:
            trial.settle(Outcome(value=0.5))
    assert queries() == few <= 17
    captured = {"HX-Request": "true", "HX-Target": "worker"}
    answer = client.get(url, headers=captured)
    again = client.get(url, headers={**captured, "If-None-Match": answer["ETag"]})
    Trial.objects.filter(state="running").first().begun(pid=5)
    news = client.get(url, headers={**captured, "If-None-Match": answer["ETag"]})
    assert (answer.status_code, again.status_code, news.status_code) == (200, 304, 200)
