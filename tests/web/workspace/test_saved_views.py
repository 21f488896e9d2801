"""TD-C4: saved views of both tables: who sees, saves, shares, changes and deletes them."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from experiments.models import Experiment, Invalid, Refused, Role, SavedView
from experiments.models.workspace import saved_view as saved_views
from tests.people import as_
from tests.web.trial.test_table import many, numbers

LIST = "/w/lab/experiments/"


def tabs(response) -> dict[str, str]:
    """The addresses of the views of a page, by name."""
    nav = re.search(r'aria-label="Views">(.*?)</nav>', response.content.decode(), re.S)[1]
    return {
        re.sub(r"<.*", "", label, flags=re.S).strip(): url
        for url, label in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', nav, re.S)
    }


def save(user, query: str, name: str = "mine", **fields: str):
    return as_(user).post("/w/lab/views/new/", {"name": name, "query": query, **fields})


@pytest.fixture
def hundred(draft) -> Experiment:
    experiment = draft()
    many(experiment, 100)
    return experiment


def test_a_view_of_trials_keeps_filter_order_and_columns(hundred, carol, bob):
    """Everybody has views of their own, and sees no private one of others."""
    query = (
        "filter=number<50&sort=number&columns=p.lr&columns=value&pinned=p.lr&page=2&nonsense=1&state=failed"
    )
    answer = save(carol, query, experiment=hundred.public_id)
    view = SavedView.objects.get()
    trials = reverse("experiment-trials", args=["lab", hundred.public_id])
    assert answer["Location"] == f"{trials}?view={view.pk}" and not view.is_shared
    page = as_(carol).get(f"{trials}?view={view.pk}")
    assert numbers(page) == [10, 20, 30, 40] and tabs(page)["mine"] == f"?view={view.pk}"
    assert [column.key for column in page.context["columns"]] == ["value", "p.lr"]
    assert 'aria-current="page">mine' in page.content.decode() and "Update view" not in page.content.decode()
    changed = as_(carol).get(f"{trials}?view={view.pk}&filter=")
    assert len(numbers(changed)) == 50 and "Update view" in changed.content.decode()
    assert "mine" not in tabs(as_(bob).get(trials)) and "mine" not in tabs(as_(carol).get(LIST))
    assert numbers(as_(bob).get(f"{trials}?view={view.pk}"))[0] == 100, "no view of theirs"


def test_sharing_needs_an_operator_and_all_members_see_it(draft, carol, bob, lab):
    draft("one")
    assert save(carol, "filter=one", is_shared="on").status_code == 403
    assert save(bob, "filter=one&size=25", is_shared="on").status_code == 302
    view = SavedView.objects.get()
    assert view.is_shared and tabs(as_(carol).get(LIST))["mine"] == f"?view={view.pk}"
    page = as_(carol).get(f"{LIST}?view={view.pk}").content.decode()
    assert "Rename" not in page, "it belongs to bob"


def test_its_owner_and_an_owner_of_the_workspace_change_a_shared_view(draft, alice, bob, carol, lab):
    draft("one")
    view = SavedView.create(lab, by=bob, name="theirs", query="filter=one", is_shared=True)
    url = f"/w/lab/views/{view.pk}/"
    assert as_(carol).post(f"{url}update/", {"query": "filter=two"}).status_code == 403
    assert as_(bob).post(f"{url}update/", {"query": "?filter=two&page=3"}).status_code == 302
    view.refresh_from_db()
    assert view.query == "filter=two"
    assert as_(alice).post(f"{url}edit/", {"name": " new  name "}).status_code == 302
    view.refresh_from_db()
    assert (view.name, view.is_shared) == ("new name", False)
    assert as_(alice).get(f"{url}delete/").status_code == 404, "private again"
    assert as_(bob).post(f"{url}delete/").status_code == 302 and not SavedView.objects.exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\0b"])
def test_a_name_that_cannot_be_is_refused_with_the_form(draft, bob, name):
    draft("one")
    answer = save(bob, "filter=one", name=name)
    assert answer.status_code == 422 and not SavedView.objects.exists()
    assert 'name="query" value="filter=one"' in answer.content.decode()


def test_a_name_is_unique_for_a_person_and_table(draft, alice, bob, lab):
    experiment = draft("one")
    SavedView.create(lab, by=bob, name="x", query="")
    SavedView.create(lab, by=bob, name="x", query="", experiment=experiment)
    SavedView.create(lab, by=alice, name="x", query="")
    with pytest.raises(Invalid, match="already have a view x"):
        SavedView.create(lab, by=bob, name=" x ", query="")
    with pytest.raises(Invalid, match="too long"):
        SavedView.create(lab, by=bob, name="y", query="filter=" + "x" * 5000)


def test_there_is_a_limit(draft, bob, lab, monkeypatch):
    monkeypatch.setattr(saved_views, "MOST", 1)
    SavedView.create(lab, by=bob, name="x", query="")
    with pytest.raises(Refused, match="Delete one first"):
        SavedView.create(lab, by=bob, name="y", query="")
    assert save(bob, "filter=one").status_code == 422


def test_views_of_what_a_member_does_not_see_do_not_exist(draft, alice, bob, lab):
    """PAI-L2: a view tells nothing about a private experiment."""
    secret = draft("secret")
    view = SavedView.create(lab, by=alice, name="x", query="filter=a", experiment=secret, is_shared=True)
    Experiment.objects.filter(pk=secret.pk).update(visibility="private")
    assert save(bob, "filter=one", experiment=secret.public_id).status_code == 404
    assert as_(bob).get(f"/w/lab/views/{view.pk}/edit/").status_code == 404


def test_a_page_asks_as_much_with_many_views(hundred, bob, lab, django_assert_max_num_queries):
    """TD-X7"""
    counts = []
    for count in (0, 30):
        for place in range(count):
            SavedView.create(lab, by=bob, name=f"view {place}", query="", experiment=hundred)
        client = as_(bob)
        with django_assert_max_num_queries(30) as seen:
            client.get(reverse("experiment-trials", args=["lab", hundred.public_id]))
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_api_saves_lists_changes_and_deletes_views(api, alice, bob, carol, lab, draft):
    experiment = draft("one")
    path = "/workspaces/lab/views"
    body = {"name": "best", "query": "filter=value>0.5&sort=-value", "experiment": experiment.public_id}
    made = api(carol).post(path, body)
    assert made.status_code == 201 and made.json()["owner"] == "carol"
    assert api(carol).post(path, {"name": "x", "is_shared": True}).status_code == 403
    assert api(carol).post(path, {**body, "name": ""}).status_code == 422
    view_path = f"{path}/{made.json()['id']}"
    assert api(bob).get(view_path).status_code == 404
    listed = api(carol).get(path, experiment=experiment.public_id).json()["items"]
    assert [view["name"] for view in listed] == ["best"] and api(carol).get(path).json()["items"] == []
    assert api(carol).patch(view_path, {"is_shared": True}).status_code == 403
    lab.admit(carol, Role.OPERATOR)
    assert api(carol).patch(view_path, {"is_shared": True, "name": "better"}).json()["name"] == "better"
    assert api(bob).patch(view_path, {"name": "worse"}).status_code == 403
    assert api(alice).patch(view_path, {"name": "ours"}).json()["query"] == made.json()["query"]
    assert api(alice).delete(view_path).status_code == 204 and not SavedView.objects.exists()
