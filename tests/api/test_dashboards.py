"""TD-D2: dashboards and share links in the API."""

from __future__ import annotations

from django.test import Client

from experiments.models import Dashboard, Project, SavedView, ShareLink
from tests.people import as_


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


def test_a_tile_is_added_changed_moved_and_removed(api, lab, running, alice, bob, carol):
    """What the buttons on the page do; each change can be undone, and nothing is lost by changing a part."""
    experiment = running("resnet")
    board = Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
    tiles = f"/workspaces/lab/dashboards/{board.pk}/tiles"
    chart = {"kind": "chart", "experiment": experiment.public_id, "options": {"chart": "edf"}}
    first = api(bob).post(tiles, {**chart, "title": "Values"}).json()
    assert (first["place"], first["width"], first["options"]) == (1, 4, {"chart": "edf"})
    number = {"kind": "number", "project": "Default", "width": 3, "options": {"figure": "best"}}
    second = api(bob).post(tiles, {**number, "place": 1}).json()
    assert (second["place"], second["width"], second["project"]) == (1, 3, "Default")
    url = f"{tiles}/{first['id']}"
    assert api(carol).get(url).json() == {**first, "place": 2}
    body = {"options": {"objective": experiment.metric}, "place": 1, "width": 6}
    changed = api(bob).send("PATCH", url, body).json()
    options = {"chart": "edf", "objective": experiment.metric}
    assert changed == {**first, "place": 1, "width": 6, "options": options}
    undone = api(bob).post(f"/workspaces/lab/dashboards/{board.pk}/undo").json()["tiles"]
    assert undone == [second, {**first, "place": 2}], "place, width and option were one change"
    assert api(carol).send("PATCH", url, {"place": 1}).status_code == 403
    assert api(carol).delete(url).status_code == 403
    assert api(bob).delete(url).status_code == 204
    assert api(bob).delete(url).status_code == 404 and api(bob).get(url).status_code == 404
    assert api(bob).send("PATCH", url, {"place": 1}).status_code == 404


def test_tiles_are_posted_once_with_an_idempotency_key(api, lab, alice):
    board = Dashboard.create(lab, by=alice, name="CVPR")
    path = f"/workspaces/lab/dashboards/{board.pk}/tiles"
    caller = api(alice)
    sent = [caller.post(path, {"kind": "capacity"}, Idempotency_Key="k") for _ in range(2)]
    assert sent[0].json() == sent[1].json() and board.tiles.count() == 1


def test_a_dashboard_is_copied_by_posting_what_was_read(api, lab, running, alice, bob):
    """All kinds of tiles, in their order, to their last option."""
    experiment = running("resnet")
    view = SavedView.create(lab, by=alice, name="failed", query="filter=state:failed", is_shared=True)
    tiles = [
        {"kind": "chart", "experiment": experiment.public_id, "options": {"chart": "history"}, "width": 6},
        {"kind": "leaderboard", "project": "Default", "options": {"metric": "loss", "by_mean": True}},
        {"kind": "view", "view": view.pk},
        {"kind": "number", "options": {"figure": "trials"}},
        {"kind": "capacity", "title": "Machines"},
        {"kind": "text", "text": "# Plan", "width": 2},
    ]
    made = api(alice).post("/workspaces/lab/dashboards", {"name": "a", "tiles": tiles}).json()
    sent = [{k: v for k, v in tile.items() if k not in ("id", "place")} for tile in made["tiles"]]
    copy = api(alice).post("/workspaces/lab/dashboards", {"name": "b", "tiles": sent}).json()
    assert [{**tile, "id": 0} for tile in copy["tiles"]] == [{**tile, "id": 0} for tile in made["tiles"]]
    assert [tile["kind"] for tile in copy["tiles"]] == [tile["kind"] for tile in tiles]
    duplicate = api(alice).post(f"/workspaces/lab/dashboards/{copy['id']}/duplicate").json()
    assert (duplicate["name"], len(duplicate["tiles"])) == ("Copy of b", 6)
    path = f"/workspaces/lab/dashboards/{made['id']}"
    assert api(alice).send("PATCH", path, {"is_on_wall": True}).status_code == 422, "nobody else sees it"
    shared = api(alice).send("PATCH", path, {"is_shared": True, "is_on_wall": True}).json()
    assert (shared["name"], shared["is_shared"], shared["is_on_wall"]) == ("a", True, True)
    assert api(bob).send("PATCH", path, {"is_shared": False}).status_code == 403
    assert api(bob).send("PATCH", path, {"name": "c", "is_on_wall": False}).json()["name"] == "c"
    board = Dashboard.objects.get(pk=made["id"])
    page = as_(bob).get(f"/w/lab/dashboards/{board.pk}/").content.decode()
    assert all(tile.pk and f"tile-{tile.pk}" in page for tile in board.tiles.all())


