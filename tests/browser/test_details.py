"""Experiment details in a real browser: live without losing a place, acts through dialogs, no reports of the CSP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect

from experiments.models import Experiment, Outcome, Queue, Trial, User
from tests.support.waiting import eventually
from tests.web.trial.test_table import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

REPORTS = """addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
});"""


@pytest.fixture
def visit(live_server, browser: Browser, broker) -> Iterator:
    """Opens pages as a person: `visit(bob, url, width=390)`. At the end nothing may have been complained about."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(user: User, path: str, *, width: int = 1360, **options: object) -> Page:
        client = Client()
        client.force_login(user)
        key = client.cookies[settings.SESSION_COOKIE_NAME].value
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        context.add_init_script(REPORTS)
        page = context.new_page()
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        response = page.goto(live_server.url + path)
        assert response.headers["content-security-policy"].count("unsafe") == 0
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def url_of(experiment: Experiment, page: str = "experiment") -> str:
    return reverse(page, args=["lab", experiment.public_id])


def test_a_change_arrives_and_nobody_loses_their_place(visit, running, bob):
    """TD-X6, PAI-S2: focus and the open menu survive, the new value is there without a reload."""
    experiment = running()
    page = visit(bob, url_of(experiment))
    page.get_by_role("button", name="More actions").click()
    menu = page.locator("#experiment-actions")
    expect(menu).to_be_visible()
    link = page.locator('#running a[href$="/trials/1/"]').first
    link.focus()
    page.evaluate("globalThis.sameDocument = true")
    Trial.objects.filter(experiment=experiment, number=1).update(last_step=5, last_value=0.4321, version=50)
    expect(page.locator("#running")).to_contain_text("0.4321", timeout=10_000)
    assert page.evaluate("globalThis.sameDocument") is True
    assert link.evaluate("element => element === document.activeElement")
    expect(menu).to_be_visible()


def test_a_row_changes_under_the_reader(visit, running, bob):
    """TD-X6: the table keeps its scroll and its focus while the trial ends in the database."""
    experiment = running(
        space_document={f"p{n}": {"_type": "uniform", "_value": [0, 1]} for n in range(30)},
        command="x ${params}",
    )
    page = visit(bob, url_of(experiment, "experiment-trials"))
    region = page.get_by_role("region", name="Trials table")
    region.evaluate("element => { element.scrollLeft = 300 }")
    row = page.locator('tr[data-key="trial-1"]')
    row.get_by_role("link", name="#1").focus()
    page.evaluate("globalThis.sameDocument = true")
    scrolled = region.evaluate("element => element.scrollLeft")
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(value=0.8, exit_code=0))
    expect(row).to_contain_text("Succeeded", timeout=10_000)
    expect(row).to_contain_text("0.8000")
    assert region.evaluate("element => element.scrollLeft") == scrolled
    assert row.get_by_role("link", name="#1").evaluate("element => element === document.activeElement")
    assert page.evaluate("globalThis.sameDocument") is True


def test_typed_text_survives_while_everything_changes(visit, running, bob):
    """The name of a clone, typed into the dialog, stays while the page behind it is renewed."""
    experiment = running()
    page = visit(bob, url_of(experiment))
    page.get_by_role("link", name="Clone").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("half a na")
    experiment.pause(by=bob)
    expect(page.locator("#head")).to_contain_text("Paused", timeout=10_000)
    expect(dialog.get_by_label("Name")).to_have_value("half a na")
    dialog.get_by_label("Name").press("End")
    page.keyboard.type("me")
    dialog.get_by_role("button", name="Clone as draft").click()
    expect(page.locator("main h1")).to_have_text("half a name")


