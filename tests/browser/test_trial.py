"""One trial in a real browser: the log follows, the curve grows, stop and rerun."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Failure, LogPiece, Outcome, Point, Trial
from tests.browser.test_details import visit  # noqa: F401
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def url_of(trial: Trial) -> str:
    return reverse("trial", args=["lab", trial.experiment.public_id, trial.number])


def prints(trial: Trial, lines: int) -> None:
    """The worker's writer stores what was printed so far."""
    data = b"".join(b"line %04d\n" % number for number in range(lines))
    LogPiece.keep([LogPiece(trial=trial, offset=0, size=len(data), data=data)])
    Trial.objects.filter(pk=trial.pk).update(log_bytes=len(data), version=lines)


def at_end(page: Page) -> bool:
    return page.locator("#log .log").evaluate(
        "log => log.lastElementChild.getBoundingClientRect().bottom - log.getBoundingClientRect().bottom < 24"
    )


def start_of(page: Page) -> float:
    """Where the log begins, in pixels above the top of its box."""
    return page.locator("#log .log").evaluate(
        "log => log.getBoundingClientRect().top - log.firstElementChild.getBoundingClientRect().top"
    )


def test_the_log_follows_unless_somebody_reads(visit, running, bob):  # noqa: F811
    """TD-X6: live updates never lose your place."""
    trial = running().trials.get(number=1)
    prints(trial, 200)
    page = visit(bob, url_of(trial))
    assert at_end(page)
    prints(trial, 300)
    expect(page.locator("#log")).to_contain_text("line 0299", timeout=10_000)
    assert at_end(page)
    page.locator("#log .log").evaluate(  # until it is drawn, as by the time a person lets go
        "log => new Promise((done) => { log.scrollBy(0, -500); requestAnimationFrame(() => setTimeout(done)) })"
    )
    read_from = start_of(page)
    prints(trial, 400)
    expect(page.locator("#log")).to_contain_text("line 0399", timeout=10_000)
    assert not at_end(page) and abs(start_of(page) - read_from) < 1


def test_the_curve_and_the_value_grow_while_it_runs(visit, running, bob):  # noqa: F811
    """TD-X5."""
    trial = running().trials.get(number=1)
    page = visit(bob, url_of(trial))
    expect(page.locator("#curve")).to_contain_text("No metrics yet")
    Point.keep([Point(trial=trial, name="accuracy", step=step, value=step / 10) for step in range(5)])
    Trial.objects.filter(pk=trial.pk).update(last_step=4, last_value=0.4, version=9)
    expect(page.locator("#curve svg.chart.is-wide")).to_be_visible(timeout=10_000)
    expect(page.locator("#head")).to_contain_text("0.4000")


def test_stop_ends_it_and_its_page_says_when_it_is_gone(visit, running, bob):  # noqa: F811
    """PAI-T1, TD-X5: one click, no question."""
    trial = running().trials.get(number=1)
    page = visit(bob, url_of(trial))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#head .page-head")).to_contain_text("Stopping")
    trial.refresh_from_db()
    trial.settle(Outcome(signal=15, gone_after_s=1.8))
    expect(page.locator("#head")).to_contain_text("gone after 1.8 s", timeout=10_000)
    expect(page.locator("[data-live-state]")).to_be_hidden()  # what has ended asks no more


def test_rerun_asks_in_a_dialog_and_a_double_click_makes_one(visit, running, bob):  # noqa: F811
    """PAI-R2, PAI-R4."""
    experiment = end_all(running(concurrency=1), Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="no"))
    trial = experiment.trials.get(number=1)
    page = visit(bob, url_of(trial))
    page.get_by_role("link", name="Rerun").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("uses resources")
    assert trial.reruns.count() == 0
    dialog.get_by_role("button", name="Rerun trial").dblclick()
    again = page.get_by_text("attempt 2, after #1")
    expect(again).to_be_visible()
    assert trial.reruns.count() == 1


def test_nothing_scrolls_sideways_on_a_phone(visit, running, bob):  # noqa: F811
    name = "a_name_without_any_space_in_it_that_is_longer_than_a_phone_is_wide_and_goes_on"
    trial = running(name).trials.get(number=1)
    trial.settle(Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail=name * 3))
    prints(trial, 3)
    Trial.objects.filter(pk=trial.pk).update(
        params={f"{name[:50]}_{n}": name for n in range(30)}, notes=[name * 2]
    )
    page = visit(bob, url_of(trial), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