def test_an_error_names_the_tile_and_its_field(api, lab, running, alice, bob):
    """And nothing is created then."""
    experiment, private = running("resnet"), running("hidden")
    private.describe(by=alice, visibility="private")
    chart = {"kind": "chart", "experiment": experiment.public_id}
    for tile, field in (
        ({"kind": "chart"}, "experiment"),
        ({"kind": "chart", "experiment": "nosuchid"}, "experiment"),
        ({"kind": "chart", "experiment": private.public_id}, "experiment"),
        ({**chart, "options": {"chart": "pie"}}, "options.chart"),
        ({**chart, "options": {"chart": "pareto"}}, "options.chart"),
        ({**chart, "options": {"objective": "no\0ne"}}, "options.objective"),
        ({**chart, "options": {"figure": "best"}}, "options.figure"),
        ({**chart, "text": "x"}, "text"),
        ({"kind": "number"}, "options.figure"),
        ({"kind": "number", "options": {"figure": "worst"}}, "options.figure"),
        ({"kind": "number", "project": "Nowhere", "options": {"figure": "best"}}, "project"),
        ({"kind": "view"}, "view"),
        ({"kind": "view", "view": 10**30}, "view"),
        ({"kind": "text", "text": " "}, "text"),
        ({"kind": "text", "text": "x", "width": 5}, "width"),
        ({"kind": "text", "text": "x", "color": "red"}, "color"),
        ({"kind": "pie"}, "kind"),
        ({"kind": "leaderboard", "options": {"direction": "up"}}, "options.direction"),
    ):
        body = {"name": "x", "tiles": [{"kind": "capacity"}, tile]}
        answer = api(bob).post("/workspaces/lab/dashboards", body)
        assert (answer.status_code, list(answer.json()["fields"])) == (422, [f"tiles.1.{field}"]), tile
    many = api(bob).post("/workspaces/lab/dashboards", {"name": "x", "tiles": [{"kind": "capacity"}] * 21})
    assert many.json()["fields"] == {"tiles": ["This must have at most 20 items."]}
    assert not Dashboard.objects.exists()
    board = Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
    two_objectives = running("two objectives", further_objectives={"latency_ms": "minimize"})
    tile = board.add("chart", experiment=two_objectives, chart="history", title="secret")
    two_objectives.describe(by=alice, visibility="private")
    url = f"/workspaces/lab/dashboards/{board.pk}/tiles/{tile.pk}"
    assert api(bob).get(url).json()["options"] == {}
    answer = api(bob).send("PATCH", url, {"options": {"objective": "x"}})
    assert list(answer.json()["fields"]) == ["experiment"] and "latency" not in answer.content.decode()
    assert api(bob).send("PATCH", url, {"experiment": experiment.public_id}).status_code == 200


def test_a_tile_of_a_deleted_project_does_not_become_one_of_all(api, lab, alice):
    board = Dashboard.create(lab, by=alice, name="CVPR")
    project = Project.objects.create(workspace=lab, name="vision")
    tile = board.add("leaderboard", project=project)
    project.delete()
    url = f"/workspaces/lab/dashboards/{board.pk}/tiles/{tile.pk}"
    assert list(api(alice).send("PATCH", url, {"title": "Best"}).json()["fields"]) == ["project"]
    assert api(alice).send("PATCH", url, {"title": "Best", "project": None}).status_code == 200
