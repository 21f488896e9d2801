"""What somebody typed, in a real browser: a key saves it, a way out leaves it, and nothing is lost by accident."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def url_of(experiment, page: str, *more: str) -> str:
    return reverse(page, args=["lab", experiment.public_id, *more])


def test_what_was_typed_is_saved_by_a_key_and_never_lost_by_accident(open_as, bob, draft):
    """CML-E0, PAI-M2: Control+Enter saves the open block and the big form; Esc leaves a block, and asks where something
    is unsaved; so does leaving a page, but not by Cancel, nor by saving."""
    experiment = draft()
    page = open_as(bob, url_of(experiment, "experiment-execution"))
    dialogs = []
    page.on("dialog", lambda question: (dialogs.append(question.type), question.dismiss()))
    dialog = page.get_by_role("dialog")

    # A block in a dialog: Esc closes it; after typing it says so first, and a click beside it does nothing.
    edit = page.get_by_role("link", name="Edit container")
    edit.click()
    dialog.get_by_label("Image").press("Escape")
    expect(dialog).to_have_count(0)
    edit.click()
    dialog.get_by_label("Image").press_sequentially("torch:3")
    page.mouse.click(5, 5)
    unsaved = "Your changes are not saved. Press Esc or Cancel to discard them."
    expect(dialog.get_by_role("alert")).to_have_text(unsaved)
    dialog.get_by_label("Setup script").press("Control+Enter")
    page.wait_for_url("**/execution/#container")
    expect(page.locator("#container")).to_contain_text("torch:3")
    page.get_by_role("link", name="Edit container").click()
    dialog.get_by_label("Image").press_sequentially("x")
    page.keyboard.press("Escape")
    expect(dialog.get_by_role("alert")).to_have_text(unsaved)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert dialogs == []

    # The page of a block: the browser asks, and who stays finds what was typed.
    page.goto(url_of(experiment, "execution-edit", "output"))
    box = page.get_by_label("Destination")
    box.press_sequentially("/mnt/share")
    with page.expect_event("dialog"):
        page.get_by_role("link", name="Workspaces", exact=True).first.click()
    with page.expect_event("dialog"):
        page.keyboard.press("Escape")
    expect(box).to_have_value("/mnt/share")
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**/execution/#output")
    page.goto(url_of(experiment, "execution-edit", "output"))
    page.get_by_label("Destination").press("Escape")
    page.wait_for_url("**/execution/#output")

    # The big form: what was refused is still unsaved, what was taken back is not typed.
    page.goto(url_of(experiment, "experiment-edit"))
    seed = page.get_by_label("Seed")
    seed.press_sequentially("1")
    seed.press("Backspace")
    page.get_by_role("link", name="Workspaces", exact=True).first.click()
    page.wait_for_url("**/workspaces/")
    page.go_back()
    page.get_by_label("Seed").fill("-1")
    page.get_by_label("Seed").press("Control+Enter")
    expect(page.get_by_text("This must be at least 0.").first).to_be_visible()
    with page.expect_event("dialog"):
        page.get_by_role("link", name="Workspaces", exact=True).first.click()
    page.get_by_label("Seed").fill("4711")
    page.get_by_label("Seed").press("Control+Enter")
    page.wait_for_url(f"**{url_of(experiment, 'experiment')}")
    experiment.refresh_from_db()
    assert (experiment.settings.seed, dialogs) == (4711, ["beforeunload"] * 3)
