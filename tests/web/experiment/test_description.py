"""The description of an experiment: Markdown on Overview, edited by operators."""

from __future__ import annotations

from django.urls import reverse

from tests.people import as_


def overview(user, experiment) -> str:
    return as_(user).get(reverse("experiment", args=["lab", experiment.public_id])).content.decode()


def test_it_is_rendered_and_runs_nothing(draft, carol, alice):
    """TD-C2: Markdown, sanitized."""
    experiment = draft()
    experiment.describe(by=alice, description="# Plan\n\nTry **more** <script>alert(1)</script>")
    html = overview(carol, experiment)
    assert "<h3>Plan</h3>" in html and "<strong>more</strong>" in html and "<script>alert" not in html
    assert "Edit description" not in html, "viewers only read it"


def test_a_long_one_is_folded_after_its_first_paragraph(draft, carol, alice):
    """TD-C2."""
    experiment = draft()
    experiment.describe(by=alice, description="First.\n\n" + "Rest. " * 200)
    html = overview(carol, experiment)
    assert html.index("First.") < html.index("<summary>Read more</summary>") < html.index("Rest.")


def test_operators_edit_it_in_any_state_but_published(in_state, bob, carol):
    """TD-A3, TD-C2."""
    for state, get, post in (("running", 200, 302), ("completed", 200, 302), ("published", 409, 409)):
        experiment = in_state(state)
        url = reverse("experiment-description", args=["lab", experiment.public_id])
        assert as_(bob).get(url).status_code == get
        assert as_(bob).post(url, {"description": f"about {state}"}).status_code == post
        experiment.refresh_from_db()
        assert (experiment.description == f"about {state}") == (post == 302)
        assert as_(carol).post(url, {"description": "x"}).status_code == 403
    assert "Add description" in overview(bob, in_state("draft"))
