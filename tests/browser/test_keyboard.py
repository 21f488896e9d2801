"""Tables by keyboard in a real browser: ranges of ticks, and the completions of the filter line."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from experiments.models import Experiment
from tests.web.trial.test_table import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/w/lab/experiments/"
BOXES = "tbody input[form=bulk]"


@pytest.fixture
def tables(running, draft) -> dict[str, str]:
    """The paths of a table of six trials and of a list of six experiments."""
    experiment: Experiment = running(max_trials=20)
    many(experiment, 4, last=experiment.last_number)  # beside a running and a waiting one
    for number in range(5):
        draft(f"draft {number}")
    return {"trials": f"{LIST}{experiment.public_id}/trials/", "experiments": LIST}


def ticked(page: Page) -> list[int]:
    """Return the places of the ticked rows."""
    checked = page.locator(BOXES).evaluate_all("all => all.map((box) => box.checked)")
    return [place for place, is_checked in enumerate(checked) if is_checked]


@pytest.mark.parametrize("table", ["trials", "experiments"])
def test_shift_and_space_tick_a_range_and_ctrl_ticks_a_row(open_as, alice, tables, table):
    """TD-C3: by keyboard as by pointer; Shift also clears a range."""
    page = open_as(alice, tables[table])
    boxes = page.locator(BOXES)
    expect(boxes).to_have_count(6)
    boxes.nth(1).focus()
    page.keyboard.press("Space")
    boxes.nth(4).focus()
    page.keyboard.press("Shift+Space")
    assert ticked(page) == [1, 2, 3, 4]
    boxes.nth(3).focus()
    page.keyboard.press("Shift+Space")
    assert ticked(page) == [1, 2], "from the box ticked last, as the box itself becomes"
    boxes.nth(0).click(modifiers=["Shift"])
    assert ticked(page) == [0, 1, 2, 3]
    page.locator("tbody tr").nth(5).locator("td:not(:has(a, button, label, input))").first.click(
        modifiers=["Control"]
    )
    assert ticked(page) == [0, 1, 2, 3, 5]
    expect(page.get_by_role("checkbox", name="Select all")).to_have_js_property("indeterminate", True)


@pytest.mark.parametrize("table", ["trials", "experiments"])
def test_the_completions_are_used_by_keyboard_and_announced(open_as, alice, tables, table):
    """TD-C3, TD-X5: arrows mark, Tab completes, Esc closes, Enter applies what is typed; the box names the marked
    option."""
    page = open_as(alice, tables[table])
    box, options = page.get_by_role("combobox", name="Filter"), page.locator("#completions [role=option]")
    marked = page.locator("#completions [aria-selected=true]")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowDown")
    expect(box).to_have_attribute("aria-expanded", "true")
    first = options.first.get_attribute("id")
    expect(box).to_have_attribute("aria-activedescendant", first or "")
    page.keyboard.press("ArrowDown")
    expect(marked).to_have_id(options.nth(1).get_attribute("id") or "")
    expect(box).to_have_attribute("aria-activedescendant", options.nth(1).get_attribute("id") or "")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(marked).to_have_id(options.last.get_attribute("id") or "")
    expect(marked).to_be_in_viewport()
    assert Axe().run(page, context="#filter", options={"preload": False}).response["violations"] == []
    page.keyboard.press("Escape")
    expect(page.locator("#completions")).to_be_hidden()
    expect(box).to_have_attribute("aria-expanded", "false")
    expect(box).to_have_attribute("aria-activedescendant", "")
    expect(box).to_be_focused()
    page.keyboard.type("sta")
    expect(marked).to_contain_text("sta")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    expect(box).to_have_value("state:")
    expect(marked).to_be_visible()
    expect(box).to_be_focused()
    page.keyboard.type("runn")
    expect(marked).to_contain_text("running")
    page.keyboard.press("Tab")
    expect(box).to_have_value("state:running ")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?filter=state%3Arunning*")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#completions")).to_be_hidden()
    expect(box).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(box).not_to_be_focused()


def test_a_condition_that_excludes_everything_is_dropped_by_its_link(open_as, alice, tables):
    """TD-C3, TD-X5: from the empty table, without typing."""
    page = open_as(alice, f"{tables['trials']}?filter=state:succeeded+value>1e6")
    expect(page.locator(".exclusions")).to_contain_text("value>1e6 matches no trial.")
    assert Axe().run(page, options={"preload": False}).response["violations"] == []
    page.get_by_role("link", name="Without this condition: 4 trials").press("Enter")
    page.wait_for_url("**/?filter=state%3Asucceeded")
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("state:succeeded")