def test_an_experiment_is_stopped_through_its_dialog(visit, running, bob):
    """PAI-X1, PAI-N4: the question in a native dialog, the way out keeps it running, the act stops it."""
    experiment = running()
    page = visit(bob, url_of(experiment))
    page.get_by_role("link", name="Stop", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 running trial will end")
    dialog.get_by_role("button", name="Keep running").click()
    expect(dialog).to_have_count(0)
    experiment.refresh_from_db()
    assert experiment.state == "running"
    page.get_by_role("link", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop experiment").click()
    expect(page.locator("#head .page-head")).to_contain_text("Stopping")
    expect(page.get_by_role("status").filter(has_text="waiting for 1 trial to end")).to_be_visible()
    experiment.refresh_from_db()
    assert experiment.state == "stopping"


def test_a_draft_goes_into_a_queue_through_its_dialog(visit, draft, bob):
    """CML-Q1."""
    Queue.default()
    gpu = Queue.objects.create(name="gpu", is_open=True)
    experiment = draft()
    page = visit(bob, url_of(experiment))
    page.get_by_role("link", name="Enqueue").click()
    page.get_by_role("dialog").get_by_label("gpu").check()
    page.get_by_role("dialog").get_by_role("button", name="Enqueue").click()
    expect(page.locator("#head .page-head")).to_contain_text("Pending")
    experiment.refresh_from_db()
    assert experiment.queue == gpu


def test_a_trial_is_stopped_from_its_row_and_the_filter_stays(visit, running, bob):
    """PAI-T1."""
    experiment = running()
    page = visit(bob, url_of(experiment, "experiment-trials") + "?state=running")
    page.get_by_role("button", name="Stop trial 1").click()
    expect(page.get_by_role("status").filter(has_text="Stopping #1.")).to_be_visible()
    assert page.url.endswith("?state=running")
    eventually(lambda: experiment.trials.get(number=1).state == "stopping", what="the stop")


@pytest.mark.parametrize("page_name", ["experiment", "experiment-trials"])
def test_nothing_scrolls_sideways_on_a_phone(visit, draft, bob, page_name):
    """At 390 pixels; long names, thirty parameters, many trials."""
    name = "a_name_without_any_space_in_it_that_is_longer_than_a_phone_is_wide_and_goes_on"
    space = {f"{name[:50]}_{n}": {"_type": "choice", "_value": [name, "b"]} for n in range(30)}
    experiment = draft(name, space_document=space, command="x ${params}")
    many(experiment, 60)
    Trial.objects.filter(experiment=experiment).update(params=dict.fromkeys(space, name), detail=name * 3)
    page = visit(bob, url_of(experiment, page_name), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_shows_the_one_that_fits(visit, draft, bob, scheme):
    """Wide on a desk, narrow on a phone; every mark leads to its trial."""
    experiment = draft()
    many(experiment, 30)
    page = visit(bob, url_of(experiment), color_scheme=scheme)
    expect(page.locator("#history svg.chart.is-wide")).to_be_visible()
    expect(page.locator("#history svg.chart.is-narrow")).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator("#history svg.chart.is-narrow")).to_be_visible()
    expect(page.locator("#history svg.chart.is-wide")).to_be_hidden()
    hrefs = page.locator("#history svg.chart.is-narrow a").evaluate_all(
        "links => links.map(a => a.getAttribute('href'))"
    )
    assert url_of(experiment, "experiment-trials") + "29/" in hrefs


@pytest.mark.parametrize("width", [390, 800, 1360])
def test_a_failed_trial_has_its_reason_on_the_page_of_its_worker(visit, running, root, worker, width):
    """At any width."""
    running().trials.get(state="running").settle(
        Outcome(failure="exit_code", detail="CUDA error", exit_code=1)
    )
    page = visit(root, f"/workers/{worker.name}/", width=width)
    expect(page.get_by_text("CUDA error").filter(visible=True)).to_have_count(1)


def test_all_works_without_script(visit, running, bob):
    """TD-X6: question, act, message, and back."""
    experiment = running()
    page = visit(bob, url_of(experiment), java_script_enabled=False)
    page.get_by_role("link", name="Stop", exact=True).click()
    expect(page.get_by_role("heading", name="Stop first?")).to_be_visible()
    page.get_by_role("button", name="Stop experiment").click()
    expect(page.locator("#head .page-head")).to_contain_text("Stopping")
    expect(page.get_by_text("waiting for 1 trial to end")).to_be_visible()
