"""Home, search and the menu of a row in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from experiments.models import Channel, Delivery, Project, Rule
from experiments.scheduler.notifications import fan_out
from tests.browser.conftest import PHONE, is_wider_than_its_window
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/w/lab/experiments/"


def test_a_right_click_opens_the_menu_of_the_row_where_the_pointer_is(open_as, alice, running, draft):
    """CML-C1, CML-Q1: the same menu as behind its button, by the context menu key too; the browser's own with Shift."""
    experiment, other = running("the run"), draft("a draft")
    page = open_as(alice, LIST)
    menu = page.locator(f"#actions-{experiment.public_id}")
    name = page.get_by_role("link", name="the run", exact=True)
    name.click(button="right")
    expect(menu).to_be_visible()
    at, opened = name.bounding_box(), menu.bounding_box()
    middle = at["x"] + at["width"] / 2
    assert opened["x"] - 5 <= middle <= opened["x"] + opened["width"] + 5, "it opens at the pointer"
    expect(menu.get_by_role("link").first).to_be_focused()
    experiment.pause(by=alice)
    expect(page.locator("tr", has_text="the run").locator(".status")).to_have_text("Paused")
    expect(menu).to_be_visible()
    now = menu.bounding_box()
    assert abs(now["x"] + now["width"] - opened["x"] - opened["width"]) < 1, "it stays at the pointer"
    page.locator("tr", has_text="a draft").locator("td").nth(3).click(button="right")
    expect(menu).to_be_hidden()
    theirs = page.locator(f"#actions-{other.public_id}")
    expect(theirs).to_be_visible()
    page.keyboard.press("Escape")
    expect(theirs).to_be_hidden()
    name.click(button="right", modifiers=["Shift"])
    expect(menu).to_be_hidden()
    page.get_by_role("link", name="a draft", exact=True).focus()
    page.keyboard.press("ContextMenu")
    expect(theirs).to_be_visible()
    theirs.get_by_role("link", name="Enqueue").click()
    expect(page.get_by_role("dialog")).to_contain_text("Enqueue a draft")


def test_slash_leads_to_search_where_the_page_has_no_box(open_as, alice, lab, draft):
    """Search over everything; on Home the box is there."""
    draft("resnet sweep")
    Project.create(lab, name="resnets")
    page = open_as(alice, "/queues/")
    page.keyboard.press("/")
    page.wait_for_url("**/search/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.goto("/w/lab/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("ResNet")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/?q=ResNet")
    expect(page.get_by_role("link", name="resnets")).to_be_visible()
    page.get_by_role("link", name="resnet sweep").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("resnet sweep")


def test_home_changes_while_one_looks_and_leads_on(open_as, alice, running):
    """CML-N1: a click on a recent experiment, on a project's card."""
    experiment = running("the run", max_trials=1)
    page = open_as(alice, "/w/lab/")
    row = page.locator("tr", has_text="the run")
    expect(row.locator(".status")).to_have_text("Running")
    end_all(experiment)
    expect(row.locator(".status")).to_have_text("Completed")
    page.locator(".card", has_text="Default").click(position={"x": 60, "y": 60})
    page.wait_for_url(re.compile(r"/w/lab/experiments/\?project=Default"))


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1360, "height": 900}])
def test_the_pages_never_scroll_sideways(open_as, alice, lab, draft, viewport):
    """TD-X6: whatever people write into names and descriptions."""
    project = Project.create(lab, name="p" * 100, description="d" * 500)
    draft("x" * 200).describe(by=alice, project=project)
    page = open_as(alice, "/w/lab/", viewport)
    for path in ("/w/lab/projects/", f"/w/lab/projects/{project.pk}/delete/", "/projects/", "/search/?q=x"):
        assert not is_wider_than_its_window(page)
        page.goto(path)
    assert not is_wider_than_its_window(page)


def test_the_project_box_of_clone_is_for_the_keyboard_too(open_as, alice, lab, draft):
    """CML-C1: typing searches; a name that no project has is created after it was confirmed."""
    experiment = draft()
    Project.create(lab, name="Vision & sound")
    page = open_as(alice, LIST)
    page.get_by_role("link", name="first", exact=True).focus()
    page.keyboard.press("c")
    dialog = page.get_by_role("dialog")
    box = dialog.get_by_role("combobox", name="Project")
    expect(box).to_have_value("Default")
    assert dialog.locator("datalist option").evaluate_all("all => all.map((option) => option.value)") == [
        "Default",
        "Vision & sound",
    ]
    box.fill("vision")
    expect(dialog.get_by_label("Create New “vision”")).not_to_be_checked()
    dialog.get_by_role("button", name="Clone as draft").click()
    expect(dialog).to_contain_text("No project is named “vision”.")
    expect(box).to_have_value("vision")
    box.fill("")
    box.press_sequentially("Vision & sound")
    expect(dialog.get_by_label("Create New “")).to_have_count(0)
    dialog.get_by_role("button", name="Clone as draft").click()
    expect(page.get_by_role("main").get_by_role("heading", level=1)).to_have_text("Clone of first")
    assert experiment.clones.get().project.name == "Vision & sound"
    plain = open_as(alice, f"{LIST}{experiment.public_id}/clone/", java_script_enabled=False)
    plain.get_by_label("Create new").fill("by hand")
    plain.get_by_role("button", name="Clone as draft").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("Clone of first")
    assert lab.projects.filter(name="by hand").exists()


def test_the_tab_counts_what_nobody_has_seen(open_as, running, lab, bob, broker):
    """TD-D5: in title and icon of a page in the background; whoever looks has seen them."""
    tab, _ = Channel.create(lab, owner=bob, kind="browser", name="tab")
    Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[tab])
    end_all(running("resnet", max_trials=1))
    fan_out.expand()
    page = open_as(bob, LIST)
    page.context.add_cookies([{"name": "unseen", "value": "on", "url": page.url}])
    page.context.add_init_script("Object.defineProperty(document, 'hidden', {get: () => !window.looks})")
    page.reload()
    expect(page).to_have_title(re.compile(r"^\(1\) Experiments"))
    icon = page.locator("link[rel=icon]")
    expect(icon).to_have_attribute("href", re.compile("favicon-unseen"))
    page.evaluate("looks = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page).to_have_title(re.compile("^Experiments"))
    expect(icon).not_to_have_attribute("href", re.compile("unseen"))
    assert Delivery.unseen_by(bob).count() == 0
