"""Workers in the browser (CML-Q3)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments import database_clock
from experiments.models import Experiment, Queue, Trial, Worker, Workspace
from tests.people import as_, look_at, make_settings

pytestmark = pytest.mark.once

MACHINE = {
    "cores": 8,
    "cpu": 0.425,
    "load": 3.1,
    "memory_used": 8_000_000_000,
    "memory": 64_000_000_000,
    "gpus": [{"name": "NVIDIA A100", "use": 0.92, "memory_used": 40_000_000_000, "memory": 80_000_000_000}],
}


def page(client: Client) -> str:
    response = client.get(reverse("workers"))
    assert response.status_code == 200
    return response.content.decode()


def test_a_worker_tells_what_it_runs_and_how_its_machine_does(running, worker, carol):
    """CML-Q3: machine, queues, slots, running trials as links, CPU, memory, GPU, heartbeat age."""
    experiment = running(taken=2)
    assert worker.heartbeat(MACHINE)
    Worker.objects.update(lease_s=3600)  # not late, however slow the machine is
    html = page(as_(carol))
    assert reverse("trial", args=["lab", experiment.public_id, 1]) in html
    for text in ("2/8", "here, 8 cores", "42%", "load 3.1", "8.0 GB", "of 64.0 GB", "Working"):
        assert text in html, text
    assert "NVIDIA A100: 92%, 40.0 GB of 80.0 GB" in html
    assert "Drain" not in html.replace("A draining", ""), "only an administrator may"
    assert "reserved: " not in html and "Memory is not limited on here: memory requested by trials" in html
    Worker.objects.update(cores=[0, 1, 2], memory_mib=24 << 10, limits_memory_by="cgroup v2")
    Trial.objects.filter(number=2).update(cores=[0, 1], memory_mib=512)
    html = page(as_(carol))
    assert "reserved: 2 of 3 cores, 512 MiB of 24 GiB" in html and "not limited" not in html
    assert "disk full" not in html
    worker.heartbeat({**MACHINE, "disk_free": 4096, "disk": 50_000_000_000})
    assert "disk full, 4.1 kB of 50.0 GB left" in page(as_(carol))


def test_with_several_hosts_it_says_where_artifacts_are(worker, root):
    """TD-S1: what a newcomer would miss on the second machine."""
    sentence = "Artifacts stay on their worker's machine. Set an output destination"
    Worker.register("w2", host="here", pid=2, queues=["default"], slots=1, lease_s=3600)
    assert sentence not in page(as_(root)), "two workers of one machine"
    other = Worker.register("w3", host="there", pid=3, queues=["default"], slots=1, lease_s=3600)
    assert sentence in page(as_(root))
    Worker.objects.filter(pk=other.pk).update(gone_at=timezone.now())
    assert sentence not in page(as_(root))


def test_what_i_may_not_see_is_counted_and_not_named(running, worker, lab, alice, bob, dave, root):
    """docs/behaviors.md, Terms: on this page, too; a queue that I may not use is not named either."""
    hidden = running("hush-hush", taken=1, concurrency=1)
    hidden.describe(by=alice, visibility="private")
    attic = Workspace.open("attic", owner=dave)
    theirs = Experiment.draft(attic, by=dave, name="up-there", settings=make_settings())
    theirs.enqueue(by=dave)
    look_at(theirs)
    Trial.take(worker, ["default"]), Trial.take(worker, ["default"])
    Queue.create("gpu-of-attic", by=root, workspaces=[attic])
    Worker.objects.update(queues=["default", "gpu-of-attic"])
    html = page(as_(bob))
    assert "1 private" in html and "2 of another workspace" in html and "default and 1 more" in html
    for name in ("hush-hush", "up-there", hidden.public_id, theirs.public_id, "gpu-of-attic", "attic"):
        assert name not in html
    assert "gpu-of-attic" in page(as_(dave)) and "up-there" in page(as_(dave))


def test_an_administrator_drains_releases_and_forgets(running, worker, root):
    """CML-Q3: drain and undrain at once; release asks; a gone worker is marked, and can be forgotten."""
    running(taken=1)
    client = as_(root)

    def verb(name: str) -> str:
        return reverse("worker-action", args=["w1", name])

    assert client.post(verb("drain")).status_code == 302
    assert "Draining" in page(client) and verb("undrain") in page(client)
    assert "is already draining" in client.post(verb("drain"), follow=True).content.decode()
    assert client.post(verb("undrain")).status_code == 302
    refused = client.post(verb("forget"))
    assert refused.status_code == 409 and "Drain it and stop its process first" in refused.content.decode()
    assert "1 running trial will be lost" in client.get(verb("release")).content.decode()
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=12))
    assert "Unresponsive" in page(client) and verb("release") in page(client)
    assert client.post(verb("release")).status_code == 302
    assert ">Offline<" in page(client)
    assert client.post(verb("forget")).status_code == 302
    assert "No workers running" in page(client) and "trialdeck worker --queue default" in page(client)
    assert client.post(verb("forget")).status_code == 404
    assert client.get(reverse("worker-action", args=["w1", "explode"])).status_code == 404


def test_it_has_a_fixed_number_of_queries(running, worker, bob):
    """A fixed number of queries: whatever the number of workers, trials, workspaces."""

    client = as_(bob)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(client)
        return len(captured)

    running(taken=1)
    few = queries()
    for number in range(4):
        running(f"n{number}", taken=2)
        Worker.register(f"w2{number}", host="h", pid=1, queues=["default"], slots=1, lease_s=15).leave()
    assert queries() == few <= 10


def test_a_worker_that_shuts_down_says_until_when_it_drains(running, worker, carol):
    """TD-S1: on both pages and in the API; once it is gone, nothing of it is left."""
    running(taken=1)
    until = database_clock.now() + timedelta(minutes=10)
    assert worker.heartbeat(draining_until=until)
    time = f"{timezone.localtime(until):%H:%M}"
    html = page(as_(carol))
    assert "Draining" in html and re.search(f"until <time[^>]*>{time}</time>", html)
    html = as_(carol).get(reverse("worker", args=[worker.name])).content.decode()
    assert re.search(f"Draining, until <time[^>]*>{time}</time>", html)
    body = as_(carol).get(f"/api/v1/workers/{worker.name}").json()
    assert body["is_draining"] and body["draining_until"]
    worker.leave()
    assert "until <time" not in page(as_(carol))
    assert as_(carol).get(f"/api/v1/workers/{worker.name}").json()["draining_until"] is None
