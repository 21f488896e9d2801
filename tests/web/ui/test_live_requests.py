"""One request for all fragments of a page: what changed is in the answer, what did not change is not drawn.

TD-X7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from django.http import HttpResponse
from django.test import Client

from experiments.models import Experiment
from experiments.web.experiment import charts
from experiments.web.ui import fragments
from tests.people import as_

pytestmark = pytest.mark.once

PAGE = "/w/lab/experiments/{}/"


def ask(client: Client, url: str, target: str, **tags: str) -> HttpResponse:
    """Ask for a fragment and those beside it, with the tags that the browser has."""
    headers = {"HX-Request": "true", "HX-Target": target, "If-None-Match": f'"{tags.pop(target, "")}"'}
    headers["Live-With"] = " ".join(f"{name}={tag}" for name, tag in tags.items())
    return client.get(url, headers=headers)


def tag_of(html: str, fragment: str) -> str:
    return re.search(rf'id="{fragment}"[^>]*data-tag="([^"]+)"', html)[1]


def drawn(response: HttpResponse) -> Mapping[str, bool]:
    """Return the fragments of the answer, and whether each says that it is to be swapped beside the target."""
    tags = re.findall(r'<div id="(head|history|figures|running)"([^>]*)>', response.content.decode())
    return {name: 'hx-swap-oob="morph"' in attributes for name, attributes in tags}


@pytest.fixture
def overview(running, alice) -> tuple[Client, str, dict[str, str], Experiment]:
    """The page as alice's browser has it: client, address, tags, and the experiment."""
    experiment = running("the run")
    client, url = as_(alice), PAGE.format(experiment.public_id)
    html = client.get(url).content.decode()
    return client, url, {name: tag_of(html, name) for name in ("head", "history", "running")}, experiment


def test_only_one_fragment_of_a_page_asks(overview):
    client, url, _, _ = overview
    for page in ("", "trials/", "charts/", "artifacts/", "trials/1/"):
        html = client.get(url + page).content.decode()
        assert len(re.findall(r'hx-trigger="changed from:body, every', html)) == 1, page
        asking = re.search(r'<\w+[^>]*id="(\w+)"[^>]*data-live=', html)[1]
        assert {*re.findall(r'data-beside="(\w+)"', html)} == {asking}, page


def test_a_page_that_is_open_costs_nothing_while_nothing_changes(overview, django_assert_max_num_queries):
    client, url, tags, _ = overview
    with django_assert_max_num_queries(8):
        answer = ask(client, url, **{"target": "head", **tags})
    assert answer.status_code == 304 and answer.content == b""


def test_what_changed_comes_in_one_answer(overview):
    client, url, tags, experiment = overview
    experiment.describe(by=experiment.creator, name="another name")
    answer = ask(client, url, "head", **tags)
    assert answer.status_code == 200
    assert drawn(answer) == {"head": False, "history": True, "running": True}
    assert "another name" in answer.content.decode()
    html = answer.content.decode()
    tags = {name: tag_of(html, name) for name in tags}
    assert ask(client, url, "head", **tags).status_code == 304


def test_the_clock_alone_draws_what_estimates_and_no_chart(overview, monkeypatch):
    client, url, tags, _ = overview
    monkeypatch.setattr(fragments, "minute", lambda: 1)
    assert drawn(ask(client, url, "head", **tags)) == {"head": False, "running": True}


def test_the_clock_changes_nothing_of_a_table(overview, monkeypatch):
    client, url, _, _ = overview
    tags = {"rows": ask(client, url + "trials/", "rows")["ETag"].strip('"')}
    monkeypatch.setattr(fragments, "minute", lambda: 1)
    assert ask(client, url + "trials/", "rows", **tags).status_code == 304


def test_a_fragment_that_has_ended_says_where_it_belongs(overview):
    """Its last answer has no address to ask any more."""
    client, url, tags, experiment = overview
    experiment.stop(by=experiment.creator)
    Experiment.objects.filter(pk=experiment.pk).update(state="stopped")
    answer = ask(client, url, "head", **tags)
    assert drawn(answer)["history"] and "data-live" not in answer.content.decode()


def test_names_that_the_page_does_not_have_are_ignored(overview):
    client, url, tags, _ = overview
    assert ask(client, url, "head", **tags, nonsense="x", head2="").status_code == 304


def test_the_history_is_drawn_once_for_all_who_see_it(overview, bob, monkeypatch):
    client, url, _, experiment = overview
    drawn: list[int] = []
    draw = charts.history_of
    monkeypatch.setattr(charts, "history_of", lambda *a, **k: drawn.append(1) or draw(*a, **k))
    for each in (client, as_(bob), client):
        assert "Optimization history" in each.get(url).content.decode()
    assert not drawn, "alice's browser has it since the page was opened"
    experiment.describe(by=experiment.creator, name="another name")
    for each in (client, as_(bob)):
        assert each.get(url).status_code == 200
    assert len(drawn) == 1
