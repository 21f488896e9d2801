"""TD-D5: the page Notifications on a phone."""

from __future__ import annotations

import pytest

from experiments.models import Channel, Rule
from experiments.scheduler.notifications import fan_out
from tests.browser.conftest import PHONE
from tests.people import end_all

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SHARE_OF_ROW = "cell => cell.getBoundingClientRect().width / cell.parentElement.getBoundingClientRect().width"


def test_sentences_use_the_width_of_a_phone(open_as, running, lab, bob):
    """TD-X5: rules and deliveries are not broken into a narrow column."""
    channel, _ = Channel.create(lab, owner=bob, kind="slack", name="chat", address="https://example.org/h")
    Rule.create(lab, owner=bob, kind="ended", scope="followed", endings=["completed"], channels=[channel])
    Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[channel])
    end_all(running(max_trials=1))
    fan_out.expand()
    page = open_as(bob, "/w/lab/notifications/", PHONE)
    for row in (".is-rules tbody th", ".is-log .cell-event"):
        assert page.locator(row).first.evaluate(SHARE_OF_ROW) > 0.75, row
