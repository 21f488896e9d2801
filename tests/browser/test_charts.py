"""Charts in a real browser: tooltips, the arrow keys, a range drawn along an axis; and what a button copies."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Experiment, User
from tests.browser.conftest import DESK, PHONE
from tests.web.trial.test_table import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def charts(draft: Callable[..., Experiment]) -> str:
    """Return the address of the charts of 30 trials."""
    experiment = draft()
    many(experiment, 30)
    return reverse("experiment-charts", args=["lab", experiment.public_id])


def test_the_arrow_keys_go_through_the_marks_whose_tooltip_follows(
    open_as: Callable[..., Page], charts: str, bob: User
) -> None:
    """TD-C1: Tab reaches one mark of a chart; a tooltip is beside its mark, and no other one."""
    page = open_as(bob, charts)
    chart, tip = page.locator(".chart:visible:has(a)").first, page.locator(".tip")
    stop = chart.locator("a:not([tabindex])")
    expect(stop).to_have_count(1)
    expect(tip).to_be_hidden()
    stop.focus()
    expect(tip).to_contain_text("#")
    page.keyboard.press("Home")
    seen = []
    for _ in range(3):
        mark = chart.locator("a:focus").bounding_box()
        box = tip.bounding_box()
        assert box["y"] + box["height"] <= mark["y"] or box["y"] >= mark["y"] + mark["height"]
        assert box["x"] <= mark["x"] + mark["width"] / 2 <= box["x"] + box["width"]
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1360
        seen.append((mark["x"], tip.inner_text()))
        page.keyboard.press("ArrowRight")
    assert seen == sorted(seen) and len({text for _, text in seen}) == 3
    page.keyboard.press("End")
    last = chart.locator("a:focus").evaluate("mark => mark.getBBox().x")
    assert last == max(chart.locator("a").evaluate_all("all => all.map(each => each.getBBox().x)"))
    expect(chart.locator("a:not([tabindex])")).to_be_focused()
    expect(chart.locator("a:focus title")).to_have_count(0)
    page.keyboard.press("Shift")
    expect(tip).to_be_hidden()


def test_a_tooltip_stays_within_a_phone(open_as: Callable[..., Page], charts: str, bob: User) -> None:
    """TD-C1"""
    page = open_as(bob, charts, PHONE)
    for place in ("first", "last"):
        mark = getattr(page.locator(".chart:visible:has(a)").first.locator("a"), place)
        mark.hover()
        box = page.locator(".tip").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] and box["y"] >= 0


def test_a_range_drawn_along_an_axis_is_a_condition(
    open_as: Callable[..., Page], charts: str, bob: User
) -> None:
    """TD-C1, TD-C3: the filter gets the values at both ends."""
    page = open_as(bob, charts)
    axis = page.locator('.chart:visible [data-axis="lr"]')
    axis.scroll_into_view_if_needed()
    low, high = (float(axis.get_attribute(name)) for name in ("data-low", "data-high"))
    box = axis.bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    page.wait_for_url("**filter=*")
    text = page.get_by_role("combobox", name="Filter").input_value()
    start, end = map(float, re.fullmatch(r"lr>=(\S+) lr<=(\S+)", text).groups())
    ends = (low * (high / low) ** 0.5, low * (high / low) ** 0.75)
    assert (start, end) == pytest.approx(ends, rel=0.1)


# The gaps between the texts of one line of a chart, in pixels; negative where they overlap.
GAPS = """() => [...document.querySelectorAll("#parallel .chart")].filter((chart) => chart.checkVisibility())
    .flatMap((chart) => {
        const names = [...chart.querySelectorAll("text.mono")].map((text) => text.getBoundingClientRect())
            .sort((one, other) => one.left - other.left)
        return names.slice(1).map((box, place) => box.left - names[place].right)
    })"""


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_long_names_of_neighboring_axes_keep_apart(
    open_as: Callable[..., Page], draft: Callable[..., Experiment], bob: User, viewport: dict
) -> None:
    """TD-C1, in the page's font. The outer names begin at the chart's edges and have the least space."""
    names = [f"{letter}_parameter_with_a_long_name" for letter in "abcdefghi"]
    space = {name: {"_type": "uniform", "_value": [0, 1]} for name in names}
    experiment = draft(space_document=space, command="python train.py", metric="validation/top1_accuracy")
    many(experiment, 12)
    page = open_as(bob, reverse("experiment-charts", args=["lab", experiment.public_id]), viewport)
    gaps = page.evaluate(GAPS)
    assert len(gaps) >= 3 and min(gaps) > 3, gaps


def test_a_button_copies_and_says_so(open_as: Callable[..., Page], charts: str, bob: User) -> None:
    """CML-G1: also by http; the focus stays at the button."""
    page = open_as(bob, charts)
    page.context.grant_permissions(["clipboard-read"])
    button = page.locator("[data-copy]").first
    name = button.get_attribute("data-copy")
    button.click()
    expect(button).to_be_focused()
    expect(button).to_have_accessible_description("Copied")
    expect(button).not_to_have_accessible_description("Copied")
    assert name and page.evaluate("navigator.clipboard.readText()") == name
