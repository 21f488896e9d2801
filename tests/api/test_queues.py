"""Queues and workers through the programs' door."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from experiments.models import Queue, Worker, Workspace
from tests.api.test_base import error_of


def test_a_queue_tells_who_waits_and_who_serves_it(api, in_state, bob, worker):
    in_state("pending")
    Queue.objects.create(name="gpu", is_open=True)
    Worker.register("w2", host="there", pid=2, queues=["gpu", "default"], slots=2, lease_s=15)
    Worker.objects.filter(name="w2").update(is_draining=True)
    body = api(bob).get("/queues").json()["items"]
    assert body == [
        {
            "name": "default",
            "is_paused": False,
            "is_served": True,
            "waiting": 1,
            "workers": ["w1", "w2"],
            "slots": 8,
        },
        {"name": "gpu", "is_paused": False, "is_served": False, "waiting": 0, "workers": ["w2"], "slots": 0},
    ]
    draining = "the only worker of queue gpu, w2, is draining"
    assert api(bob).get("/queues/gpu").json() == {**body[1], "obstacle": draining}
    error_of(api(bob).get("/queues/tpu"), 404)


def test_a_queue_that_none_of_my_workspaces_may_use_does_not_exist(api, bob, dave, lab):
    other = Workspace.open("other", owner=dave)
    Queue.objects.create(name="secret").workspaces.add(other)
    Workspace.objects.get(slug="other").admit(bob, "viewer")
    error_of(api(bob).get("/queues/secret"), 404)  # the token is lab's
    assert api(bob, workspace=other).get("/queues/secret").status_code == 200
    assert api(bob, workspace=None).get("/queues/secret").status_code == 200


def test_a_queue_tells_which_resources_its_workers_lack(api, bob, worker):
    """NNI-E3: as the page of an experiment that waits for them."""
    Worker.objects.update(gpus=[0], memory_mib=2048)
    for query, obstacle in (
        ("", ""),
        ("?gpus=1&memory_mib=2048", ""),
        ("?gpus=2", "no worker of queue default has 2 GPUs (--gpus)"),
        ("?gpus=1&memory_mib=4096", "no worker of queue default has 4 GiB of memory (--memory)"),
    ):
        assert api(bob).get(f"/queues/default{query}").json()["obstacle"] == obstacle
    detail = error_of(api(bob).get("/queues/default?gpus=-1"), 400)["detail"]
    assert detail == "Invalid gpus: “-1”. This must be at least 0."


def test_a_worker_tells_where_it_is_and_that_it_lives(api, running, bob, worker):
    running(taken=2)
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=5), cores=[0, 1], memory_mib=2048)
    body = api(bob).get("/workers/w1").json()
    assert 5 <= body.pop("age_s") < 300 and body.pop("heard_at").endswith("Z")
    assert body == {
        "name": "w1",
        "host": "here",
        "queues": ["default"],
        "slots": 8,
        "running": 2,
        "gpus": [],
        "cores": [0, 1],
        "memory_mib": 2048,
        "limits_memory_by": None,
        "isolation": "none",
        "is_draining": False,
        "draining_until": None,
        "gone_at": None,
    }
    error_of(api(bob).get("/workers/w2"), 404)
    assert [row["name"] for row in api(bob).get("/workers").json()["items"]] == ["w1"]


def test_administrators_pause_queues_and_drain_workers(api, alice, root, worker):
    """docs/behaviors.md, Terms; a token of one workspace may not, whoever made it."""
    for path in (
        "/queues/default/pause",
        "/queues/default/unpause",
        "/workers/w1/drain",
        "/workers/w1/undrain",
    ):
        for caller in (api(alice), api(root)):
            assert "administrator" in error_of(caller.post(path), 403)["detail"]
    caller = api(root, workspace=None)
    assert caller.post("/queues/default/unpause").json()["changed"] is False
    body = caller.post("/queues/default/pause").json()
    assert (body["changed"], body["queue"]["is_paused"]) == (True, True)
    assert caller.post("/queues/default/unpause").json()["changed"] is True
    body = caller.post("/workers/w1/drain").json()
    assert (body["changed"], body["worker"]["is_draining"]) == (True, True)
    assert caller.get("/queues/default").json()["is_served"] is False
    assert caller.post("/workers/w1/drain").json()["changed"] is False
    assert caller.post("/workers/w1/undrain").json()["changed"] is True


def test_lists_of_queues_and_workers_are_a_fixed_number_of_queries(api, bob, lab, django_assert_num_queries):
    caller = api(bob)
    caller.get("/queues")
    for count in (1, 30):
        for number in range(count):
            Queue.objects.create(name=f"q{count}-{number}", is_open=True)
            Worker.register(f"w{count}-{number}", host="x", pid=1, queues=["default"], slots=1, lease_s=15)
        for path, most in (("/queues", 5), ("/workers", 4)):
            with django_assert_num_queries(most):
                assert len(caller.get(path).json()["items"]) >= count
