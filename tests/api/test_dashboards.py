"""TD-D2: dashboards and share links in the API."""

from __future__ import annotations

from django.test import Client

from experiments.models import Dashboard, ShareLink


def test_dashboards_are_listed_created_and_deleted(api, lab, running, alice, bob, carol):
    experiment = running("resnet")
    made = api(bob).post("/workspaces/lab/dashboards", {"name": "CVPR", "is_shared": True}).json()
    board = Dashboard.objects.get()
    assert (made["id"], made["name"], made["owner"], made["tiles"]) == (board.pk, "CVPR", "bob", [])
    board.add("chart", experiment=experiment, chart="history", title="about resnet")
    board.add("text", text="x")
    (row,) = api(carol).get("/workspaces/lab/dashboards").json()["items"]
    assert [(tile["kind"], tile["experiment"]) for tile in row["tiles"]] == [
        ("chart", experiment.public_id),
        ("text", None),
    ]
    experiment.describe(by=alice, visibility="private")
    tile = api(carol).get(f"/workspaces/lab/dashboards/{board.pk}").json()["tiles"][0]
    assert (tile["experiment"], tile["title"]) == (None, ""), "a private experiment leaves no name"
    Dashboard.create(lab, by=alice, name="alice's")
    assert len(api(bob).get("/workspaces/lab/dashboards").json()["items"]) == 1
    assert api(bob).post("/workspaces/lab/dashboards", {"name": " "}).status_code == 422
    assert api(bob).delete(f"/workspaces/lab/dashboards/{board.pk}").status_code == 204


def test_links_are_created_listed_and_revoked(api, lab, running, alice, bob):
    """The address is in the response to POST alone, and stored nowhere."""
    board = Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
    board.add("text", text="contents")
    made = (
        api(bob).post("/workspaces/lab/links", {"dashboard": board.pk, "name": "Reviewers", "days": 1}).json()
    )
    assert Client().get(made["url"]).content.count(b"contents")
    (row,) = api(alice).get("/workspaces/lab/links").json()["items"]
    assert (row["name"], row["created_by"], row["dashboard"], row["url"]) == (
        "Reviewers",
        "bob",
        board.pk,
        None,
    )
    stored = api(bob).post("/workspaces/lab/links", {"dashboard": board.pk}, Idempotency_Key="k")
    assert stored.status_code == 400 and ShareLink.objects.count() == 1
    assert api(alice).delete(f"/workspaces/lab/links/{row['id']}").status_code == 204
    assert api(alice).delete(f"/workspaces/lab/links/{row['id']}").status_code == 204
    assert Client().get(made["url"]).status_code == 404
    private = running("hidden")
    private.describe(by=alice, visibility="private")
    for body, status in (
        ({}, 422),
        ({"dashboard": board.pk, "experiment": private.public_id}, 422),
        ({"dashboard": 999_999}, 404),
        ({"experiment": private.public_id}, 409),
        ({"dashboard": board.pk, "days": 400}, 422),
    ):
        assert api(alice).post("/workspaces/lab/links", body).status_code == status, body
