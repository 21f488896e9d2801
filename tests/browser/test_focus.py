"""The focus stays where somebody works, although an action loads the page anew and draws the row anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from experiments.models import Experiment, User
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/w/lab/experiments/"


def confirm(page: Page) -> None:
    """Press the button of the question, by the keyboard, and wait for the page that it leads to."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.locator("footer button[hx-post]").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_after_a_stop_by_key_the_focus_is_on_the_row(
    open_as: Callable[..., Page],
    bob: User,
    running: Callable[..., Experiment],
    draft: Callable[..., Experiment],
) -> None:
    """TD-C6: focus goes to the row after an action, and stays there while the row changes."""
    experiment = running("the run")
    draft("a draft")
    page = open_as(bob, LIST + "?sort=name")
    page.keyboard.press("j")
    page.keyboard.press("j")
    name = page.get_by_role("link", name="the run", exact=True)
    expect(name).to_be_focused()
    page.keyboard.press("s")
    confirm(page)
    expect(name).to_be_focused()
    expect(page.locator("tr", has_text="the run").locator(".status")).to_have_text("Stopping")
    end_all(experiment)
    expect(page.locator("tr", has_text="the run").locator(".status")).to_have_text("Stopped")
    expect(name).to_be_focused()
    page.keyboard.press("k")
    expect(page.get_by_role("link", name="a draft", exact=True)).to_be_focused()


def test_a_control_that_stays_keeps_the_focus_and_one_that_goes_gives_it_to_its_row(
    open_as: Callable[..., Page], bob: User, running: Callable[..., Experiment]
) -> None:
    """TD-C6: in the table of trials too, where Stop asks nothing."""
    experiment = running(taken=2)
    page = open_as(bob, f"{LIST}{experiment.public_id}/trials/?sort=number")
    row = page.locator("tbody tr").first
    row.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(row.locator(".status")).to_have_text("Stopping")
    expect(row.locator("th a")).to_be_focused()


def test_the_row_in_the_place_of_a_deleted_one_has_the_focus(
    open_as: Callable[..., Page], bob: User, draft: Callable[..., Experiment]
) -> None:
    """TD-C6"""
    for name in ("a", "b", "c"):
        draft(name)
    page = open_as(bob, LIST + "?sort=name")
    page.get_by_role("link", name="Delete b").focus()
    page.keyboard.press("Enter")
    confirm(page)
    expect(page.get_by_role("link", name="b", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="c", exact=True)).to_be_focused()


def test_on_details_a_button_of_the_head_has_the_focus(
    open_as: Callable[..., Page], bob: User, running: Callable[..., Experiment]
) -> None:
    """TD-C6: Pause becomes Unpause at its place."""
    experiment = running("the run")
    page = open_as(bob, f"{LIST}{experiment.public_id}/")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Unpause")).to_be_visible()
    expect(page.locator("main .page-head .actions :focus")).to_have_count(1)
