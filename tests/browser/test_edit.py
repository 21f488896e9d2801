"""Update experiment, restore and clone in a real browser, with and without script."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Experiment, Outcome, Trial
from tests.browser.conftest import DESK, PHONE, WHOLE, is_wider_than_its_window
from tests.people import look_at, make_settings

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def url_of(experiment: Experiment, page: str = "experiment-edit") -> str:
    return reverse(page, args=["lab", experiment.public_id])


@pytest.fixture
def searched(running):
    """An experiment under way, with eight results."""
    experiment = running("resnet50, wide search", taken=2, algorithm="TPE", max_trials=40)
    for number in range(8):
        trial = experiment.trials.filter(state="running").order_by("number").first()
        trial.settle(Outcome(value=0.5 + number / 100))
        Trial.objects.filter(pk=trial.pk).update(
            params={"lr": 0.0002 * 2**number, "layers": 1}, raw=None, duration_s=600 + number * 60
        )
        look_at(experiment)
        Trial.take(trial.worker, ["default"])
    experiment.refresh_from_db()
    return experiment


def row(page: Page, number: int):
    return page.locator("[data-space-row]").nth(number)


def test_an_update_shows_its_consequences_while_one_types(open_as, bob, searched):
    """TD-X1, TD-X4, PAI-M1, PAI-M2: from the row to the accepted revision and its mark in the history."""
    page = open_as(bob, reverse("experiment", args=["lab", searched.public_id]))
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_role("heading", name="Update experiment")).to_be_visible()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Change a field to preview its effect.")
    page.get_by_label("Max trials").fill("60")
    expect(preview).to_contain_text("1 change")
    expect(preview.locator("ins")).to_have_text("60")
    row(page, 0).get_by_label("Values").fill("0.001, 0.1")
    expect(preview).to_contain_text("3 of 8 finished trials are outside the new search space")
    expect(preview).to_contain_text("between")
    page.get_by_label("Concurrency").fill("1")
    expect(preview).to_contain_text("1 over the new concurrency: no new trials start until")
    page.get_by_label("Stop excess trials now").check()
    expect(preview).to_contain_text("the newest is stopped now")
    expect(page.get_by_label("Max trials")).to_have_value("60")
    page.get_by_label("Reason").fill("the good ones lie above 1e-3")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(lambda url: "/edit/" not in url)
    expect(page.locator(".toast")).to_contain_text("Saved as revision 2")
    expect(page.locator("#history")).to_contain_text("Revision 2, bob")
    changed = Experiment.objects.get()
    assert (changed.max_trials, changed.concurrency, changed.stopping_count) == (60, 1, 1)


def test_two_people_at_once_lose_nothing(open_as, alice, bob, searched):
    """PAI-M3: 409 in the page, what was typed stays, a second submit holds."""
    page = open_as(bob, url_of(searched))
    page.get_by_label("Concurrency").fill("4")
    settings = make_settings(**{**searched.settings.document(), "max_trials": 99})
    Experiment.objects.get().update(settings, by=alice, seen=1)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("alice saved revision 2")
    expect(page.get_by_label("Concurrency")).to_have_value("4")
    expect(page.get_by_label("Max trials")).to_have_value("99")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(lambda url: "/edit/" not in url)
    changed = Experiment.objects.get()
    assert (changed.concurrency, changed.max_trials, changed.revision.number) == (4, 99, 3)


def test_without_script_update_restore_and_clone_work(open_as, bob, searched):
    """TD-X6: Preview changes is a button; Restore and Clone are pages."""
    page = open_as(bob, url_of(searched), java_script_enabled=False)
    page.get_by_label("Max trials").fill("60")
    page.get_by_role("button", name="Preview changes").last.click()
    expect(page.locator("#preview ins")).to_have_text("60")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="Configuration").click()
    page.get_by_role("link", name="Restore revision 1").click()
    expect(page.locator("#preview")).to_contain_text("1 change")
    page.get_by_role("button", name="Submit").click()
    assert (Experiment.objects.get().max_trials, Experiment.objects.get().revision.number) == (40, 3)
    page.get_by_role("link", name="Clone", exact=True).click()
    page.get_by_label("Name").fill("the same again")
    page.get_by_role("button", name="Review and start").click()
    expect(page.get_by_role("heading", name="Create experiment")).to_be_visible()
    page.get_by_label("Max trials").fill("7")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.get_by_text("Clone of resnet50, wide search")).to_be_visible()
    page.get_by_role("link", name="differences").click()
    expect(page.locator("#parent")).to_contain_text("Max trials")
    assert Experiment.objects.get(name="the same again").parent == searched


def test_review_and_start_from_the_dialog(open_as, bob, searched):
    """PAI-C1: the question opens in a dialog and leads to Create experiment, filled."""
    page = open_as(bob, reverse("experiment", args=["lab", searched.public_id]))
    page.get_by_role("link", name="Clone", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("reviewed")
    dialog.get_by_role("button", name="Review and start").click()
    expect(page.get_by_role("heading", name="Create experiment")).to_be_visible()
    expect(page.get_by_label("Name", exact=True).first).to_have_value("reviewed")
    page.get_by_label("Concurrency").fill("3")
    expect(page.locator("#preview")).to_contain_text("python train.py --lr")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(lambda url: "/new/" not in url)
    made = Experiment.objects.get(name="reviewed")
    assert (made.parent, made.state, made.concurrency) == (searched, "pending", 3)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 800, "height": 900}, {"width": 1360, "height": 900}])
def test_no_page_scrolls_sideways(open_as, alice, bob, searched, viewport):
    long = "python train.py " + "--a-very-long-option ${lr} " * 20
    changes = {"max_trials": 99, "command": f"set -e\n{long}", "environment": {"A" * 60: "x" * 300}}
    searched.update(
        make_settings(**{**searched.settings.document(), **changes}), by=alice, seen=1, note="because " * 20
    )
    page = open_as(bob, url_of(searched), viewport)
    row(page, 0).get_by_label("Values").fill("0.001, 0.1")
    expect(page.locator("#preview")).to_contain_text("outside the new search space")
    assert not is_wider_than_its_window(page)
    page.goto(url_of(searched, "experiment-configuration"))
    page.get_by_text("Compared with the current revision").first.click()
    assert not is_wider_than_its_window(page)


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_submit_stays_in_sight_and_covers_no_field(open_as, bob, searched, viewport):
    """PAI-M2, PAI-C1: the bar sticks to the lower edge; a field that gets the focus is scrolled clear of it."""
    page = open_as(bob, url_of(searched), viewport)
    submit = page.get_by_role("button", name="Submit")
    expect(submit).to_be_in_viewport(ratio=WHOLE)
    for _ in range(40):
        page.keyboard.press("Tab")
        hidden = page.evaluate("""() => {
            const field = document.activeElement, bar = document.querySelector(".form-bar").getBoundingClientRect();
            if (!field.matches("#experiment-form :is(input, select, textarea)")) return "";
            const box = field.getBoundingClientRect();
            return box.bottom > bar.top && box.height < bar.top ? `${field.name}: ${box.bottom} > ${bar.top}` : "";
        }""")
        assert hidden == ""
    expect(submit).to_be_in_viewport(ratio=WHOLE)
    assert not is_wider_than_its_window(page)
