"""A walk over the main pages in a real browser: nothing is refused by the policy, nothing is complained about."""

from __future__ import annotations

import re
from pathlib import Path

import django_htmx
import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Experiment, Outcome
from tests.browser.conftest import DESK, PHONE, is_wider_than_its_window

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OF_A_WORKSPACE = (
    *("dashboards", "dashboard-new", "links", "leaderboard", "usage", "usage-limits", "notifications"),
    *("rule-new", "channel-new", "imports", "model-add", "audit", "workspace-retention", "project-new"),
)
OF_AN_EXPERIMENT = ("", "-trials", "-configuration", "-execution", "-artifacts")


def addresses(running_one: Experiment, draft_one: Experiment) -> list[str]:
    """The main pages; those of an experiment for one under way, its editor for both."""
    where = ["lab", running_one.public_id]
    trial, ended = ([*where, number] for number in (1, 2))
    return [
        "/",
        *(
            reverse(page, args=["lab"])
            for page in ("workspace", "experiments", "projects", "models", "members")
        ),
        *(reverse(page, args=["lab"]) for page in ("workspace-settings", "trash", "wall")),
        *(reverse(f"experiment{tab}", args=where) for tab in OF_AN_EXPERIMENT),
        *(reverse(page, args=trial) for page in ("trial", "trial-log")),
        *(reverse(page, args=ended) for page in ("trial", "trial-rerun")),
        reverse("experiment-new", args=["lab"]),
        reverse("experiment-edit", args=where),
        reverse("experiment-edit", args=["lab", draft_one.public_id]),
        reverse("experiment-action", args=[*where, "clone"]),
        *("/workspaces/", "/queues/", "/queues/default/", "/workers/", "/workers/w1/", "/search/?q=run"),
        *(reverse(page, args=["lab"]) for page in OF_A_WORKSPACE),
        *("/account/", "/account/tokens/", "/admin/", "/admin/experiments/experiment/"),
        *("/account/security/", "/account/security/two-factor/", "/account/password/", "/workspaces/new/"),
        *("/queues/new/", "/queues/default/edit/", "/queues/default/pause/", "/workers/w1/drain/"),
        *("/audit/", "/retention/", "/projects/", "/api/v1/docs/"),
    ]


def looks_right(page: Page, path: str) -> None:
    answer = page.goto(path)
    assert answer and answer.status == 200, path
    policy = answer.headers["content-security-policy"]
    assert "script-src" in policy or "default-src 'self'" in policy, path
    assert "unsafe" not in policy, path
    expect(page.get_by_role("heading", level=1).first).to_be_visible()
    assert not is_wider_than_its_window(page), path


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_breaks_the_policy_or_says_something_to_the_console(
    open_as, root, running, draft, lab, viewport
):
    """TD-X6. What the browser complains about fails the test at its end (`open_as`)."""
    experiment, other = running("the run", taken=2), draft("a draft")
    experiment.trials.get(number=2).settle(Outcome(exit_code=1, failure="exit_code", detail="KeyError"))
    page = open_as(root, "/", viewport)
    for path in addresses(experiment, other):
        looks_right(page, path)


def test_the_scripts_of_a_page_are_ours_and_the_htmx_of_the_wheel(open_as, alice, lab):
    page = open_as(alice, reverse("experiments", args=["lab"]))
    sources = page.locator("script").evaluate_all("all => all.map((one) => new URL(one.src).pathname)")
    assert sources and page.evaluate("htmx.version").startswith("2.")
    for source in sources:
        file = Path(finders.find(source.removeprefix("/static/")) or "")
        is_wheel = file.is_relative_to(Path(django_htmx.__file__).parent)
        assert is_wheel == bool(re.search("htmx", file.name)), source
        assert is_wheel or file.parent.name == "js", source
    assert page.evaluate(
        "[htmx.config.allowEval, htmx.config.allowScriptTags, htmx.config.includeIndicatorStyles]"
    ) == [
        False,
        False,
        False,
    ]
