"""The list of experiments in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from experiments.models import Experiment, Queue, User, Worker
from tests.browser.conftest import PHONE, WHOLE, is_wider_than_its_window
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/w/lab/experiments/"
LONG = "A rather long name that somebody pasted from a ticket: " + "compare schedules, " * 7


def rows(page) -> list[str]:
    return page.locator("tbody .name").all_text_contents()


def test_slash_goes_to_the_search_box_and_enter_filters(open_as, alice, draft):
    """PAI-F1: the filter stands in the address, and nothing in it that nobody asked for."""
    draft("resnet sweep")
    draft("lightgbm grid")
    page = open_as(alice, LIST)
    assert rows(page) == ["lightgbm grid", "resnet sweep"]
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Filter")).to_be_focused()
    page.keyboard.type("ResNet")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?filter=ResNet*")
    assert rows(page) == ["resnet sweep"]
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("ResNet")
    page.get_by_role("link", name="Clear filter").click()
    page.wait_for_url(lambda url: "filter=" not in url)
    assert len(rows(page)) == 2


def test_a_choice_filters_at_once_and_chips_and_order_keep_it(open_as, alice, lab, draft, in_state):
    """PAI-F1, PAI-L1: filters survive sorting."""
    vision = lab.projects.create(name="vision")
    for name in ("b", "a", "c"):
        draft(name).describe(by=alice, project=vision)
    draft("elsewhere")
    in_state("completed", name="done").describe(by=alice, project=vision)
    page = open_as(alice, LIST)
    page.locator("tr", has_text="done").get_by_role("link", name="vision").click()
    page.wait_for_url("**and=project*vision*")
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("project:vision")
    page.get_by_label("Show").select_option("25")
    page.wait_for_url("**filter=project%3Avision*size=25*")
    page.get_by_role("link", name=re.compile("Draft")).click()
    page.wait_for_url("**status=draft*")
    page.get_by_role("columnheader", name="Name").get_by_role("link").click()
    page.wait_for_url("**sort=name*")
    assert rows(page) == ["a", "b", "c"]
    assert "filter=project%3Avision" in page.url and "status=draft" in page.url
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("columnheader", name="Name").get_by_role("link").click()
    page.wait_for_url("**sort=-name*")
    assert rows(page) == ["c", "b", "a"]


def test_a_row_changes_while_one_looks_and_an_open_menu_stays(open_as, alice, running, draft):
    """TD-X6, PAI-S2: live updates never lose your place."""
    experiment, other = running("the run"), draft("a draft")
    page = open_as(alice, LIST)
    row = page.locator("tr", has_text="the run")
    expect(row.locator(".status")).to_have_text("Running")
    page.get_by_role("combobox", name="Filter").fill("half a wo")
    menu = page.get_by_role("button", name="Actions for a draft")
    menu.click()
    expect(page.locator(f"#actions-{other.public_id}")).to_be_visible()
    where = page.locator(f"#actions-{other.public_id}").bounding_box()["y"]
    other.enqueue(by=alice, queue=Queue.default())
    expect(page.locator("tr", has_text="a draft").locator(".status")).to_have_text("Pending")
    now = page.locator(f"#actions-{other.public_id}").bounding_box()["y"]
    assert abs(now - where) < 1, "it stays at its button"
    experiment.stop(by=alice)
    expect(row.locator(".status")).to_have_text("Stopping")
    end_all(experiment)
    expect(row.locator(".status")).to_have_text("Stopped")
    expect(page.locator(".chips")).to_contain_text("Stopped 1")
    expect(page.locator(f"#actions-{other.public_id}")).to_be_visible()
    expect(page.get_by_role("combobox", name="Filter")).to_have_value("half a wo")


def test_the_filter_line_completes_and_names_the_place_of_an_error(open_as, alice, draft):
    """TD-C3: by the keyboard alone; the list stays as it was while the filter cannot be read."""
    draft("resnet sweep")
    draft("lightgbm grid").describe(by=alice, tags=["nightly"])
    page = open_as(alice, LIST)
    box = page.get_by_role("combobox", name="Filter")
    page.keyboard.press("/")
    page.keyboard.type("ta")
    expect(page.locator("#completions [aria-selected=true]")).to_contain_text("tag")
    page.keyboard.press("Tab")
    expect(box).to_have_value("tag:")
    expect(page.locator("#completions [aria-selected=true]")).to_contain_text("nightly")
    page.keyboard.press("Tab")
    expect(box).to_have_value("tag:nightly ")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?filter=tag%3Anightly*")
    assert rows(page) == ["lightgbm grid"]
    box.fill("tg:nightly")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("did you mean “tag”?")
    expect(box).to_be_focused()
    assert rows(page) == ["lightgbm grid"]
    page.get_by_role("link", name="Use tag").click()
    expect(box).to_have_value("tag:nightly")


def test_the_menu_says_why_something_cannot_be_done(open_as, alice, running):
    """PAI-D1: a running one is refused: stop it first."""
    running("the run")
    page = open_as(alice, LIST)
    page.get_by_role("button", name="Actions for the run").click()
    delete = page.get_by_role("link", name="Delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(page.locator(".menu:popover-open")).to_contain_text("Stop it first")


def test_stop_asks_in_a_dialog_and_comes_back_to_the_list(open_as, alice, running):
    """PAI-X1: Stop on the list."""
    experiment = running("the run")
    page = open_as(alice, LIST + "?sort=name")
    page.get_by_role("link", name="Stop the run").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button").last.click()
    expect(page.locator("tr", has_text="the run").locator(".status")).to_have_text("Stopping")
    assert page.url.endswith("?sort=name")
    experiment.refresh_from_db()
    assert experiment.state == "stopping"


def test_the_name_takes_what_the_columns_leave_and_the_actions_stay_in_sight(open_as, alice, lab, in_state):
    """PAI-N3: whatever a creator is called, the visible column Actions has Edit, Clone and Stop as words."""
    frank = User.objects.create_user("frank.with-a-name-as-long-as@image-classification.research.example.org")
    in_state("running", name=LONG[:200])
    Experiment.objects.update(creator=frank)
    page = open_as(alice, LIST)
    expect(page.get_by_role("columnheader", name="Actions")).to_be_in_viewport(ratio=WHOLE)
    for verb in ("Edit", "Clone", "Stop"):
        link = page.locator(".cell-actions .row-actions > a", has_text=verb)
        expect(link).to_be_in_viewport(ratio=WHOLE)
    creator = page.locator(".cell-who a")
    assert creator.evaluate("one => one.scrollWidth > one.clientWidth"), "cut, with the whole in its title"
    assert creator.get_attribute("title") == frank.username
    widths = page.locator("thead th").evaluate_all("heads => heads.map(one => one.offsetWidth)")
    assert max(widths) == widths[1], "the name is the widest column"
    page.set_viewport_size({"width": 900, "height": 900})
    expect(page.locator(".cell-actions .row-actions > a").first).to_be_hidden()
    page.get_by_role("button", name="Actions for").click()
    expect(page.get_by_role("link", name="Edit", exact=True)).to_be_visible()


@pytest.mark.parametrize("viewport", [PHONE, {"width": 800, "height": 900}, {"width": 1360, "height": 900}])
def test_the_page_never_scrolls_sideways(open_as, alice, lab, draft, in_state, worker, viewport):
    """TD-X6: whatever people write into names, tags and projects."""
    wide = lab.projects.create(name="detection-of-very-small-objects-in-aerial-photographs")
    in_state("paused", name=LONG[:200], metric="a_rather/long_metric/name_that_goes_on").describe(
        by=alice, project=wide, tags=["a-tag-of-exactly-fifty-characters-" + "x" * 16, "b" * 50, "c"]
    )
    Experiment.objects.update(reason="10 failures alike: " + "KeyError " * 20)
    draft("x" * 200)
    waits = draft(
        "waits", direction="minimize", metric="a_rather/long_metric/name_that_goes_on", max_trials=None
    )
    waits.enqueue(by=alice, queue=Queue.objects.create(name="q" * 64, is_open=True))
    Experiment.objects.update(best_value=-1.23456e-7, best_number=3, last_number=987_654)
    page = open_as(alice, LIST, viewport)
    expect(page.locator("tbody tr")).to_have_count(3)
    assert not is_wider_than_its_window(page)
    page.goto(LIST + "?q=nothing")
    assert not is_wider_than_its_window(page)
    page.goto("/workspaces/")
    assert not is_wider_than_its_window(page)


def test_on_a_phone_rows_are_cards_with_their_menu(open_as, alice, running):
    running("the run")
    page = open_as(alice, LIST, PHONE)
    expect(page.locator("thead")).to_be_hidden()
    card = page.locator("tbody tr")
    assert card.bounding_box()["width"] < 390
    page.get_by_role("button", name="Actions for the run").click()
    for action in ("Stop", "Clone"):
        expect(page.get_by_role("link", name=action, exact=True)).to_be_visible()


def test_everything_works_without_script(open_as, alice, draft):
    """TD-X6: all works without JavaScript."""
    draft("resnet")
    draft("lightgbm")
    page = open_as(alice, LIST, java_script_enabled=False)
    page.get_by_role("combobox", name="Filter").fill("res project:Default")
    page.get_by_label("Sort").select_option("name")
    page.get_by_role("button", name="Apply").click()
    assert "sort=name" in page.url
    assert rows(page) == ["resnet"]
    page.get_by_role("button", name="Actions for resnet").click()
    page.get_by_role("link", name="Enqueue", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("resnet")


def test_the_queues_fold_into_cards_on_a_phone(open_as, alice, lab):
    """A name that a worker's long name pushes out of sight cannot be opened."""
    Queue.default()
    name = "gpu-02-with-a-rather-long-name.cluster.example.org"
    Worker.register(name, host="gpu-02", pid=1, queues=["default"], slots=4, lease_s=15)
    page = open_as(alice, "/queues/", PHONE)
    expect(page.get_by_role("link", name="default", exact=True)).to_be_in_viewport(ratio=WHOLE)
    expect(page.get_by_role("region", name="Queues").get_by_text("0/4")).to_be_in_viewport(ratio=WHOLE)
    expect(page.get_by_text(name)).to_be_hidden()
    assert not is_wider_than_its_window(page)


@pytest.mark.parametrize("width", [1360, 1060, 960])
@pytest.mark.parametrize("address", [LIST, "/w/lab/"])
def test_a_long_number_of_trials_is_whole(open_as, alice, draft, address, width):
    """PAI-L1: the budget goes to a second line, without a taller row."""
    draft("short").enqueue(by=alice, queue=Queue.default())
    long = draft("long")
    long.enqueue(by=alice, queue=Queue.default())
    Experiment.objects.filter(pk=long.pk).update(
        state="running", proposed_count=99_996, max_trials=1_000_000, running_count=4
    )
    page = open_as(alice, address, {"width": width, "height": 800})
    row = page.locator("tbody tr", has_text="long").first
    cell = row.locator(".cell-trials")
    expect(cell).to_contain_text("/ 1,000,000")
    assert cell.evaluate(
        "cell => [cell, ...cell.querySelectorAll('span')].every(each => each.scrollWidth <= cell.clientWidth)"
    )
    heights = page.locator("tbody tr:has(.cell-trials)").evaluate_all(
        "rows => rows.map(row => row.offsetHeight)"
    )
    assert width < 1000 or len(set(heights)) == 1, heights
