"""The ways to begin in an empty workspace."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from experiments.management.commands import up
from experiments.models import Experiment, Role, Token, Workspace

pytestmark = pytest.mark.once

HOME = "/w/lab/"


def as_(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_an_empty_home_offers_three_ways(lab, bob, carol, draft):
    """TD-D1: to who may create; gone with the first experiment."""
    page = as_(bob).get(HOME).content.decode()
    for name in ("Run the sample", "Tune my script", "From Python"):
        assert name in page
    assert "Run the sample" not in as_(carol).get(HOME).content.decode()
    draft("first")
    assert "Run the sample" not in as_(bob).get(HOME).content.decode()


def test_the_sample_is_an_experiment_that_starts(lab, bob, carol, worker):
    """TD-D1"""
    answer = as_(bob).post(reverse("sample", args=["lab"]))
    experiment = Experiment.objects.get()
    assert answer["Location"] == reverse("experiment", args=["lab", experiment.public_id])
    assert (experiment.state, experiment.creator, experiment.max_trials) == ("pending", bob, 40)
    assert as_(carol).post(reverse("sample", args=["lab"])).status_code == 403
    assert as_(bob).get(reverse("sample", args=["lab"])).status_code == 405


def test_my_script_leads_to_the_filled_form(lab, bob, tmp_path):
    """TD-D1, TD-D7: with the usual values of all other fields."""
    script = 'p.add_argument("--lr", type=float, default=0.01)\nprint("auc:", 1)'
    typed = {"command": "python train.py", "directory": str(tmp_path), "metric": "", "read_arguments": "1"}
    page = as_(bob).post(reverse("experiment-new", args=["lab"]), {**typed, "script_text": script})
    form = page.context["form"]
    assert [row.name for row in form.rows] == ["lr"] and not form.errors
    values = {
        name: str(form[name].value())
        for name in ("command", "directory", "metric", "max_trials", "concurrency")
    }
    assert values == {
        "command": "python train.py",
        "directory": str(tmp_path),
        "metric": "auc",
        "max_trials": "50",
        "concurrency": "1",
    }
    assert [step.state for step in page.context["steps"]] == ["succeeded"] * 4, "Start would be accepted"
    assert page.context["estimate"], "the estimate too"
    assert page.context["preview"] and form["project"].value() == str(lab.projects.get().pk)


def test_the_python_snippet_has_a_token_that_works_here_only(lab, bob, carol):
    """TD-D1: shown once, for 30 days."""
    other = Workspace.open("other", owner=bob)
    page = as_(bob).post(reverse("python", args=["lab"]))
    token = Token.objects.get()
    assert (token.user, token.workspace, token.role) == (bob, lab, Role.OPERATOR)
    assert token.expires_at and (token.expires_at - token.created_at).days == 30
    html = page.content.decode()
    secret = re.search(r"TRIALDECK_TOKEN=(\S+)<", html)[1]
    assert "TRIALDECK_URL=http://testserver" in html and "no-store" in page["Cache-Control"]
    assert "data-copy" in html and "trialdeck tune train.py" in html
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/workspaces/lab/experiments", headers=headers).status_code == 200
    assert Client().get(f"/api/v1/workspaces/{other.slug}/experiments", headers=headers).status_code == 404
    assert as_(carol).post(reverse("python", args=["lab"])).status_code == 403
    assert Token.objects.count() == 1


def test_a_fresh_installation_has_a_workspace(db):
    """TD-D1: one, with or without the demo."""
    up.ensure_workspace()
    up.ensure_workspace()
    assert Workspace.objects.get().slug == "main" and Workspace.objects.get().projects.get().name == "Default"
