"""TD-D2: dashboards of a team: tiles of a closed set, arranged with buttons, seen by whom they should be seen."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Dashboard, Experiment, Invalid, Project, Refused, SavedView, Tile
from experiments.models.dashboards import dashboard as dashboards
from experiments.web.dashboards.tile_content import DRAW
from tests.people import as_
from tests.web.dashboards.pages import INDEX, fill, page, places, url_of


def test_a_dashboard_shows_tiles_of_every_kind(board, ended, worker, alice, carol):
    """TD-D2: a chart of an experiment, leaderboard, saved view, number, capacity, text."""
    fill(board, ended, alice)
    assert {tile.kind for tile in board.tiles.all()} == set(DRAW)
    html = page(carol, board)
    for text in (
        "resnet",
        "Leaderboard: Default",
        "All of them",
        "Good ones",
        "Best accuracy",
        "Capacity",
        "Slot hours",
    ):
        assert text in html, text
    assert html.count("0.9000") >= 4 and "#2" in html
    assert "<strong>bold</strong>" in html
    assert "<script>alert" not in html and 'href="javascript' not in html
    assert len(re.findall(r'id="(tile-\d+)"', html)) == board.tiles.count()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)), "also of the same chart twice"


def test_every_chart_of_an_experiment_can_be_a_tile(board, ended, carol):
    from experiments.web.charts.panels import PANELS

    experiment = ended("resnet", 0.5, 0.9)
    for chart in PANELS:
        board.add("chart", experiment=experiment, chart=chart, title=f"The {chart}")
    html = page(carol, board)
    assert all(f"The {chart}" in html for chart in PANELS)


def test_tiles_are_arranged_with_buttons_alone(board, bob):
    """TD-D2: add, change, move, widen, narrow, remove, undo: forms, without a script."""
    client = as_(bob)
    for title in ("a", "b", "c"):
        answer = client.post(url_of(board, "add/text/"), {"title": title, "text": "x"})
        assert answer.status_code == 302
    assert places(board) == ["a", "b", "c"]
    a, b, c = board.tiles.all()

    def press(button: str) -> None:
        html = client.get(url_of(board, "edit/")).content.decode()
        assert f'value="{button}"' in html, button
        assert client.post(url_of(board, "arrange/"), {"do": button}).status_code == 302

    press(f"up:{c.pk}")
    assert places(board) == ["a", "c", "b"]
    press(f"down:{a.pk}")
    assert places(board) == ["c", "a", "b"]
    press(f"wider:{b.pk}")
    assert board.tiles.get(pk=b.pk).width == 3
    press(f"narrower:{b.pk}")
    assert board.tiles.get(pk=b.pk).width == 2
    press(f"remove:{a.pk}")
    assert places(board) == ["c", "b"]
    press("undo")
    assert places(board) == ["c", "a", "b"]
    press("undo")
    assert places(board) == ["c", "b"], "undo of the undo"
    changed = client.post(url_of(board, f"tiles/{b.pk}/edit/"), {"title": "new", "text": "y"})
    assert changed.status_code == 302 and places(board) == ["c", "new"]


def test_ends_and_tiles_that_are_gone_change_nothing(board, bob):
    first, second = board.add("text", title="a", text="x"), board.add("text", title="b", text="x")
    client, former = as_(bob), Dashboard.objects.get().former
    for button in (
        f"up:{first.pk}",
        f"down:{second.pk}",
        f"narrower:{first.pk}",
        "remove:999999",
        "wider:x",
        "up:",
    ):
        assert client.post(url_of(board, "arrange/"), {"do": button}).status_code == 302
    assert places(board) == ["a", "b"] and Dashboard.objects.get().former == former, (
        "undo is about real changes"
    )
    for nonsense in ("", "fly:1", "undo_all"):
        assert client.post(url_of(board, "arrange/"), {"do": nonsense}).status_code == 409


def test_a_viewer_looks_an_operator_edits_an_owner_owns(board, lab, alice, bob, carol, dave):
    """TD-D2: shared with the workspace, or seen by one person alone."""
    mine = Dashboard.create(lab, by=bob, name="bob's own")
    tile = board.add("text", text="x")
    for rest in ("edit/", "add/text/", f"tiles/{tile.pk}/edit/", "delete/"):
        assert as_(carol).get(url_of(board, rest)).status_code == 403, rest
        assert as_(dave).get(url_of(board, rest)).status_code == 404, rest
        assert as_(alice).get(url_of(mine, rest)).status_code == 404, rest
    assert as_(bob).get(url_of(board, "delete/")).status_code == 403, "it is alice's"
    assert as_(alice).get(url_of(mine)).status_code == 404
    assert "bob's own" not in as_(alice).get(INDEX).content.decode()
    assert "bob&#x27;s own" not in as_(alice).get(INDEX).content.decode()
    assert "bob&#x27;s own" in as_(bob).get(INDEX).content.decode()
    shared = as_(bob).post(url_of(mine, "settings/"), {"name": "bob's", "visibility": "workspace"})
    assert shared.status_code == 302 and as_(carol).get(url_of(mine)).status_code == 200
    hidden = as_(bob).post(url_of(board, "settings/"), {"name": "Renamed", "visibility": "private"})
    board.refresh_from_db()
    assert hidden.status_code == 302 and board.name == "Renamed" and board.is_shared, (
        "who sees it, alice decides"
    )
    assert as_(alice).post(url_of(mine, "delete/")).status_code == 302, "an owner of the workspace may"


def test_dashboards_are_created_renamed_duplicated_and_deleted(lab, alice, bob, carol):
    """TD-D2: several of a workspace."""
    client = as_(bob)
    assert "No dashboards" in client.get(INDEX).content.decode()
    assert as_(carol).get(f"{INDEX}new/").status_code == 403
    created = client.post(f"{INDEX}new/", {"name": "  Churn   weekly ", "visibility": "workspace"})
    board = Dashboard.objects.get()
    assert created["Location"] == url_of(board, "edit/") and board.name == "Churn weekly"
    board.add("text", title="note", text="x")
    assert as_(carol).post(url_of(board, "duplicate/")).status_code == 403
    assert as_(alice).post(url_of(board, "duplicate/")).status_code == 302
    copy = Dashboard.objects.exclude(pk=board.pk).get()
    assert (copy.name, copy.owner, copy.is_shared) == ("Copy of Churn weekly", alice, False)
    assert places(copy) == ["note"]
    question = client.get(url_of(board, "delete/")).content.decode()
    assert "Delete dashboard Churn weekly?" in question
    assert client.post(url_of(board, "delete/")).status_code == 302
    assert [row.pk for row in Dashboard.objects.all()] == [copy.pk] and Tile.objects.count() == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "\0"])
def test_a_bad_name_is_refused_in_the_form(lab, bob, name):
    answer = as_(bob).post(f"{INDEX}new/", {"name": name, "visibility": "workspace"})
    assert answer.status_code == 422 and not Dashboard.objects.exists()
    assert "name" in answer.context["form"].errors


def test_bad_tiles_are_refused_field_by_field(board, ended, lab, alice, bob, attic_experiment):
    """Also what exists, but not for this person or in this workspace."""
    hidden = ended("hidden", 0.5)
    hidden.describe(by=alice, visibility="private")
    foreign = attic_experiment.workspace.projects.get()
    view = SavedView.create(lab, by=alice, name="alice's", query="")
    client = as_(bob)
    for kind, values, field in (
        ("chart", {"experiment": "", "chart": "history"}, "experiment"),
        ("chart", {"experiment": "nothing-like-it", "chart": "history"}, "experiment"),
        ("chart", {"experiment": hidden.public_id, "chart": "history"}, "experiment"),
        ("chart", {"experiment": "hidden", "chart": "history"}, "experiment"),
        ("chart", {"experiment": attic_experiment.public_id, "chart": "history"}, "experiment"),
        ("chart", {"experiment": "a\0b", "chart": "pie"}, "chart"),
        ("leaderboard", {"project": foreign.pk}, "project"),
        ("leaderboard", {"direction": "up"}, "direction"),
        ("view", {"view": ""}, "view"),
        ("view", {"view": view.pk}, "view"),
        ("number", {"figure": "luck"}, "figure"),
        ("text", {"text": "  "}, "text"),
        ("text", {"text": "x" * 20_001}, "text"),
        ("capacity", {"title": "x" * 81}, "title"),
    ):
        answer = client.post(url_of(board, f"add/{kind}/"), values)
        assert answer.status_code == 422 and field in answer.context["tile_form"].errors, (kind, values)
    assert client.get(url_of(board, "add/pie/")).status_code == 404
    assert not board.tiles.exists()


@pytest.fixture
def attic_experiment(dave, draft):
    from experiments.models import Workspace
    from tests.people import make_settings

    attic = Workspace.open("attic", owner=dave)
    return Experiment.draft(attic, by=dave, name="up-there", settings=make_settings())


def test_an_experiment_is_chosen_by_id_or_unique_name(board, ended, bob):
    first, second = ended("twin", 0.5), ended("twin", 0.6)
    other = ended("only", 0.7)
    client = as_(bob)
    ambiguous = client.post(url_of(board, "add/chart/"), {"experiment": "Twin", "chart": "history"})
    assert ambiguous.status_code == 422
    assert first.public_id in ambiguous.content.decode() and second.public_id in ambiguous.content.decode()
    for text, wanted in ((second.public_id, second), (" Only ", other)):
        client.post(url_of(board, "add/chart/"), {"experiment": text, "chart": "history"})
        assert board.tiles.last().experiment == wanted


def test_a_tile_says_in_a_sentence_why_it_shows_nothing(board, ended, lab, alice, bob, carol):
    """TD-D2: what it was about was deleted, became private, or was moved; its title and name are not shown."""
    deleted, private, moved = ended("deleted-x", 0.1), ended("private-x", 0.2), ended("moved-x", 0.3)
    project = lab.projects.create(name="gone-project")
    view = SavedView.create(lab, by=alice, name="gone-view", query="", is_shared=True)
    closed = SavedView.create(lab, by=alice, name="closed-view", query="", is_shared=True)
    broken = SavedView.create(lab, by=alice, name="broken", query="filter=nonsense:1", is_shared=True)
    for experiment in (deleted, private, moved):
        board.add("chart", experiment=experiment, chart="history", title=f"About {experiment.name}")
    board.add("leaderboard", project=project)
    board.add("number", project=project, figure="best")
    board.add("view", view=view)
    board.add("view", view=closed)
    board.add("view", view=broken)
    Experiment.objects.filter(pk=deleted.pk).update(trashed_at=timezone.now())
    private.describe(by=alice, visibility="private")
    attic = type(lab).open("attic2")
    Experiment.objects.filter(pk=moved.pk).update(workspace=attic, project=attic.projects.get())
    project.delete()
    view.delete()
    closed.change(is_shared=False)
    html = page(carol, board)
    for sentence in (
        "The experiment for this tile was deleted.",
        "The experiment for this tile is private.",
        "The experiment for this tile was moved to another workspace.",
        "The saved view for this tile was deleted.",
        "The saved view for this tile is private.",
        "Invalid filter in this view",
    ):
        assert sentence in html, sentence
    assert html.count("The project for this tile was deleted.") == 2, "not those of all projects instead"
    for name in ("private-x", "moved-x", "deleted-x", "closed-view", "About private"):
        assert name not in html, name
    assert "About private-x" in page(alice, board), "an owner sees it"
    assert as_(bob).get(url_of(board, "edit/")).status_code == 200, "and it can be removed"


def test_private_experiments_are_in_no_tile_of_others(board, ended, alice, carol):
    """TD-D2: neither in a leaderboard, a saved view or a number, nor in counts."""
    fill(board, ended, alice)
    secret = ended("secret-run", 0.99)
    assert "secret-run" in page(carol, board) and "0.9900" in page(carol, board)
    secret.describe(by=alice, visibility="private")
    html = page(carol, board)
    assert "secret-run" not in html and "0.9900" not in html and secret.public_id not in html
    assert "secret-run" in page(alice, board)


def test_each_tile_is_a_fragment_with_an_entity_tag_of_its_own(board, ended, alice, carol):
    """TD-D2: unchanged is 304, whatever happens to the other tiles."""
    experiment = fill(board, ended, alice)
    client, tiles = as_(carol), list(board.tiles.all())

    def ask(tile: Tile, tag: str = "") -> object:
        key = f"tile-{tile.pk}"
        headers = {"HX-Request": "true", "HX-Target": key, "HX-Trigger": key}
        if tag:
            headers["If-None-Match"] = tag
        return client.get(url_of(board, f"tiles/{tile.pk}/"), headers=headers)

    tags = {}
    for tile in tiles:
        answer = ask(tile)
        assert answer.status_code == 200 and answer.content.count(b"<article") == 1
        assert f'id="tile-{tile.pk}"' in answer.content.decode()
        tags[tile.pk] = answer["ETag"]
        assert f"data-tag={tags[tile.pk]}" in answer.content.decode(), "which the browser sends back"
    assert len(set(tags.values())) == len(tiles)
    note = board.tiles.get(kind="text")
    note.change(text="changed")
    statuses = {
        tile.pk: ask(tile, tags[tile.pk]).status_code
        for tile in tiles
        if tile.kind in ("text", "view", "leaderboard")
    }
    assert statuses.pop(note.pk) == 200 and set(statuses.values()) <= {304, 200}
    assert list(statuses.values()).count(304) >= 2, "those of the same minute"
    plain = client.get(url_of(board, f"tiles/{note.pk}/"))
    assert plain.status_code == 302 and plain["Location"].endswith(f"#tile-{note.pk}")
    experiment.describe(by=alice, name="renamed")
    chart = board.tiles.get(kind="chart")
    assert b"renamed" in ask(chart, tags[chart.pk]).content


def test_the_page_has_a_fixed_number_of_queries(board, ended, running, worker, alice, carol):
    """TD-D2: however many experiments and trials there are."""
    fill(board, ended, alice)
    client = as_(carol)

    def queries() -> int:
        client.get(url_of(board))
        with CaptureQueriesContext(connection) as captured:
            client.get(url_of(board))
        return len(captured)

    first = queries()
    for number in range(4):
        ended(f"more-{number}", 0.1, 0.2, 0.3)
    assert queries() <= first
    with CaptureQueriesContext(connection) as one_tile:
        tile = board.tiles.get(kind="leaderboard")
        key = f"tile-{tile.pk}"
        client.get(url_of(board, f"tiles/{tile.pk}/"), headers={"HX-Request": "true", "HX-Target": key})
    assert len(one_tile) <= 16


def test_the_list_has_a_fixed_number_of_queries(board, lab, alice, carol):
    client = as_(carol)

    def queries() -> int:
        client.get(INDEX)
        with CaptureQueriesContext(connection) as captured:
            client.get(INDEX)
        return len(captured)

    first = queries()
    for number in range(5):
        Dashboard.create(lab, by=alice, name=f"d{number}", is_shared=True).add("text", text="x")
    assert queries() == first


def test_there_are_limits(board, lab, alice, bob, monkeypatch):
    monkeypatch.setattr(dashboards, "MOST_TILES", 2)
    monkeypatch.setattr(dashboards, "MOST", 2)
    board.add("text", text="x"), board.add("text", text="y")
    answer = as_(bob).post(url_of(board, "add/text/"), {"text": "z"})
    assert answer.status_code == 422 and "at most 2 tiles" in answer.content.decode()
    board.duplicate(by=bob)
    answer = as_(bob).post(f"{INDEX}new/", {"name": "third", "visibility": "private"})
    assert answer.status_code == 422 and "The workspace has 2 dashboards" in answer.content.decode()
    assert as_(bob).post(url_of(board, "duplicate/")).status_code == 409


def test_undo_leaves_out_what_is_deleted_meanwhile(board, lab, alice, ended):
    project = lab.projects.create(name="gone")
    tile = board.add("leaderboard", project=project)
    board.remove(tile.pk)
    Project.objects.filter(pk=project.pk).delete()
    board.undo()
    (tile,) = board.tiles.all()
    assert tile.project is None and tile.options["is_of_project"]
    fresh = Dashboard.create(lab, by=alice, name="fresh")
    with pytest.raises(Refused, match="Nothing to undo"):
        fresh.undo()


def test_a_tile_removed_meanwhile_is_refused(board, bob):
    tile = board.add("text", text="x")
    board.remove(tile.pk)
    with pytest.raises(Refused, match="Someone else removed this tile"):
        tile.change(text="y")
    assert as_(bob).get(url_of(board, f"tiles/{tile.pk}/edit/")).status_code == 404
    Dashboard.objects.filter(pk=board.pk).delete()
    with pytest.raises(Refused, match="Someone else deleted this dashboard"):
        board.add("text", text="z")


def test_only_a_shared_dashboard_is_on_the_wall(board):
    with pytest.raises(Invalid, match="Share the dashboard"):
        board.change(name="x", is_shared=False, is_on_wall=True)


def test_the_usage_figures_are_those_of_seven_days(board, ended, lab, alice, carol):
    """With the seven days before, as a change."""
    from experiments.models import SlotUsage

    experiment = ended("resnet", 0.5)
    SlotUsage.objects.all().delete()
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for days, hours, failed in ((0, 30, 1), (6, 10, 0), (7, 20, 0), (13, 0, 0), (200, 99, 9)):
        SlotUsage.objects.create(
            workspace=lab, is_day=True, at=today - timedelta(days=days), person=alice, project=experiment.project,
            seconds=hours * 3600, trials=10, succeeded=10 - failed, failed=failed,
        )  # fmt: skip
    for figure in ("slot_hours", "trials", "failure_rate"):
        board.add("number", figure=figure)
    html = " ".join(re.sub(r"<[^>]*>", " ", page(carol, board)).split())
    assert "40 h +100% vs. 7 days before" in html
    assert "Trials last 7 days 20 ±0%" in html
    assert "5% +5.0 points" in html and "1 of 20 trials" in html


@pytest.fixture
def two_objectives(running):
    """accuracy up, latency_ms down; two trials on the front."""
    from experiments.models import Outcome

    experiment = running("two objectives", taken=2, further_objectives={"latency_ms": "minimize"})
    for trial, latency in zip(
        experiment.trials.filter(state="running").order_by("number"), (5, 7), strict=True
    ):
        value = latency / 10
        trial.settle(Outcome(value=value, exit_code=0, final_metrics={"latency_ms": float(latency)}))
    experiment.refresh_from_db()
    return experiment


def test_a_chart_tile_draws_any_objective(board, two_objectives, bob, carol):
    """TD-D2, TD-C9: the objective is chosen in the form, and a chart of another one is refused with the names."""
    board.add("chart", experiment=two_objectives, chart="history", objective="latency_ms")
    html = page(carol, board)
    assert "latency_ms by trial" in html
    assert "charts/?objective=latency_ms#history" in html
    client = as_(board.owner)
    data = {"experiment": two_objectives.public_id, "chart": "history", "objective": "size"}
    answer = client.post(url_of(board, "add/chart/"), data)
    assert "Invalid objective: “size”" in answer.content.decode()
    client.post(url_of(board, "add/chart/"), data | {"objective": "latency_ms"})
    assert board.tiles.last().options["objective"] == "latency_ms"


def test_a_tile_of_an_objective_that_is_gone_says_so(board, two_objectives, carol):
    """TD-D2: no chart of another number in its place."""
    tile = board.add("chart", experiment=two_objectives, chart="history", objective="latency_ms")
    tile.options["objective"] = "gone"
    tile.save(update_fields=["options"])
    assert "gone is no longer an objective of this experiment" in page(carol, board)


def test_a_shared_experiment_shows_each_objective(two_objectives):
    """TD-D2, TD-C9: history, importance and curves of all of them."""
    from experiments.web.dashboards.shared import overview_of

    shown = {(tile.options["chart"], tile.options["objective"]) for tile in overview_of(two_objectives)}
    for objective in two_objectives.objectives:
        assert {(chart, objective) for chart in ("history", "importance", "curves")} <= shown
