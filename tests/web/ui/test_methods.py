"""Addresses that only act, opened like a page; what private answers tell caches."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from tests.people import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize(
    ("name", "above"),
    [("sign-out", "home"), ("sign-out-elsewhere", "account"), ("workspace-automl", "workspace-settings")],
)
def test_an_address_that_only_acts_says_so_and_leads_back(client, bob, lab, name, above):
    """TD-Z4: after a bookmark, a reload, or a sign-in in between."""
    client.force_login(bob)
    arguments = ["lab"] if name.startswith("workspace") else []
    answer = client.get(reverse(name, args=arguments))
    page = answer.content.decode()
    assert answer.status_code == 405 and "POST" in answer["Allow"]
    assert "Method not allowed" in page and "Nothing was changed" in page and "<nav" in page
    assert f'class="btn is-primary" href="{reverse(above, args=arguments)}"' in page
    assert client.get(reverse("workspaces")).status_code == 200, "still signed in"


def test_a_page_that_is_only_read_refuses_a_post_alike(client, bob):
    client.force_login(bob)
    answer = client.post(reverse("workspaces"))
    assert answer.status_code == 405 and answer["Allow"] == "GET, HEAD"
    assert "Method not allowed" in answer.content.decode()


def test_a_stranger_gets_the_same_page(client, db):
    answer = client.get(reverse("sign-out"))
    assert answer.status_code == 405 and "Method not allowed" in answer.content.decode()


def test_the_api_answers_in_json(bob):
    for method, path in (("get", "/api/v1/experiments/x/stop"), ("put", "/api/v1/me")):
        answer = getattr(as_(bob), method)(path)
        assert answer.status_code == 405 and answer["Content-Type"].startswith("application/json")
        assert answer.json()["error"] == "method_not_allowed" and answer["Allow"] in answer.json()["detail"]


@pytest.mark.parametrize("status", [404, 405, 409, 403])
def test_error_pages_are_ours(bob, carol, lab, running, status):
    """They have the navigation and say what to do next."""
    experiment = running()
    person, path, method = {
        404: (bob, "/nothing/here/", "get"),
        405: (bob, reverse("sign-out"), "get"),
        409: (bob, reverse("experiment-action", args=["lab", experiment.public_id, "delete"]), "post"),
        403: (carol, reverse("experiment-action", args=["lab", experiment.public_id, "stop"]), "post"),
    }[status]
    answer = getattr(as_(person), method)(path)
    assert answer.status_code == status
    assert re.search(r"<nav|Home", answer.content.decode())


def test_what_is_private_is_kept_by_no_cache(client, bob, lab, running):
    """TD-Z4: pages, exports, redirects, errors, the API; what names its own rule keeps it."""
    experiment = running()
    client.force_login(bob)
    for path in (
        reverse("home"),
        reverse("experiments", args=["lab"]),
        reverse("experiment", args=["lab", experiment.public_id]),
        "/nothing/here/",
        f"/api/v1/experiments/{experiment.public_id}",
        "/api/v1/nothing",
    ):
        answer = client.get(path)
        assert answer["Cache-Control"] == "private, no-store", path
    assert Client().get(reverse("home"))["Cache-Control"] == "private, no-store"
    assert "no-store" in client.get("/healthz")["Cache-Control"]
