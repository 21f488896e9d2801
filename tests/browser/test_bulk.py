"""Several rows at once in a real browser, with and without script; adding a trial through its dialog."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Experiment, Failure, Outcome
from tests.browser.conftest import PHONE, WHOLE, is_wider_than_its_window
from tests.web.trial.test_table import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def url_of(experiment: Experiment, page: str = "experiment-trials") -> str:
    return reverse(page, args=["lab", experiment.public_id])


@pytest.fixture
def failing(running: Callable[..., Experiment], broker: object) -> Experiment:
    """#1 and #2 have failed, #3 runs."""
    experiment = running(taken=3, concurrency=3, max_trials=3)
    for trial in experiment.trials.filter(number__lte=2):
        outcome = Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="KeyError: 'label'")
        trial.settle(outcome)
    return experiment


def tick(page: Page, number: int) -> None:
    page.get_by_label(f"Select trial {number}", exact=True).check()


@pytest.mark.parametrize("has_script", [True, False])
def test_ticked_trials_are_rerun_after_a_question(open_as, failing, bob, has_script):
    """PAI-R4: the bar counts what is ticked; the question says how many; one message answers."""
    page = open_as(bob, url_of(failing) + "?sort=number", java_script_enabled=has_script)
    bar = page.get_by_role("region", name="Selection")
    expect(bar).to_be_hidden()
    for number in (1, 2, 3):
        tick(page, number)
    expect(bar).to_be_visible()
    bar.get_by_role("button", name="Rerun failed").click()
    expect(page.get_by_role("heading", name="Rerun 2 trials?")).to_be_visible()
    page.get_by_role("button", name="Rerun 2 trials").click()
    expect(page.get_by_text("Rerunning 2 trials as #4 to #5. Skipped: #3")).to_be_visible()
    assert page.url.endswith("?sort=number"), "back where it was ticked"
    assert failing.trials.filter(source="rerun").count() == 2


def test_ticks_survive_what_arrives_live(open_as, failing, bob):
    """TD-X6: a row that is ticked stays ticked when the table is drawn anew."""
    page = open_as(bob, url_of(failing))
    tick(page, 2)
    trial = failing.trials.get(number=3)
    trial.settle(Outcome(exit_code=0, value=0.8125))
    expect(page.locator("tr[data-key=trial-3]")).to_contain_text("0.8125")
    expect(page.get_by_label("Select trial 2", exact=True)).to_be_checked()
    expect(page.get_by_role("region", name="Selection")).to_be_visible()


def test_the_box_in_the_head_ticks_all_and_the_bar_clears_them(open_as, failing, bob):
    page = open_as(bob, url_of(failing))
    everything = page.get_by_label("Select all trials on this page")
    everything.check()
    expect(page.locator("tbody input:checked")).to_have_count(3)
    page.get_by_label("Select trial 2", exact=True).uncheck()
    expect(everything).not_to_be_checked()
    page.get_by_role("button", name="Clear selection").click()
    expect(page.locator("tbody input:checked")).to_have_count(0)


def test_experiments_are_stopped_together(open_as, running, draft, bob, broker):
    """TD-A8, on a phone: nothing is wider than the window."""
    first, second, third = running("one"), running("two"), draft("three")
    page = open_as(bob, reverse("experiments", args=["lab"]), PHONE)
    for name in ("one", "two", "three"):
        page.get_by_label(f"Select {name}", exact=True).check()
    assert not is_wider_than_its_window(page)
    page.get_by_role("region", name="Selection").get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Applies to 2 of the 3 selected")).to_be_visible()
    page.get_by_role("button", name="Stop 2 experiments").click()
    expect(page.get_by_text("Stopping 2 experiments. Skipped: three")).to_be_visible()
    for experiment in (first, second, third):
        experiment.refresh_from_db()
    assert [first.state, second.state, third.state] == ["stopping", "stopping", "draft"]


def test_a_group_of_failures_is_rerun_from_its_dialog(open_as, failing, bob):
    """TD-X3."""
    page = open_as(bob, url_of(failing, "experiment"))
    page.get_by_role("link", name="Rerun all 2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("all 2 selected")
    dialog.get_by_role("button", name="Rerun 2 trials").click()
    expect(page.get_by_text("Rerunning 2 trials")).to_be_visible()
    assert failing.trials.filter(source="rerun").count() == 2


def test_a_trial_is_added_through_its_dialog(open_as, failing, bob):
    """TD-A16."""
    page = open_as(bob, url_of(failing))
    page.get_by_role("link", name="Add trial").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("lr").fill("0.0125")
    dialog.get_by_label("layers").select_option("2")
    dialog.get_by_role("button", name="Add trial").click()
    expect(page.get_by_text("Added trial #4.")).to_be_visible()
    assert failing.trials.get(number=4).params == {"lr": 0.0125, "layers": 2}


def test_fifty_rows_fit_their_window(open_as, running, bob, broker):
    experiment = running()
    many(experiment, 120, last=10)
    page = open_as(bob, url_of(experiment), PHONE)
    page.get_by_label("Select trial 130", exact=True).check()
    expect(page.get_by_role("region", name="Selection")).to_be_in_viewport(ratio=WHOLE)
    assert not is_wider_than_its_window(page)
