"""Choosing the columns of the trials table in a real browser: by keyboard, while rows arrive, and without script."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import APIResponse, Page, Route, expect

from experiments.models import Outcome
from tests.browser.conftest import PHONE, is_wider_than_its_window

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def heads(page: Page) -> list[str]:
    return page.locator("thead th").all_inner_texts()


def test_columns_are_chosen_by_keyboard_while_rows_arrive(open_as, running, bob, broker):
    """TD-X6: the menu stays open and the ticks stay when the table is drawn anew; the choice is in the address."""
    experiment = running()
    page = open_as(bob, reverse("experiment-trials", args=["lab", experiment.public_id]) + "?sort=number")
    opener = page.get_by_role("button", name="Columns")
    opener.focus()
    page.keyboard.press("Enter")
    menu = page.get_by_role("form", name="Columns")
    menu.get_by_label("layers").focus()
    page.keyboard.press("Space")
    menu.get_by_label("CPU time").focus()
    page.keyboard.press("Space")
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(exit_code=0, value=0.8125, cpu_s=7.5))
    expect(page.locator("tr[data-key=trial-1]")).to_contain_text("0.8125")
    expect(menu.get_by_label("layers")).not_to_be_checked()
    expect(menu.get_by_label("CPU time")).to_be_checked()
    expect(menu.get_by_label("CPU time")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-key=trial-1]")).to_contain_text("7.5 s")
    assert "layers" not in heads(page) and "sort=number&columns=number" in page.url
    opener.click()
    page.get_by_role("button", name="Reset columns").click()
    expect(page.locator("thead")).to_contain_text("layers")
    assert page.url.endswith("?sort=number")


def test_columns_are_chosen_on_a_phone_without_script(open_as, running, carol, broker):
    experiment = running()
    url = reverse("experiment-trials", args=["lab", experiment.public_id])
    page = open_as(carol, url, PHONE, java_script_enabled=False)
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="Peak memory").check()
    page.get_by_role("checkbox", name="Worker").uncheck()
    assert page.get_by_role("button", name="Apply columns").is_visible()
    page.get_by_role("button", name="Apply columns").click()
    expect(page.locator("thead")).to_contain_text("Peak memory")
    assert "Worker" not in heads(page) and not is_wider_than_its_window(page)


def test_a_click_on_a_value_offers_its_conditions(open_as, running, bob, broker):
    """TD-C3: bounds of a number, which the filter takes; Escape gives the focus back to the cell."""
    experiment = running(taken=2)
    url = reverse("experiment-trials", args=["lab", experiment.public_id]) + "?sort=number"
    low, high = sorted(trial.params["lr"] for trial in experiment.trials.filter(number__in=(1, 2)))
    page = open_as(bob, url)
    page.get_by_role("combobox", name="Filter").fill("state:running")
    completions = page.get_by_role("option")
    expect(completions.first).to_be_visible()
    page.keyboard.press("Escape")
    expect(completions.first).to_be_hidden()  # they would cover the cell
    cell = page.locator(f'.cell-btn[value="lr={high}"]')
    menu = page.locator("#cell-menu")
    cell.click()
    expect(menu.locator("code")).to_have_text(f"lr={high}")
    expect(menu.get_by_role("button", name="Only this value")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(cell).to_be_focused()
    page.locator(f'.cell-btn[value="lr={low}"]').click()
    menu.get_by_role("button", name="At most this value").click()
    expect(page.get_by_role("combobox", name="Filter")).to_have_value(f"state:running lr<={low}")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(menu).to_be_hidden()
    plain = open_as(bob, url, java_script_enabled=False)
    plain.locator(f'.cell-btn[value="lr={high}"]').click()
    expect(plain.get_by_role("combobox", name="Filter")).to_have_value(f"lr={high}")


def test_an_answer_to_an_earlier_filter_is_not_shown(open_as, running, bob, broker):
    """TD-C6: rows that were requested before the filter and arrive after it do not replace the filtered ones."""
    experiment = running(taken=2)
    page = open_as(bob, reverse("experiment-trials", args=["lab", experiment.public_id]))
    experiment.trials.get(number=1).settle(Outcome(exit_code=0, value=0.8125))
    late: list[tuple[Route, APIResponse]] = []

    def hold_first(route: Route) -> None:
        if late or "if-none-match" not in route.request.headers:
            route.continue_()
        else:
            late.append((route, route.fetch()))

    page.route("**/trials/**", hold_first)
    while not late:
        page.wait_for_timeout(20)  # lets Playwright call the handler
    ((route, rows),) = late
    assert rows.status == 200 and "0.8125" in rows.text()
    page.evaluate(
        "document.addEventListener('htmx:afterRequest', ({ detail: { elt } }) => "
        "{ window.hasArrived ||= elt.id === 'rows'; })"
    )
    page.get_by_role("combobox", name="Filter").fill("number=2")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert not page.evaluate("window.hasArrived"), "the rows are still on their way"
    route.fulfill(response=rows)
    page.wait_for_function("window.hasArrived")
    assert page.locator("tbody tr").count() == 1
    experiment.trials.get(number=2).settle(Outcome(exit_code=0, value=0.625))
    expect(page.locator("tbody tr")).to_contain_text("0.625")
    assert page.locator("tbody tr").count() == 1
