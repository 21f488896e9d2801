"""TD-D2: a link shows one view, read-only, to whoever has it, until it expires or is revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments import rate_limits
from experiments.models import (
    AuditEntry,
    Baseline,
    Dashboard,
    Experiment,
    Invalid,
    Role,
    SavedView,
    ShareLink,
)
from experiments.web.dashboards import shared
from tests.people import as_
from tests.web.dashboards.pages import fill, url_of

LINKS = "/w/lab/links/"


@pytest.fixture(autouse=True)
def no_requests_yet(monkeypatch):
    rate_limits.process_cache.clear()
    # Count in this process: the broker of other tests remembers links whose keys are used again.
    monkeypatch.setattr(rate_limits, "_broker_paused_until", float("inf"))
    yield
    rate_limits.process_cache.clear()


def link_to(target, by, **fields) -> str:
    """The path of a new link."""
    return reverse("shared", args=[ShareLink.create(target, by=by, **fields)[1]])


def text_of(path: str, **headers: str) -> str:
    response = Client().get(path, headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def test_a_link_opens_the_dashboard_without_an_account(board, ended, worker, alice, bob):
    """TD-D2: no session, no navigation, no forms, no way on, out of search engines, caches and referrers."""
    fill(board, ended, alice)
    made = as_(bob).post(url_of(board, "links/"), {"name": "Reviewers", "days": "30"})
    assert made.status_code == 201 and made["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    path = re.search(r"/s/[\w-]+/", made.content.decode()).group()
    client = Client()
    response = client.get(path)
    html = response.content.decode()
    assert response.status_code == 200 and "resnet" in html and "CVPR" in html and "shared by bob" in html
    assert response["X-Robots-Tag"] == "noindex, nofollow" and response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store, private" and '<meta name="robots" content="noindex' in html
    assert not client.cookies and not Session.objects.filter(expire_date=None).exists()
    body = re.sub(r"(?s)<head>.*?</head>", "", html)
    assert "<form" not in body and "<nav" not in body and "/w/lab" not in body
    ways = {
        way
        for way in re.findall(r'(?:href|hx-get|action)="([^"]*)"', body)
        if not way.startswith(("/static", "#"))
    }
    assert {way for way in ways if not way.startswith((path, "?live"))} == set()
    assert path.split("/")[2] not in as_(bob).get(LINKS).content.decode(), "shown once"
    assert not ShareLink.objects.filter(digest__contains=path.split("/")[2]).exists()


def test_only_a_hash_of_the_secret_is_stored(board, alice):
    link, secret = ShareLink.create(board, by=alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM experiments_sharelink")
        row = " ".join(map(str, cursor.fetchone()))
    assert secret not in row and secret[: len(link.hint)] in row and len(link.hint) < len(secret) / 3


def test_a_link_is_the_same_for_whoever_opens_it(board, ended, alice):
    """TD-D2: also an owner, signed in, sees no more by it than anybody."""
    secret = ended("secret-run", 0.99)
    board.add("leaderboard"), board.add("chart", experiment=secret, chart="history", title="secret-title")
    ended("shown", 0.5)
    secret.describe(by=alice, visibility="private")
    path = link_to(board, alice)
    for client in (Client(), as_(alice)):
        html = client.get(path).content.decode()
        assert "shown" in html and "secret" not in html and "0.99" not in html
        assert "Sign out" not in html and "data-url" not in re.sub(r"(?s)<head>.*?</head>", "", html)


def test_private_experiments_are_absent_from_everything(board, ended, lab, worker, alice, bob, carol):
    """TD-D2: from titles, counts, charts, leaderboards, baselines, saved views and numbers of a shared view."""
    fill(board, ended, alice)
    secret = ended("secret-run", 0.991)
    Baseline.pin(secret, by=alice)
    for chart in ("history", "curves"):
        board.add("chart", experiment=secret, chart=chart)
    of_secret = SavedView.create(
        lab, by=alice, name="secret view", query="", is_shared=True, experiment=secret
    )
    own = SavedView.create(lab, by=alice, name="own view", query="")
    private = SavedView.create(
        lab, by=alice, name="hidden ones", query="filter=visibility:private", is_shared=True
    )
    for view in (of_secret, own, private):
        board.add("view", view=view)
    path = link_to(board, alice)
    before = text_of(path)
    assert "secret-run" in before and "0.991" in before
    running = ShareLink.objects.get()
    secret.describe(by=alice, visibility="private")
    html = text_of(path)
    for trace in ("secret-run", "0.991", secret.public_id, "secret view", "own view"):
        assert trace not in html, trace
    assert "vs. baseline" not in html, "the baseline is private"
    assert "No results for this view." in html
    for tile in board.tiles.all():
        key = f"tile-{tile.pk}"
        part = Client().get(f"{path}tiles/{tile.pk}/", headers={"HX-Request": "true", "HX-Target": key})
        assert part.status_code == 200 and b"secret" not in part.content and b"0.991" not in part.content
    assert running.is_backed


def test_figures_that_count_private_experiments_are_not_shown(board, ended, alice):
    """TD-D2: usage is kept for the workspace as a whole."""
    ended("a", 0.5)
    for figure in ("slot_hours", "trials", "failure_rate"):
        board.add("number", figure=figure)
    html = text_of(link_to(board, alice))
    assert html.count("this figure counts private experiments too") == 3
    assert "12 weeks shown" not in html


def test_names_of_machines_are_not_shown(board, worker, alice):
    """TD-Z4: the capacity is."""
    board.add("capacity")
    html = text_of(link_to(board, alice))
    assert "Capacity" in html and "slots busy" in html and f">{worker.name}<" not in html


def test_links_in_a_text_lead_nowhere(board, alice):
    board.add("text", text="See [the run](https://example.org/run) and <https://example.com/>.")
    html = text_of(link_to(board, alice))
    assert "See the run" in html and "example.org" not in html


@pytest.mark.parametrize(
    "how", ["expired", "revoked", "deleted", "demoted", "left", "disabled", "off", "hidden", "wrong"]
)
def test_a_link_that_does_not_work_is_404(board, lab, bob, how):
    """TD-D2: it works as long as who made it may edit what it shows."""
    board.add("text", text="contents")
    path = link_to(board, bob)
    assert "contents" in text_of(path)
    link = ShareLink.objects.get()
    if how == "expired":
        ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "revoked":
        link.revoke(by=bob)
    elif how == "deleted":
        board.delete()
    elif how == "demoted":
        lab.admit(bob, Role.VIEWER)
    elif how == "left":
        lab.members.filter(user=bob).delete()
    elif how == "disabled":
        type(bob).objects.filter(pk=bob.pk).update(is_active=False)
    elif how == "off":
        type(lab).objects.filter(pk=lab.pk).update(has_automl=False)
    elif how == "hidden":
        board.change(name="CVPR", is_shared=False, is_on_wall=False)
    else:
        path = path[:-2] + ("a/" if path[-2] != "a" else "b/")
    response = Client().get(path)
    html = response.content.decode()
    assert (
        response.status_code == 404
        and "This link has expired. Ask the person who sent it for a new one." in html
    )
    assert "contents" not in html and "CVPR" not in html
    assert (
        response["X-Robots-Tag"] == "noindex, nofollow" and response["Cache-Control"] == "no-store, private"
    )
    tile = Client().get(f"{path}tiles/1/")
    assert tile.status_code == 404


def test_a_link_is_read_only(board, alice):
    tile = board.add("text", text="x")
    path = link_to(board, alice)
    for address in (path, f"{path}tiles/{tile.pk}/"):
        for method in ("post", "put", "patch", "delete"):
            assert getattr(Client(), method)(address).status_code == 405
    other = Dashboard.create(board.workspace, by=alice, name="other", is_shared=True).add(
        "text", text="elsewhere"
    )
    foreign = Client().get(
        f"{path}tiles/{other.pk}/", headers={"HX-Request": "true", "HX-Target": f"tile-{other.pk}"}
    )
    assert foreign.status_code == 404 and b"elsewhere" not in foreign.content, "one view, and no other"


def test_a_tile_of_a_shared_view_has_an_entity_tag(board, alice):
    tile = board.add("text", text="x")
    path = link_to(board, alice)
    headers = {"HX-Request": "true", "HX-Target": f"tile-{tile.pk}"}
    first = Client().get(f"{path}tiles/{tile.pk}/", headers=headers)
    again = Client().get(f"{path}tiles/{tile.pk}/", headers={**headers, "If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304) and first["X-Robots-Tag"]
    tile.change(text="y")
    changed = Client().get(f"{path}tiles/{tile.pk}/", headers={**headers, "If-None-Match": first["ETag"]})
    assert changed.status_code == 200 and b">y<" in changed.content.replace(b"<p>y</p>", b">y<")


def test_a_link_is_rate_limited(board, alice, monkeypatch):
    """TD-D2: by link; and by address where links do not work."""
    monkeypatch.setattr(shared, "RATE", "3/h")
    monkeypatch.setattr(shared, "WRONG_RATE", "2/h")
    path = link_to(board, alice)
    assert [Client().get(path).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = Client().get(path)
    assert 1 <= int(refused["Retry-After"]) <= 3600 and b"Too many requests" in refused.content
    assert Client().get(link_to(board, alice)).status_code == 200, "another link has its own limit"
    assert [Client().get("/s/guess/").status_code for _ in range(3)] == [404, 404, 429]


def test_an_opened_link_is_counted(board, alice, bob):
    path = link_to(board, alice, name="Reviewers")
    text_of(path), text_of(path)
    row = ShareLink.objects.get()
    assert AuditEntry.objects.filter(verb="link_open", who="share link").count() == 1, "once an hour"
    assert row.opened_count == 2 and row.last_opened_at is not None
    html = as_(bob).get(LINKS).content.decode()
    assert "Reviewers" in html and "alice" in html and ">2<" in html


def test_links_are_listed_and_revoked_by_whom_they_should_be(board, lab, alice, bob, carol, dave):
    """TD-D2: operators see the list; who made a link, or an owner, revokes."""
    link_to(board, alice, name="alice's"), link_to(board, bob, name="bob's")
    mine = Dashboard.create(lab, by=bob, name="only-bob")
    link_to(mine, bob, name="third")
    assert as_(carol).get(LINKS).status_code == 403 and as_(dave).get(LINKS).status_code == 404
    html = as_(alice).get(LINKS).content.decode()
    assert "third" in html and "only-bob" not in html and "Not visible to you" in html
    first, second = ShareLink.objects.get(name="alice's"), ShareLink.objects.get(name="bob's")
    assert as_(bob).post(f"{LINKS}{first.pk}/revoke/").status_code == 403
    assert as_(dave).post(f"{LINKS}{first.pk}/revoke/").status_code == 404
    assert as_(bob).post(f"{LINKS}{second.pk}/revoke/").status_code == 302
    assert as_(alice).post(f"{LINKS}{first.pk}/revoke/").status_code == 302
    assert set(ShareLink.objects.exclude(revoked_at=None)) == {first, second}
    noted = AuditEntry.objects.filter(kind="links").values_list("verb", "who")
    assert sorted(noted)[:2] == [("link_create", "alice"), ("link_create", "bob")]
    assert sorted(noted)[3:] == [("link_revoke", "alice"), ("link_revoke", "bob")]
    listed = as_(bob).get(LINKS).content.decode()
    assert "bob&#x27;s" not in listed and "bob&#x27;s" in as_(bob).get(f"{LINKS}?show=all").content.decode()


def test_an_experiment_can_be_shared(ended, alice, bob, carol):
    """TD-D2: its overview; a private one has no link, and a link stops when it becomes private."""
    experiment = ended("resnet", 0.5, 0.9)
    experiment.describe(by=alice, description="Why we do it")
    share = f"/w/lab/experiments/{experiment.public_id}/share/"
    assert as_(carol).post(share).status_code == 403
    made = as_(bob).post(share, {"days": "7"})
    path = re.search(r"/s/[\w-]+/", made.content.decode()).group()
    html = text_of(path)
    assert made.status_code == 201 and "resnet" in html and "Why we do it" in html and "0.9000" in html
    body = re.sub(r"(?s)<head>.*?</head>", "", html)
    assert "/w/lab" not in body and "<form" not in body
    experiment.describe(by=alice, visibility="private")
    assert Client().get(path).status_code == 404
    assert as_(alice).get(share).status_code == 409
    experiment.describe(by=alice, visibility="workspace")
    assert Client().get(path).status_code == 200
    Experiment.objects.filter(pk=experiment.pk).update(trashed_at=timezone.now())
    assert Client().get(path).status_code == 404


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"days": "date"}, "until"),
        ({"days": "date", "until": "yesterday"}, "until"),
        ({"days": "date", "until": "2001-01-01"}, "until"),
        ({"days": "date", "until": "9999-12-31"}, "until"),
        ({"days": "8"}, "days"),
        ({"name": "x" * 61}, "name"),
    ],
)
def test_bad_links_are_refused_field_by_field(board, bob, values, field):
    answer = as_(bob).post(url_of(board, "links/"), values)
    assert answer.status_code == 422 and field in answer.context["link_form"].errors
    assert not ShareLink.objects.exists()


def test_a_link_may_end_on_a_date(board, bob):
    day = timezone.localdate() + timedelta(days=3)
    assert as_(bob).post(url_of(board, "links/"), {"days": "date", "until": str(day)}).status_code == 201
    assert timezone.localtime(ShareLink.objects.get().expires_at).date() == day + timedelta(days=1), (
        "that day included"
    )
    with pytest.raises(Invalid):
        ShareLink.create(board, by=bob, valid_for=timedelta(days=366))


def test_the_shared_page_has_a_fixed_number_of_queries(board, ended, worker, alice):
    """TD-D2: however many experiments there are."""
    fill(board, ended, alice)
    path = link_to(board, alice)

    def queries() -> int:
        text_of(path)
        with CaptureQueriesContext(connection) as captured:
            text_of(path)
        return len(captured)

    first = queries()
    for number in range(4):
        ended(f"more-{number}", 0.1, 0.2)
    assert queries() <= first


def test_a_tile_does_not_repeat_its_title(ended, alice):
    """TD-D2: the charts of a shared experiment are titled by what they show."""
    page = text_of(link_to(ended("a", 0.5, 0.7), alice))
    headings = re.findall(r'<h2 [^>]*title="([^"]*)">[^<]*</h2>\s*(?:<p[^>]*>([^<]*))?', page)
    assert "Importance" in dict(headings)
    assert [title for title, about in headings if about.startswith(title)] == []
