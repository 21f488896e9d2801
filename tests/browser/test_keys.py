"""The keyboard in a real browser: rows, acts, help, and nothing while somebody types."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from experiments.models import Failure, Outcome
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/w/lab/experiments/"


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent.trim()")


def test_j_and_k_go_through_the_rows_and_enter_opens_one(open_as, bob, draft):
    """j, k, Enter."""
    for name in ("third", "second", "first"):
        draft(name)
    page = open_as(bob, LIST)
    page.keyboard.press("k")
    assert focused(page) == "first"
    for key, name in (("j", "second"), ("j", "third"), ("j", "third"), ("k", "second")):
        page.keyboard.press(key)
        assert focused(page) == name
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("second")


def test_an_action_is_that_of_the_row_and_asks_first(open_as, bob, running):
    """s and c act on the row one is in; what a click does at once, a key asks."""
    experiment = running("the run", taken=2)
    page = open_as(bob, f"{LIST}{experiment.public_id}/trials/?sort=number")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused(page) == "#2"
    page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop trial 2?")
    assert experiment.trials.filter(state="running").count() == 2, "nothing happened yet"
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('tr').dataset.key") == "trial-2"
    page.keyboard.press("s")
    page.get_by_role("dialog").get_by_role("button", name="Stop trial").click()
    expect(page.locator("tr", has_text="#2").locator(".status")).to_have_text("Stopping")


def test_an_action_is_that_of_the_page_when_one_is_in_no_row(open_as, bob, running):
    experiment = end_all(running(concurrency=1), Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="no"))
    page = open_as(bob, f"{LIST}{experiment.public_id}/trials/1/")
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_contain_text("Rerun trial 1?")
    page.goto(f"{LIST}{experiment.public_id}/")
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name=re.compile("Clone"))).to_be_visible()


def test_a_viewer_has_no_actions_on_keys_either(open_as, carol, running):
    experiment = running()
    page = open_as(carol, LIST)
    page.keyboard.press("j")
    for key in "ecsrx":
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url.endswith(LIST)
    experiment.refresh_from_db()
    assert experiment.state == "running"


def test_x_selects_the_row(open_as, bob, running):
    experiment = running(taken=2)
    page = open_as(bob, f"{LIST}{experiment.public_id}/trials/?sort=number")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Select trial 1", exact=True)).to_be_checked()
    page.keyboard.press("x")
    expect(page.get_by_label("Select trial 1", exact=True)).not_to_be_checked()


def test_help_opens_closes_and_gives_the_focus_back(open_as, bob, draft):
    """?, a native dialog, closed with Esc."""
    draft("one")
    page = open_as(bob, LIST)
    page.keyboard.press("j")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    page.keyboard.press("j")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert focused(page) == "one"


def test_it_can_be_switched_off_and_on_again(open_as, bob, draft):
    """WCAG 2.1.4: kept by the browser, also over pages."""
    draft("one")
    page = open_as(bob, LIST)
    page.keyboard.press("?")
    with page.expect_response("**/preferences/shortcuts/"):
        page.get_by_label(re.compile("Enable shortcuts")).uncheck()
    page.keyboard.press("Escape")
    page.reload()
    for key in ("j", "?", "/"):
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("document.activeElement === document.body")
    page.get_by_role("button", name="Shortcuts").click()
    page.get_by_label(re.compile("Enable shortcuts")).check()
    page.get_by_role("button", name="Close").click()
    page.locator("main").click(position={"x": 1, "y": 1})
    page.keyboard.press("j")
    assert focused(page) == "one"


def test_letters_that_are_typed_stay_letters(open_as, bob, running):
    experiment = running("the run")
    page = open_as(bob, LIST)
    page.keyboard.press("/")
    page.keyboard.type("jkxecsr?/")
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("jkxecsr?/")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Show").focus()
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("body").press("Control+s")
    expect(page.get_by_role("dialog")).to_have_count(0)
    experiment.refresh_from_db()
    assert experiment.state == "running"
