"""Saved views of the list: everything, mine, what needs attention. A view is an address and nothing else."""

from __future__ import annotations

import re

import pytest

from experiments.models import Experiment, Queue

pytestmark = pytest.mark.once

LIST = "/w/lab/experiments/"


@pytest.fixture
def look(client, lab, bob):
    """Opens an address of the list as bob: (names of the rows, the current view, the whole page)."""

    def get(query: str = "", status: int = 200) -> tuple[set[str], str, str]:
        client.force_login(bob)
        page = client.get(LIST + query)
        assert page.status_code == status
        html = page.content.decode()
        tabs = re.search(r'<nav class="tabs" aria-label="Views">(.*?)</nav>', html, re.S)[1]
        current = re.search(r'aria-current="page">([^<]*)', tabs)[1]
        return {row.experiment.name for row in page.context["page"].rows}, current, html

    return get


def test_mine_are_those_that_i_created(look, draft, bob):
    """PAI-F1."""
    theirs, _ = draft("of bob"), draft("of alice")
    Experiment.objects.filter(pk=theirs.pk).update(creator=bob)
    names, current, html = look()
    assert (names, current) == ({"of bob", "of alice"}, "All")
    assert 'href="?filter=creator%3Ame"' in html and 'href="?filter=needs%3Aattention"' in html
    assert look("?filter=creator:me")[:2] == look("?creator=bob")[:2] == ({"of bob"}, "Mine")
    assert look("?creator=alice")[:2] == ({"of alice"}, "All")


def test_attention_needs_what_does_not_go_on_by_itself(look, in_state, draft, alice, worker):
    """Failed, paused by itself, waiting for nobody; not what a person paused, nor what runs or is done."""
    tired = in_state("running", name="paused itself")
    tired.pause(by=None, because="10 failures alike")
    for state in ("draft", "failed", "completed", "stopped", "paused", "running", "pending"):
        in_state(state, name=state)
    lonely = draft("waits for nobody")
    lonely.enqueue(by=alice, queue=Queue.objects.create(name="gpu", is_open=True))
    assert look("?needs=attention")[:2] == look("?filter=needs:attention")[:2]
    assert look("?needs=attention")[:2] == (
        {"failed", "paused itself", "waits for nobody"},
        "Needs attention",
    )
    Queue.objects.filter(name="default").update(is_paused=True)
    assert look("?needs=attention&status=pending")[0] == {"pending", "waits for nobody"}


def test_a_view_survives_filters_sorting_and_export(look, in_state):
    """PAI-F1: in the address, with all the rest."""
    in_state("failed", name="broken")
    _, _, html = look("?needs=attention&q=bro")
    assert 'value="bro needs:attention"' in html, "an earlier address becomes one filter"
    assert "?filter=bro+needs%3Aattention&amp;status=failed" in html
    assert "experiments.csv?filter=bro+needs%3Aattention" in html


@pytest.mark.parametrize("needs", ["", "nothing", "%25", "'", "x" * 10_000, "ATTENTION"])
def test_a_view_that_does_not_exist_is_all(look, draft, needs):
    """TD-C3: and the page says so."""
    draft("one")
    names, view, html = look(f"?needs={needs}", 400 if needs else 200)
    assert (names, view) == ({"one"}, "All") and ("Invalid needs: “" in html) == bool(needs)
