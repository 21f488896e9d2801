"""Machines are shown to the people whose trials may run there, and to nobody else."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import Queue, Worker, Workspace
from tests.api.caller import api  # noqa: F401  the fixture
from tests.people import as_

pytestmark = [pytest.mark.django_db]

MACHINE = {"cores": 8, "cpu": 0.425, "load": 3.1, "memory_used": 8_000_000_000, "memory": 64_000_000_000}
PAGES = ("home", "workers", "queues", "workspaces")


@pytest.fixture
def machines(worker, running) -> list[Worker]:
    """One that serves all workspaces, busy, and one that serves a queue of the workspace `attic` alone."""
    running(taken=2)
    worker.heartbeat(MACHINE)
    theirs = Queue.objects.create(name="upstairs")
    theirs.workspaces.add(Workspace.open("attic"))
    own = Worker.register(
        "loft", host="loft.example", pid=4711, queues=["upstairs"], slots=16, lease_s=15,
        container="", gpus=[], cores=[], memory_mib=0, limits_memory_by="",
    )  # fmt: skip
    own.heartbeat(MACHINE)
    return [worker, own]


def test_who_is_in_no_workspace_sees_no_machine(machines, dave):
    """TD-Z4: no name, host, process, slot or load: on pages, in their fragments and in the API."""
    client = as_(dave)
    for name in PAGES:
        html = client.get(reverse(name), follow=True).content.decode()
        for secret in (
            *(machine.name for machine in machines),
            "loft.example",
            "0/16",
            "2/8",
            "load 3.1",
            "42%",
        ):
            assert f">{secret}<" not in html and f" {secret} " not in html, (name, secret)
    for machine in machines:
        assert client.get(reverse("worker", args=[machine.name])).status_code == 404
    html = client.get(reverse("queue", args=["default"])).content.decode()
    assert f">{machines[0].name}<" not in html and "2/8" not in html
    assert client.get("/api/v1/workers").json()["items"] == []
    assert client.get(f"/api/v1/workers/{machines[0].name}").status_code == 404
    assert [queue["workers"] for queue in client.get("/api/v1/queues").json()["items"]] == [[]]
    assert client.get("/api/v1/queues/default").json()["workers"] == []


def test_members_see_the_machines_of_their_queues(machines, carol, root, api):  # noqa: F811
    """TD-Z4: and administrators all."""
    shared, theirs = machines
    for client, seen in ((as_(carol), [shared]), (as_(root), machines)):
        names = [row["name"] for row in client.get("/api/v1/workers").json()["items"]]
        assert sorted(names) == sorted(machine.name for machine in seen)
        html = client.get(reverse("workers")).content.decode()
        assert ("loft" in html) == (theirs in seen) and shared.name in html
        assert client.get(reverse("worker", args=["loft"])).status_code == (200 if theirs in seen else 404)
        slots = "2/24" if theirs in seen else "2/8"
        assert slots in client.get(reverse("queues")).content.decode()
        assert slots in client.get(reverse("home"), follow=True).content.decode()
    assert [row["name"] for row in api(carol).get("/workers").json()["items"]] == [shared.name]
