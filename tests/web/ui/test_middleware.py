"""What htmx needs of every answer: redirects that the browser follows, and what is no longer live."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.people import as_

pytestmark = pytest.mark.once

LIST = "/w/lab/experiments/"


def asks(target: str = "", *, trigger: str = "", page: str = LIST) -> dict[str, str]:
    """The headers of a request of htmx from `page`."""
    headers = {
        "HX-Request": "true",
        "HX-Current-URL": f"http://testserver{page}",
        "Referer": f"http://testserver{page}",
    }
    return headers | ({"HX-Target": target} if target else {}) | ({"HX-Trigger": trigger} if trigger else {})


def action_url(experiment, verb: str) -> str:
    return reverse("experiment-action", args=["lab", experiment.public_id, verb])


def test_an_action_of_the_page_that_is_shown_says_what_it_did_and_leaves_the_page(running, bob):
    experiment = running("the run")
    answer = as_(bob).post(action_url(experiment, "pause"), headers=asks(page=LIST + "?sort=name"))
    experiment.refresh_from_db()
    assert (answer.status_code, experiment.state, answer["HX-Trigger"]) == (200, "paused", '{"changed": {}}')
    html = answer.content.decode()
    assert 'id="toasts" hx-swap-oob="beforeend"' in html and "the run is paused" in html
    assert "HX-Redirect" not in answer and "<html" not in html


def test_an_action_that_leads_elsewhere_is_followed_by_the_browser(running, bob):
    """Its message is for the page that it leads to."""
    experiment = running("the run")
    browser = as_(bob)
    answer = browser.post(action_url(experiment, "stop"), headers=asks("dialog", trigger="stop"))
    assert answer["HX-Redirect"] and "HX-Trigger" not in answer
    assert "Stopping the run" in browser.get(LIST).content.decode()


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_a_fragment_that_is_gone_or_behind_a_sign_in_ends_and_says_so(client, running, dave, is_signed_in):
    """TD-X6: what somebody reads stays; 286 ends the polling."""
    experiment = running("the run")
    if is_signed_in:
        client.force_login(dave)  # a stranger: 404
    url = reverse("experiment", args=["lab", experiment.public_id])
    answer = client.get(url, headers=asks("head", trigger="head", page=url))
    assert (answer.status_code, answer["HX-Retarget"], answer["HX-Reswap"]) == (
        286,
        "#live-over",
        "innerHTML",
    )
    assert "Live updates stopped" in answer.content.decode() and "HX-Redirect" not in answer


def test_who_asks_for_something_without_being_signed_in_is_led_to_the_sign_in(client, running):
    experiment = running("the run")
    answer = client.get(action_url(experiment, "stop"), headers=asks("dialog", trigger="stop"))
    assert "/sign-in/" in answer["HX-Redirect"] and "HX-Retarget" not in answer


@pytest.mark.parametrize("page", [LIST, "/w/lab/models/"])
def test_a_filtered_view_has_the_address_of_its_filters_alone(lab, bob, page):
    """PAI-F1: what nobody asked for is not in the address."""
    view = as_(bob).get(f"{page}?q=res+net&project=&creator=", headers=asks("view", page=page))
    assert view["HX-Push-Url"] == (f"{page}?filter=%22res+net%22" if page == LIST else f"{page}?q=res+net")
    assert as_(bob).get(f"{page}?q=", headers=asks("view", page=page))["HX-Push-Url"] == page
    assert "<html" not in view.content.decode() and 'id="view"' in view.content.decode()


def test_a_poll_changes_no_address(lab, bob):
    assert "HX-Push-Url" not in as_(bob).get(f"{LIST}?q=", headers=asks("list", trigger="list"))
